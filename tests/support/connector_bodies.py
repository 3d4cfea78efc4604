"""Bodies of connectors, as integrators send them."""

from itertools import count
from typing import Any

from fastapi.testclient import TestClient

from tools.servers.dovecot import Dovecot

_numbers = count(1)
PASSWORD = {"type": "password", "password": "planted-password-7f3a"}


def shared(**changes: Any) -> dict[str, Any]:
    """A shared mailbox that no other test uses, on a host that nobody resolves."""
    number = next(_numbers)
    body = {
        "name": "Orders",
        "kind": "shared",
        "email_address": "objednavka@firma.cz",
        "imap": {"host": f"imap{number}.firma.invalid", "username": "objednavka"},
    }
    return {**body, **changes}


def personal(owner: str = "jana", **changes: Any) -> dict[str, Any]:
    """A personal mailbox."""
    return shared(
        kind="personal",
        owner=owner,
        email_address=f"{owner}@firma.cz",
        source_folder="AyMINE",
        **changes,
    )


def janas(dovecot: Dovecot, imap_user: str) -> dict[str, Any]:
    """Jana's personal mailbox on a real server; all that is in INBOX is fetched."""
    return {
        "name": "Jana",
        "kind": "personal",
        "owner": "jana",
        "email_address": "jana@firma.cz",
        "imap": {"host": dovecot.host, "port": dovecot.port, "security": "none", "username": imap_user},
        "credentials": {"type": "password", "password": dovecot.password},
        "first_fetch": "all",
    }


def created(client: TestClient, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    """The connector that this body makes."""
    answer = client.post("/connectors", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made
