"""The secrets with which connectors log in: encrypted when they are entered, opened only to be used."""

import json

from sqlalchemy import delete
from sqlmodel import Session, col

from app import clock
from app.adapters.secretbox import credential_place
from app.audit_actions import AuditAction
from app.gateway import Gateway
from app.models import Connector, Credential, CredentialLink
from app.services import audit
from app.services.audit import Actor


def enter(
    session: Session,
    gateway: Gateway,
    connector: Connector,
    password: str,
    *,
    by: Actor,
    entered_by: str | None = None,
) -> None:
    """Store a password in place of any that is there. `entered_by`: whose it is to be, where not the actor's own
    name: an owner who came by a link."""
    secret = json.dumps({"type": "password", "password": password})
    ciphertext = gateway.secrets.seal(secret, place=credential_place(connector.id))
    session.merge(
        Credential(
            connector_id=connector.id,
            type="password",
            ciphertext=ciphertext,
            entered_by=entered_by or by.name,
            updated_at=clock.utc_now(),
        )
    )
    _withdraw_links(session, connector.id)
    _note(session, by, AuditAction.CREDENTIALS_ENTERED, connector.id)
    session.flush()


def discard(session: Session, connector_id: str, *, by: Actor) -> None:
    """Forget what is stored."""
    _withdraw_links(session, connector_id)
    credential = session.get(Credential, connector_id)
    if credential is not None:
        session.delete(credential)
        _note(session, by, AuditAction.CREDENTIALS_DISCARDED, connector_id)
        session.flush()


def _withdraw_links(session: Session, connector_id: str) -> None:
    """A link is for entering what is missing, for the server that its user was told of: neither holds any more."""
    session.execute(delete(CredentialLink).where(col(CredentialLink.connector_id) == connector_id))


def _note(session: Session, by: Actor, action: AuditAction, connector_id: str) -> None:
    audit.note(session, by, action, f"connectors/{connector_id}", connector_id=connector_id)


def exist(session: Session, connector_id: str) -> bool:
    """Whether something is stored."""
    return session.get(Credential, connector_id) is not None


def opened(gateway: Gateway, connector_id: str, ciphertext: str) -> str:
    """The password.

    Raises:
        SecretUnreadable
    """
    secret = json.loads(gateway.secrets.open(ciphertext, place=credential_place(connector_id)))
    return str(secret["password"])
