"""The secrets with which connectors log in. They are encrypted when they are entered, and decrypted only for use."""

import json

from sqlalchemy import delete
from sqlmodel import Session, col

from app import clock
from app.adapters.secretbox import credential_place
from app.audit_actions import AuditAction
from app.gateway import Gateway
from app.models import Connector, Credential, CredentialLink
from app.services.access import audit
from app.services.access.audit import Actor


def enter(
    session: Session, gateway: Gateway, connector: Connector, password: str, *, by: Actor, by_owner: bool
) -> None:
    """Store a password; it replaces an earlier one. `by_owner`: the owner of a personal connector entered it, which seals
    the connector."""
    secret = json.dumps({"type": "password", "password": password})
    ciphertext = gateway.secrets.encrypt(secret, place=credential_place(connector.id))
    session.merge(Credential(connector_id=connector.id, type="password", ciphertext=ciphertext))
    if by_owner and connector.sealed_at is None:
        connector.sealed_at = clock.utc_now()
    _void_links(session, connector.id)
    _note(session, by, AuditAction.CREDENTIALS_ENTERED, connector.id)
    session.flush()


def discard(session: Session, connector_id: str, *, by: Actor) -> None:
    """Delete the stored password."""
    _void_links(session, connector_id)
    credential = session.get(Credential, connector_id)
    if credential is not None:
        session.delete(credential)
        _note(session, by, AuditAction.CREDENTIALS_DISCARDED, connector_id)
        session.flush()


def _void_links(session: Session, connector_id: str) -> None:
    """Make links invalid. A link is for a missing password and for the server that its page names; one of these has
    changed."""
    unused = col(CredentialLink.connector_id) == connector_id, col(CredentialLink.used_at).is_(None)
    session.execute(delete(CredentialLink).where(*unused))


def _note(session: Session, by: Actor, action: AuditAction, connector_id: str) -> None:
    audit.note(session, by, action, f"connectors/{connector_id}", connector_id=connector_id)


def exist(session: Session, connector_id: str) -> bool:
    """Whether a password is stored."""
    return session.get(Credential, connector_id) is not None


def decrypted(gateway: Gateway, connector_id: str, ciphertext: str) -> str:
    """The decrypted password.

    Raises:
        SecretUnreadable
    """
    secret = json.loads(gateway.secrets.decrypt(ciphertext, place=credential_place(connector_id)))
    return str(secret["password"])
