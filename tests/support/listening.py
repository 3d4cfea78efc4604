"""Listeners at the event stream of a served gateway, and something for them to hear."""

import contextlib
import threading

import httpx

from app.ids import new_id
from tests.support.callers import bearer, user_token
from tools.servers.process import wait_until

ADMINISTRATOR = bearer(user_token("administrator", admin=True))
CONNECTOR = {
    "name": "Orders",
    "kind": "shared",
    "email_address": "objednavka@firma.cz",
    "imap": {"host": "imap.firma.invalid", "username": "objednavka"},
}


class Listener:
    """A stream in a thread of its own: what it was given, and whether it has ended."""

    def __init__(self, gateway: httpx.Client, headers: dict[str, str], **query: str) -> None:
        self.lines: list[str] = []
        self.thread = threading.Thread(target=self._listen, args=(gateway, headers, query))
        self.thread.start()
        wait_until(lambda: self.lines != [], 60, "the stream's first line")

    def _listen(self, gateway: httpx.Client, headers: dict[str, str], query: dict[str, str]) -> None:
        with (
            contextlib.suppress(httpx.TransportError),  # the server may end first
            gateway.stream("GET", "/events/stream", headers=headers, params=query, timeout=120) as answer,
        ):
            answer.raise_for_status()
            for line in answer.iter_lines():
                self.lines.append(line)

    def has_ended(self) -> bool:
        return not self.thread.is_alive()

    def events(self) -> list[str]:
        return [line for line in self.lines if line.startswith("data:")]


def something_happens(gateway: httpx.Client) -> None:
    """An event that keys and administrators may see."""
    body = {**CONNECTOR, "imap": {"host": "imap.firma.invalid", "username": new_id()}}
    created = gateway.post("/connectors", json=body, headers=ADMINISTRATOR)
    assert created.status_code == 201, created.text
    for command in ("pause", "resume"):  # then it asks for its password once more
        done = gateway.post(f"/connectors/{created.json()['id']}/{command}", headers=ADMINISTRATOR)
        assert done.status_code == 200, done.text
