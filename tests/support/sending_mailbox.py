"""A connector that can send, and a submission by its owner; for the tests of sending."""

import json
from typing import Any

from app.adapters.secretbox import credential_place
from app.gateway import Gateway
from app.ids import new_id
from app.models import Connector, Credential
from app.schemas.submissions import SubmissionCreate
from app.services.access.rules import Principal, PrincipalKind
from app.services.mailboxes.credentials import servers_of
from app.services.sending import submissions
from app.services.sending.submissions import Detailed
from tests.support.stored_mail import connector
from tools.servers.smtp import SmtpServer

OWNER = Principal(kind=PrincipalKind.USER, id="jana")
PASSWORD = "heslo s háčkem"


def sending_connector(
    gateway: Gateway, server: SmtpServer, *, password: str | None = PASSWORD, **settings: Any
) -> Connector:
    """A connector that submits to the server; personal, unless it is given groups. No IMAP server answers."""
    if "groups" not in settings:
        settings.setdefault("owner", OWNER.id)
    values: dict[str, Any] = {
        "imap_host": "127.0.0.1",
        "imap_port": 1,
        "imap_security": "none",
        "imap_username": new_id(),
        "smtp_host": "127.0.0.1",
        "smtp_port": server.port,
        "smtp_security": server.security,
        "smtp_username": server.user or "info@firma.cz",
        **settings,
    }
    row = connector(gateway, **values)
    if password is not None:
        secret = json.dumps({"type": "password", "password": password})
        with gateway.db.unit_of_work() as session:
            session.add(
                Credential(
                    connector_id=row.id,
                    type="password",
                    ciphertext=gateway.secrets.encrypt(
                        secret, place=credential_place(row.id), use=servers_of(row)
                    ),
                )
            )
    return row


def submit(
    gateway: Gateway, at: Connector, *to: str, key: str | None = None, by: Principal = OWNER, **fields: Any
) -> Detailed:
    """Queue a mail to these, or to karel@example.com."""
    values: dict[str, Any] = {"subject": "Order", "text": "Hello", **fields}
    wanted = SubmissionCreate(connector_id=at.id, to=list(to) or ["karel@example.com"], **values)
    return submissions.create(gateway, by, wanted, idempotency_key=key)
