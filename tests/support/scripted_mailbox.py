"""A connector of a scripted server, over HTTP: its cycles, and what became of the mails."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.callers import Callers
from tools.servers.scripted_imap import ScriptedImap

NUMBERS = itertools.count()


def mail(number: int, text: str = "") -> bytes:
    return (
        f"Message-ID: <{number}@firma.cz>\r\nFrom: a@firma.cz\r\nTo: b@firma.cz\r\nSubject: Mail {number}\r\n\r\n"
        f"Text {number} {text}\r\n"
    ).encode()


@dataclass(frozen=True)
class Box:
    """A connector of a scripted server."""

    client: httpx.Client
    server: ScriptedImap
    id: str
    group: str

    def fetch(self, cycles: int = 1) -> dict[str, Any]:
        """The last of so many cycles."""
        for _ in range(cycles):
            headers = Callers.user(f"administrator-{next(NUMBERS)}", admin=True)
            answer = self.client.post(f"/connectors/{self.id}/fetch", headers=headers)
            assert answer.status_code == 200, answer.text
        cycle: dict[str, Any] = answer.json()
        return cycle

    def fetch_well(self) -> dict[str, Any]:
        cycle = self.fetch()
        assert (cycle["outcome"], cycle["error"]) == ("ok", None)
        return cycle

    def code(self) -> str | None:
        """What the cycle fails with."""
        error = self.fetch()["error"]
        return error["code"] if error else None

    def connector(self) -> dict[str, Any]:
        shown: dict[str, Any] = self.client.get(f"/connectors/{self.id}", headers=self.headers).json()
        return shown

    def resume(self) -> None:
        assert self.client.post(f"/connectors/{self.id}/resume", headers=self.headers).status_code == 200

    @property
    def headers(self) -> dict[str, str]:
        return Callers.user("administrator", groups=[self.group], admin=True)

    def messages(self) -> list[dict[str, Any]]:
        params = {"connector_id": self.id, "limit": "200"}
        found: list[dict[str, Any]] = self.client.get(
            "/messages", params=params, headers=self.headers
        ).json()["data"]
        return found

    def quarantine(self) -> list[dict[str, Any]]:
        params = {"connector_id": self.id}
        answer = self.client.get("/quarantine", params=params, headers=self.headers)
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    def event_types(self) -> list[str]:
        found, after = [], ""
        while True:
            params = {"limit": "200", **({"after": after} if after else {})}
            page = self.client.get("/events", params=params, headers=self.headers).json()
            found += [e["type"] for e in page["data"] if e["data"].get("connector_id") == self.id]
            after = page["next_cursor"]
            if not page["has_more"]:
                return [each.removeprefix("com.aymine.imap.").removesuffix(".v1") for each in found]


def connected(client: httpx.Client, server: ScriptedImap, **settings: Any) -> Box:
    """A connector of a server. `settings` change its body."""
    headers = Callers.user("administrator", admin=True)
    body = {
        "name": "odd",
        "kind": "shared",
        "email_address": "odd@firma.cz",
        "imap": {
            "host": server.host,
            "port": server.port,
            "security": "none",
            "username": f"user{next(NUMBERS)}",
        },
        "source_folder": "INBOX",
        "processed_folder": "\\Trash",
        "credentials": {"type": "password", "password": "password"},
        "first_fetch": "all",
        **settings,
    }
    answer = client.post("/connectors", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    box = Box(client, server, answer.json()["id"], f"group-{next(NUMBERS)}")
    bound = {"connector_id": box.id, "group": box.group}
    assert client.post("/group-bindings", json=bound, headers=headers).status_code == 201
    return box


Connect = Callable[..., Box]
"""`connected` with the client at hand: see the fixture `connect`."""


def assert_all_is_well(box: Box, raws: list[bytes], *, processed: bytes = b"Trash") -> None:
    """Each mail is stored once with the time of its move, and is once in the processed folder."""
    stored = box.messages()
    assert Counter(m["sha256"] for m in stored) == Counter(hashlib.sha256(raw).hexdigest() for raw in raws)
    assert all(message["moved_at"] for message in stored)
    assert Counter(box.server.folders[processed].raws()) == Counter(raws)
    assert box.server.inbox.raws() == []
    assert box.quarantine() == []
    assert box.connector()["status"] == "active"
