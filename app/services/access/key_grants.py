"""The API keys that may read a personal mailbox, because its owner has granted it. Without a grant no key reads a personal
mailbox, whatever its scopes are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import NotFound, WrongState
from app.models import ApiKey, KeyGrant
from app.services.access import api_keys, audit, rules
from app.services.access.rules import Action, Principal


@dataclass(frozen=True)
class Granted:
    """A grant, with its key."""

    key: ApiKey
    granted_at: datetime


def list_grants(session: Session, principal: Principal, connector_id: str) -> Sequence[Granted]:
    """The keys that the owner of a connector has allowed to read its mail, the oldest grant first.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    rules.require(session, principal, Action.SEE_SETTINGS, connector_id)
    statement = (
        select(ApiKey, col(KeyGrant.granted_at))
        .join(KeyGrant, col(KeyGrant.api_key_id) == col(ApiKey.id))
        .where(col(KeyGrant.connector_id) == connector_id)
        .order_by(col(KeyGrant.granted_at), col(ApiKey.id))
    )
    return [Granted(key, granted_at) for key, granted_at in session.execute(statement)]


def grant(session: Session, principal: Principal, connector_id: str, key_id: str) -> Granted:
    """Allow a key to read the owner's mail and to act on it, within its scopes. It is no error to grant this twice.

    Raises:
        ScopeMissing, Forbidden
        NotFound: there is no such connector, or no such key that is still valid.
        WrongState: the connector is shared, or the key is limited to other connectors.
    """
    connector = rules.require(session, principal, Action.GRANT_KEYS, connector_id, lock=True)
    key = session.get(ApiKey, key_id)
    if key is None or not api_keys.is_valid(key):
        raise NotFound("There is no such API key, or it is not valid any more.")
    if key.connector_ids and connector.id not in key.connector_ids:
        raise WrongState("This API key is limited to other connectors.")
    found = session.get(KeyGrant, (key_id, connector_id))
    if found is None:
        found = KeyGrant(api_key_id=key_id, connector_id=connector_id, granted_at=clock.utc_now())
        session.add(found)
        _record(session, principal, AuditAction.KEY_GRANTED, connector_id, key, before=None)
        session.flush()
    return Granted(key, found.granted_at)


def withdraw(session: Session, principal: Principal, connector_id: str, key_id: str) -> None:
    """Withdraw a grant. From its next request on, the key cannot read the mail.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    rules.require(session, principal, Action.GRANT_KEYS, connector_id)
    found = session.get(KeyGrant, (key_id, connector_id))
    if found is None:
        raise NotFound
    session.delete(found)
    key = session.get_one(ApiKey, key_id)
    _record(session, principal, AuditAction.KEY_GRANT_WITHDRAWN, connector_id, key, before=key.name)
    session.flush()


def _record(
    session: Session,
    principal: Principal,
    action: AuditAction,
    connector_id: str,
    key: ApiKey,
    *,
    before: str | None,
) -> None:
    after = key.name if before is None else None
    changes = {"key": [before, after]}
    audit.record(session, principal, action, f"api-keys/{key.id}", connector_id=connector_id, changes=changes)
