"""The secrets with which connectors log in. They are encrypted when they are entered, and decrypted only for use.

A secret is encrypted for the servers for which it was entered: host, port, security and user name of both. It is sent nowhere else,
even if somebody without the key changes the database. One statement always reads settings and secret together, so a password is
never used with settings of another moment.

`secret_binding` binds older rows; they can be read until that is done.
"""

import contextlib
import hmac
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
from app.services.mailboxes import login_tries
from app.services.mailboxes.login_tries import Tries
from app.states import SealedBy, Security

BINDING = "bind_secrets"
"""The step of an upgrade after which a secret counts only if it is bound to its servers."""


class Servers(Protocol):
    """The columns of a connector that name the servers for its password."""

    imap_host: str
    imap_port: int
    imap_security: Security
    imap_username: str
    smtp_host: str | None
    smtp_port: int | None
    smtp_security: Security | None
    smtp_username: str | None


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A stored secret, with the servers that the connector names at the same moment."""

    connector_id: str
    ciphertext: str
    servers: str
    tries: Tries
    """Whose tries its logins are."""
    takes_unbound: bool
    """Whether the upgrade that binds secrets to servers is not done yet."""


def servers_of(connector: Servers) -> str:
    """The servers for a connector's password, as one text. Two texts are equal only if all parts are equal."""
    names = ("host", "port", "security", "username")
    both: list[list[Any]] = [
        [getattr(connector, f"{protocol}_{name}") for name in names] for protocol in ("imap", "smtp")
    ]
    return json.dumps(both)


def with_settings(session: Session, connector_id: str) -> tuple[Connector, Credential | None] | None:
    """A connector and its credentials at one moment, even if both are being changed."""
    statement = (
        select(Connector, Credential)
        .outerjoin(Credential, col(Credential.connector_id) == col(Connector.id))
        .where(col(Connector.id) == connector_id)
    )
    row = session.execute(statement, execution_options={"populate_existing": True}).one_or_none()
    return (row[0], row[1]) if row is not None else None


def stored(session: Session, connector: Connector, credential: Credential) -> StoredSecret:
    """The input of `decrypted`, from the result of `with_settings`."""
    is_bound = secretbox.is_bound(credential.ciphertext)
    takes_unbound = not is_bound and session.get(UpgradeStep, BINDING) is None
    tries = login_tries.of_connector(session, connector, credential)
    return StoredSecret(connector.id, credential.ciphertext, servers_of(connector), tries, takes_unbound)


def with_same_login(session: Session, gateway: Gateway, secret: StoredSecret) -> dict[str, str]:
    """The ciphertexts of this password, by the ids of the connectors that log in with it to the same mailbox. Several may: one
    for each folder. A connector with another password is not among them, so a stranger's guesses count for nobody else."""
    own = session.get(Connector, secret.connector_id)
    found = {secret.connector_id: secret.ciphertext}
    if own is None:
        return found
    statement = (
        select(Connector, Credential)
        .join(Credential, col(Credential.connector_id) == col(Connector.id))
        .where(
            col(Connector.imap_host) == own.imap_host,
            col(Connector.imap_username) == own.imap_username,
            col(Connector.id) != own.id,
        )
    )
    others = session.execute(statement).all()
    password = decrypted(gateway, secret) if others else None
    for connector, credential in others:
        with contextlib.suppress(SecretUnreadable):
            if decrypted(gateway, stored(session, connector, credential)) == password:
                found[connector.id] = credential.ciphertext
    return found


def enter(
    session: Session,
    gateway: Gateway,
    connector: Connector,
    password: str,
    *,
    by: Actor,
    sealing: SealedBy | None,
) -> None:
    """Store a password for the present servers of the connector. It replaces a stored one. `sealing`: how the owner of a personal
    connector entered it; None: somebody else entered it."""
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
    if sealing is not None:
        _seal(connector, sealing)
    _void_links(session, connector.id)
    _record(session, by, AuditAction.CREDENTIALS_ENTERED, connector.id)
    session.flush()


def _seal(connector: Connector, sealing: SealedBy) -> None:
    """Record that the owner has entered the password: the connector is sealed, and no longer waits for the owner."""
    if connector.sealed_at is None:
        connector.sealed_at, connector.sealed_by = clock.utc_now(), sealing
    elif sealing == SealedBy.TOKEN:
        connector.sealed_by = sealing
    connector.awaits_owner_since = None


def takes_links(connector: Connector) -> bool:
    """Whether a password that was entered by a link counts. It does not if others changed the servers after the owner had used a
    token, because a person who made a link could use it themselves."""
    return connector.awaits_owner_since is None or connector.sealed_by == SealedBy.LINK


def keep(session: Session, gateway: Gateway, connector: Connector, before: StoredSecret | None) -> None:
    """Bind the stored password to the present servers of the connector, after a change that keeps it. A password that no key
    decrypts stays as it is."""
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
        _record(session, by, AuditAction.CREDENTIALS_DISCARDED, connector_id)
        session.flush()


def exist(session: Session, connector_id: str) -> bool:
    """Whether a password is stored."""
    return session.get(Credential, connector_id) is not None


def ciphertext_of(session: Session, connector_id: str) -> str | None:
    """The stored password of a connector, encrypted; None where there is none."""
    credential = session.get(Credential, connector_id, populate_existing=True)
    return credential.ciphertext if credential is not None else None


def decrypted(gateway: Gateway, secret: StoredSecret) -> str:
    """The decrypted password.

    Raises:
        SecretUnreadable: no key decrypts it, or it was entered for other servers.
    """
    return str(json.loads(_plaintext(gateway, secret))["password"])


def is_stored_one(gateway: Gateway, secret: StoredSecret, password: str) -> bool:
    """Whether a password is the stored one. One that no key decrypts is not."""
    try:
        return hmac.compare_digest(decrypted(gateway, secret).encode(), password.encode())
    except SecretUnreadable:
        return False


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


def _record(session: Session, by: Actor, action: AuditAction, connector_id: str) -> None:
    audit.record(session, by, action, f"connectors/{connector_id}", connector_id=connector_id)
