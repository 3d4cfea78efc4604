"""API keys: how they are made, recognised and revoked.

A key is shown once. The database holds its hash, and a prefix to find it by. SHA-256 without a slow derivation is enough:
the key is 256 random bits, not a word that somebody chose.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import FieldFault, Forbidden, InvalidInput, NotFound, Unauthenticated
from app.ids import new_id
from app.models import ApiKey, Connector, KeyGrant
from app.schemas.api_keys import ApiKeyCreate
from app.schemas.fields import ListQuery
from app.services.access import audit, rules
from app.services.access.audit import Actor
from app.services.access.rules import Principal, PrincipalKind
from app.services.pages import Slice, cut

KEY_START = "gwk_"
SCOPE = "admin"
"""The scope that a key needs to manage keys."""

_KEY_FORM = re.compile(r"gwk_[a-z0-9]{8}_[A-Za-z0-9_-]{43}")
_PREFIX_CHARS = len("gwk_") + 8
_SECRET_OCTETS = 32
_PREFIX_ALPHABET = string.ascii_lowercase + string.digits
_BY_KEY = f"{PrincipalKind.KEY}:"
_USE_RECORDED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class IssuedKey:
    """A new key: its row, and the key itself, which nobody can read again."""

    row: ApiKey
    key: str


def create(
    session: Session,
    principal: Principal,
    body: ApiKeyCreate,
) -> IssuedKey:
    """Create a key for a caller. A key cannot create a key with more rights than its own.

    Raises:
        ScopeMissing, Forbidden: the caller may create no keys, or not this one.
        InvalidInput: a connector does not exist, or the expiry is in the past.
    """
    rules.require_administrator(principal, scope=SCOPE)
    if principal.kind == PrincipalKind.KEY:
        _require_within(_own_row(session, principal), body.scopes, body.connector_ids, body.expires_at)
    return issue(
        session,
        name=body.name,
        scopes=body.scopes,
        connector_ids=body.connector_ids,
        expires_at=body.expires_at,
        by=principal,
    )


def issue(
    session: Session,
    *,
    name: str,
    scopes: Sequence[str],
    connector_ids: Sequence[str] = (),
    expires_at: datetime | None = None,
    by: Actor,
) -> IssuedKey:
    """Create a key without a check of rights, for the operator's command line.

    Raises:
        InvalidInput: a connector does not exist, or the expiry is in the past.
    """
    if expires_at is not None and expires_at <= clock.utc_now():
        raise InvalidInput(FieldFault("/expires_at", "must be in the future"))
    known = set(session.scalars(select(col(Connector.id)).where(col(Connector.id).in_(connector_ids))))
    faults = [
        FieldFault(f"/connector_ids/{index}", "there is no such connector")
        for index, connector_id in enumerate(connector_ids)
        if connector_id not in known
    ]
    if faults:
        raise InvalidInput(*faults)
    prefix = KEY_START + "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(8))
    key = f"{prefix}_{secrets.token_urlsafe(_SECRET_OCTETS)}"
    row = ApiKey(
        id=new_id(),
        name=name,
        prefix=prefix,
        sha256=_digest(key),
        scopes=list(dict.fromkeys(scopes)),
        connector_ids=list(dict.fromkeys(connector_ids)),
        created_by=by.name,
        created_at=clock.utc_now(),
        expires_at=expires_at,
    )
    session.add(row)
    audit.record(
        session,
        by,
        AuditAction.API_KEY_CREATED,
        f"api-keys/{row.id}",
        changes={
            "name": [None, name],
            "prefix": [None, prefix],
            "scopes": [None, row.scopes],
            "connector_ids": [None, row.connector_ids],
            "expires_at": [None, expires_at.isoformat() if expires_at is not None else None],
        },
    )
    session.flush()
    return IssuedKey(row, key)


def list_keys(
    session: Session, principal: Principal, query: ListQuery, *, after: str | None
) -> Slice[ApiKey]:
    """The keys that a caller manages, oldest first, including revoked ones.

    Raises:
        ScopeMissing, Forbidden
    """
    rules.require_administrator(principal, scope=SCOPE)
    start = after or ""
    found: list[ApiKey] = []
    for row in _managed(session, principal, after_id=start):
        found.append(row)
        if len(found) > query.limit:
            break
    return cut(found, query.limit, lambda row: row.id)


def revoke(session: Session, principal: Principal, key_id: str) -> None:
    """Revoke a key for good. It is no error to revoke it twice.

    Raises:
        ScopeMissing, Forbidden
        NotFound: there is no such key, or the caller's key is limited to other connectors.
    """
    rules.require_administrator(principal, scope=SCOPE)
    row = session.get(ApiKey, key_id)
    if row is None or (principal.kind == PrincipalKind.KEY and not _is_within_limit(row, principal)):
        raise NotFound
    end(session, row, by=principal)


def end(session: Session, row: ApiKey, *, by: Actor) -> None:
    """Revoke a key without a check of rights. The owners' grants to it end too."""
    if row.revoked_at is None:
        row.revoked_at = clock.utc_now()
        session.add(row)
        audit.record(session, by, AuditAction.API_KEY_REVOKED, f"api-keys/{row.id}")
    session.execute(delete(KeyGrant).where(col(KeyGrant.api_key_id) == row.id))
    session.flush()


