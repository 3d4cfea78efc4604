"""The secrets with which connectors log in: encrypted when they are entered, decrypted only to be used.

A secret is encrypted for the servers that it is entered for: host, port, security and user name of both. It goes
nowhere else, whatever somebody writes into the database without the key. So settings and secret are always read by
one statement: a password never meets settings of another moment.

Rows of before this was so are bound by `secret_binding`, and readable until that is done.
"""

import json
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import delete, select
from sqlmodel import Session, col

from app import clock
from app.adapters import secretbox
from app.adapters.secretbox import credential_place
from app.audit_actions import AuditAction
from app.errors import SecretUnreadable
from app.gateway import Gateway
from app.models import Connector, Credential, CredentialLink, UpgradeStep
from app.services.access import audit
from app.services.access.audit import Actor

BINDING = "bind_secrets"
"""The step of an upgrade after which no secret counts that is not bound to its servers."""


class Servers(Protocol):
    """The columns of a connector that say whom its password is for."""

    imap_host: str
    imap_port: int
    imap_security: str
    imap_username: str
    smtp_host: str | None
    smtp_port: int | None
    smtp_security: str | None
    smtp_username: str | None


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret as it is stored, with the servers that the connector names at that moment."""

    connector_id: str
    ciphertext: str
    servers: str
    takes_unbound: bool
    """The upgrade that binds secrets to servers is not done yet."""


def servers_of(connector: Servers) -> str:
    """The servers that a connector's password is for, as one text: equal if and only if all of them are."""
    names = ("host", "port", "security", "username")
    both: list[list[Any]] = [
        [getattr(connector, f"{protocol}_{name}") for name in names] for protocol in ("imap", "smtp")
    ]
    return json.dumps(both)


def with_settings(session: Session, connector_id: str) -> tuple[Connector, Credential | None] | None:
    """A connector and its credentials as they are at one moment, also where both are changed meanwhile."""
    statement = (
        select(Connector, Credential)
        .outerjoin(Credential, col(Credential.connector_id) == col(Connector.id))
        .where(col(Connector.id) == connector_id)
    )
    row = session.execute(statement, execution_options={"populate_existing": True}).one_or_none()
    return (row[0], row[1]) if row is not None else None


def stored(session: Session, connector: Connector, credential: Credential) -> StoredSecret:
    """What `decrypted` needs, from what `with_settings` gave."""
    is_bound = secretbox.is_bound(credential.ciphertext)
    takes_unbound = not is_bound and session.get(UpgradeStep, BINDING) is None
    return StoredSecret(connector.id, credential.ciphertext, servers_of(connector), takes_unbound)


def enter(
    session: Session, gateway: Gateway, connector: Connector, password: str, *, by: Actor, by_owner: bool
) -> None:
    """Store a password for the servers that the connector has now, in place of any that is there. `by_owner`: the owner
    of a personal connector entered it, which seals it."""
    secret = json.dumps({"type": "password", "password": password})
    now = clock.utc_now()
    session.merge(
        Credential(
            connector_id=connector.id,
            type="password",
            ciphertext=_encrypted(gateway, connector, secret),
            entered_by=by.name,
            entered_at=now,
        )
    )
    if by_owner and connector.sealed_at is None:
        connector.sealed_at = clock.utc_now()
    _void_links(session, connector.id)
    _note(session, by, AuditAction.CREDENTIALS_ENTERED, connector.id)
    session.flush()


def keep(session: Session, gateway: Gateway, connector: Connector, before: StoredSecret | None) -> None:
    """Bind what is stored to the servers that the connector has now, after a change that keeps it. What no key decrypts
    stays as it is."""
    credential = session.get(Credential, connector.id)
    if before is None or credential is None or before.servers == servers_of(connector):
        return
    try:
        credential.ciphertext = _encrypted(gateway, connector, _plaintext(gateway, before))
    except SecretUnreadable:
        return
    session.flush()


def discard(session: Session, connector_id: str, *, by: Actor) -> None:
    """Delete the stored password."""
    _void_links(session, connector_id)
    credential = session.get(Credential, connector_id)
    if credential is not None:
        session.delete(credential)
        _note(session, by, AuditAction.CREDENTIALS_DISCARDED, connector_id)
        session.flush()


def exist(session: Session, connector_id: str) -> bool:
    """Whether a password is stored."""
    return session.get(Credential, connector_id) is not None


def decrypted(gateway: Gateway, secret: StoredSecret) -> str:
    """The decrypted password.

    Raises:
        SecretUnreadable: no key decrypts it, or it was entered for other servers.
    """
    return str(json.loads(_plaintext(gateway, secret))["password"])


def _plaintext(gateway: Gateway, secret: StoredSecret) -> str:
    place = credential_place(secret.connector_id)
    use = None if secret.takes_unbound else secret.servers
    return gateway.secrets.decrypt(secret.ciphertext, place=place, use=use)


def _encrypted(gateway: Gateway, connector: Connector, secret: str) -> str:
    return gateway.secrets.encrypt(secret, place=credential_place(connector.id), use=servers_of(connector))


def _void_links(session: Session, connector_id: str) -> None:
    """Make links invalid. A link is for a missing password and for the server that its page names; one of these has
    changed."""
    unused = col(CredentialLink.connector_id) == connector_id, col(CredentialLink.used_at).is_(None)
    session.execute(delete(CredentialLink).where(*unused))


def _note(session: Session, by: Actor, action: AuditAction, connector_id: str) -> None:
    audit.note(session, by, action, f"connectors/{connector_id}", connector_id=connector_id)
