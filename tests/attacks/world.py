"""What the attacks need: the served gateway, callers, mailboxes on scripted servers. Everything over HTTP."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.callers import Callers
from tools.servers.scripted_imap import ScriptedImap

NUMBERS = itertools.count(1)
WAIT_S = 180.0
ADMIN = Callers.user("administrator", admin=True)
PASSWORD = {"type": "password", "password": "the-owners-password-91c"}
MAIL = b"Message-ID: <%d@firma.cz>\r\nFrom: a@firma.cz\r\nTo: b@firma.cz\r\nSubject: Secret\r\n\r\nText\r\n"


@dataclass(frozen=True)
class Attacked:
    """The served gateway, with its database's file and its log."""

    client: httpx.Client
    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "gateway.db"

    def call(self, method: str, path: str, caller: dict[str, str], body: Any = None, **headers: str) -> Any:
        """The answer, whatever it is."""
        return self.client.request(method, path, json=body, headers={**caller, **headers})

    def well(self, method: str, path: str, caller: dict[str, str], body: Any = None) -> Any:
        """The body of an answer that must not be a refusal."""
        answer = self.call(method, path, caller, body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def connected(
        self, caller: dict[str, str], server: ScriptedImap, owner: str | None, **changes: Any
    ) -> dict[str, Any]:
        """A new connector of a mailbox on the server, personal if there is an owner."""
        user = f"user{next(NUMBERS)}"
        body = {
            "name": user,
            "kind": "personal" if owner else "shared",
            "email_address": f"{user}@firma.cz",
            "imap": server_at(server.port, user),
            "credentials": PASSWORD,
            "first_fetch": "all",
            **({"owner": owner} if owner else {}),
            **changes,
        }
        made: dict[str, Any] = self.well(
            "POST",
            "/connectors",
            caller,
            {name: value for name, value in body.items() if value is not None},
        )
        return made

    def status(self, connector_id: str, caller: dict[str, str]) -> str:
        return str(self.well("GET", f"/connectors/{connector_id}", caller)["status"])

    def submit(self, connector_id: str, caller: dict[str, str], **fields: Any) -> str:
        """The id of a new mail that is to be sent."""
        body = {"connector_id": connector_id, "to": ["doctor@example.com"], "text": "secret", **fields}
        return str(self.well("POST", "/submissions", caller, body)["id"])

    def events(self, caller: dict[str, str], connector_id: str) -> list[dict[str, Any]]:
        """All that the caller sees about a connector."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.well("GET", f"/events?limit=200{after}", caller)
            found += [each for each in page["data"] if each["data"].get("connector_id") == connector_id]
            if not page["has_more"]:
                return found
            after = f"&after={page['next_cursor']}"


def server_at(port: int, username: str) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "security": "none", "username": username}


def somebody(name: str) -> tuple[str, dict[str, str]]:
    """A user whom no other test knows: their id and headers."""
    user = f"{name}{next(NUMBERS)}"
    return user, Callers.user(user)


def hidden(page: str, name: str) -> str:
    """The value of a hidden field of the page for entering a password."""
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]