def find_by_id_or_prefix(session: Session, name: str) -> ApiKey | None:
    """The key with this id or prefix, for the command line."""
    statement = select(ApiKey).where((col(ApiKey.id) == name) | (col(ApiKey.prefix) == name))
    return session.scalars(statement).one_or_none()


def all_keys(session: Session) -> Iterator[ApiKey]:
    """Every key, oldest first, without a check of rights, for the command line."""
    return iter(session.scalars(select(ApiKey).order_by(col(ApiKey.id))))


def recognise(session: Session, key: str) -> ApiKey:
    """The row of the key that a caller presents.

    Raises:
        Unauthenticated: the key is unknown, expired or revoked. The error does not say which.
    """
    if _KEY_FORM.fullmatch(key) is None:
        raise Unauthenticated
    row = session.scalars(select(ApiKey).where(col(ApiKey.prefix) == key[:_PREFIX_CHARS])).one_or_none()
    # Compare even if no such prefix exists, so that the time does not show which prefixes exist.
    is_same = hmac.compare_digest(_digest(key), row.sha256 if row is not None else _digest(""))
    if row is None or not is_same or not is_valid(row):
        raise Unauthenticated
    return row


def is_valid(row: ApiKey) -> bool:
    """Whether the key is neither revoked nor expired."""
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > clock.utc_now())


def is_use_to_be_recorded(row: ApiKey) -> bool:
    """Whether `last_used_at` is old enough to be worth a write."""
    return row.last_used_at is None or clock.utc_now() - row.last_used_at >= _USE_RECORDED_EVERY


def record_use(session: Session, key_id: str) -> None:
    """Set `last_used_at` to now."""
    session.execute(update(ApiKey).where(col(ApiKey.id) == key_id).values(last_used_at=clock.utc_now()))


def goes_back_to(session: Session, key_id: str) -> str:
    """The origin of a key that a user or another key made, through any number of keys: `keys of user:…`, or the first key, which the
    operator made. Two keys with the same origin belong to one principal."""
    made = (
        select(col(ApiKey.id), col(ApiKey.created_by))
        .where(col(ApiKey.id) == key_id)
        .cte("made", recursive=True)
    )
    maker = func.substr(made.c.created_by, len(_BY_KEY) + 1)
    made = made.union(
        select(col(ApiKey.id), col(ApiKey.created_by)).where(
            made.c.created_by.startswith(_BY_KEY), col(ApiKey.id) == maker
        )
    )
    first = session.execute(select(made).where(made.c.created_by.not_like(f"{_BY_KEY}%"))).first()
    if first is None:
        return f"{_BY_KEY}{key_id}"
    first_id, created_by = first
    return f"keys of {created_by}" if created_by.startswith("user:") else f"{_BY_KEY}{first_id}"


def _managed(session: Session, principal: Principal, *, after_id: str) -> Iterator[ApiKey]:
    statement = select(ApiKey).where(col(ApiKey.id) > after_id).order_by(col(ApiKey.id))
    return (
        row
        for row in session.scalars(statement)
        if principal.kind == PrincipalKind.USER or _is_within_limit(row, principal)
    )


def _is_within_limit(row: ApiKey, principal: Principal) -> bool:
    """Whether the calling key may use every connector that this key may use."""
    limit = principal.connector_limit
    return limit is None or (bool(row.connector_ids) and limit.issuperset(row.connector_ids))


def _own_row(session: Session, principal: Principal) -> ApiKey:
    row = session.get(ApiKey, principal.id)
    if row is None:
        raise Unauthenticated
    return row


def _require_within(
    own: ApiKey, scopes: Sequence[str], connector_ids: Sequence[str], expires_at: datetime | None
) -> None:
    if not set(scopes) <= set(own.scopes):
        raise Forbidden("An API key cannot create a key with a scope that it does not have itself.")
    if own.connector_ids and not (connector_ids and set(connector_ids) <= set(own.connector_ids)):
        raise Forbidden("An API key cannot create a key for connectors that it may not use itself.")
    if own.expires_at is not None and (expires_at is None or expires_at > own.expires_at):
        raise Forbidden("An API key cannot create a key that is valid longer than itself.")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
