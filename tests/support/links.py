"""A personal mailbox on a real server that waits for its password, with the link by which its owner enters it."""

from typing import Any

import httpx

from tests.support.callers import Callers
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot

ADMIN = Callers.user("administrator", admin=True)
OWNER = Callers.user("jana")
FOLDER = "AyMINE"


def mailbox_with(dovecot: Dovecot, mails: int) -> str:
    """A user of the server with so many mails in a folder of that name."""
    user = dovecot.new_user()
    with dovecot.client(user) as client:
        client.create_folder(FOLDER)
    for number in range(mails):
        dovecot.deliver(user, mail(f"mail {number}"), folder=FOLDER)
    return user


def body_for(dovecot: Dovecot, user: str, **changes: Any) -> dict[str, Any]:
    """The connector, without a password."""
    return {
        "name": "Jana",
        "kind": "personal",
        "owner": "jana",
        "email_address": "jana.novakova@firma.cz",
        "source_folder": FOLDER,
        "imap": {"host": dovecot.host, "port": dovecot.port, "security": "none", "username": user},
        **changes,
    }


def prepared(client: httpx.Client, body: dict[str, Any]) -> str:
    """The id of the connector that this body makes."""
    answer = client.post("/connectors", json=body, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def link(client: httpx.Client, connector_id: str) -> str:
    """The address of a new link."""
    answer = client.post(f"/connectors/{connector_id}/credential-links", headers=ADMIN)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])
