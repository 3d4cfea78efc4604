"""Listeners at the event stream of a served gateway, and something for them to hear."""

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
        self.is_cut_off = False
        """Whether the connection ended before the answer did."""
        self.thread = threading.Thread(target=self._listen, args=(gateway, headers, query))
        self.thread.start()
        wait_until(lambda: self.lines != [], 60, "the stream's first line")

    def _listen(self, gateway: httpx.Client, headers: dict[str, str], query: dict[str, str]) -> None:
        try:
            with gateway.stream(
                "GET", "/events/stream", headers=headers, params=query, timeout=120
            ) as answer:
                answer.raise_for_status()
                for line in answer.iter_lines():
                    self.lines.append(line)
        except httpx.TransportError:
            self.is_cut_off = True

    def has_ended(self) -> bool:
        return not self.thread.is_alive()

    def events(self) -> list[str]:
        return [line for line in self.lines if line.startswith("data:")]


def something_happens(gateway: httpx.Client) -> None:
    """One event that keys and administrators may see: a new connector asks for its password."""
    body = {**CONNECTOR, "imap": {"host": "imap.firma.invalid", "username": new_id()}}
    created = gateway.post("/connectors", json=body, headers=ADMINISTRATOR)
    assert created.status_code == 201, created.text


def new_key(gateway: httpx.Client) -> tuple[str, str]:
    """A key that may read events and messages: its id, and the key."""
    body = {"name": "k", "scopes": ["events:read", "messages:read"]}
    made = gateway.post("/api-keys", json=body, headers=ADMINISTRATOR).json()
    return made["id"], made["key"]


def is_used(gateway: httpx.Client, key_id: str) -> bool:
    """Whether a request has been let in with the key."""
    keys = gateway.get("/api-keys", params={"limit": 200}, headers=ADMINISTRATOR).json()["data"]
    return any(key["id"] == key_id and key["last_used_at"] is not None for key in keys)
