"""Turns what a request shows into a principal: a bearer token, or a ticket for the event stream. Every fault gets the same 401.

A request that waits is looked at again from time to time, many at once (`still_known`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlmodel import Session, col

from app import clock
from app.adapters.identity import LEEWAY
from app.errors import Unauthenticated
from app.gateway import Gateway
from app.models import ApiKey, StreamTicket
from app.services.access import api_keys
from app.services.access.rules import Principal, PrincipalKind

ADMINISTRATOR_ROLE = "admin"
IDS_AT_ONCE = 5_000
"""So many values fit into one statement on both databases."""


@dataclass(frozen=True)
class Caller:
    """A principal, and how long what they have shown is good."""

    principal: Principal
    expires_at: datetime | None
    """When their token, key or ticket expires; None: never."""
    good_until: datetime | None
    """Until then it is accepted."""
    ticket: str | None = None
    """The hash of their ticket."""
    stream_id: str | None = None
    """The stream that they have opened with the ticket."""


def bearer_token(authorization: str) -> str | None:
    """The token in an Authorization header (RFC 6750 §2.1); None if it is empty or has another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def identify(gateway: Gateway, token: str, *, origin: str | None) -> Caller:
    """The caller of a request that came from this network address.

    Raises:
        Unauthenticated: the token is neither a valid JWT nor a valid API key.
    """
    if token.startswith(api_keys.KEY_START):
        return _by_key(gateway, token, origin)
    claims = gateway.identity.verify(token)
    principal = Principal(
        kind=PrincipalKind.USER,
        id=claims.subject,
        groups=claims.groups,
        is_admin=ADMINISTRATOR_ROLE in claims.roles,
        origin=origin,
    )
    return Caller(principal, claims.expires_at, claims.expires_at + LEEWAY)


def still_known(session: Session, callers: Sequence[Caller]) -> list[Principal | None]:
    """The callers as they are now; None for one whose token, key or ticket has ended, or whose ticket has opened another
    stream. At most two statements for each 5,000 callers."""
    now = clock.utc_now()
    tickets = _tickets(session, {caller.ticket for caller in callers if caller.ticket is not None})
    keys = _keys(session, {each.principal.id for each in callers if each.principal.kind == PrincipalKind.KEY})

    def again(caller: Caller) -> Principal | None:
        if caller.good_until is not None and caller.good_until <= now:
            return None
        if caller.ticket is not None and tickets.get(caller.ticket, "") != caller.stream_id:
            return None
        if caller.principal.kind == PrincipalKind.USER:
            return caller.principal
        row = keys.get(caller.principal.id)
        return of_key(row, caller.principal.origin) if row is not None and api_keys.is_valid(row) else None

    return [again(caller) for caller in callers]


def identify_again(gateway: Gateway, caller: Caller) -> Principal:
    """The caller as they are now.

    Raises:
        Unauthenticated: as `still_known`.
    """
    with gateway.db.reading() as session:
        [principal] = still_known(session, [caller])
    if principal is None:
        raise Unauthenticated
    return principal


def of_key(row: ApiKey, origin: str | None) -> Principal:
    """The principal of a valid key."""
    return Principal(
        kind=PrincipalKind.KEY,
        id=row.id,
        scopes=frozenset(row.scopes),
        connector_limit=frozenset(row.connector_ids) or None,
        origin=origin,
    )


def _by_key(gateway: Gateway, key: str, origin: str | None) -> Caller:
    with gateway.db.reading() as session:
        row = api_keys.recognise(session, key)
    if api_keys.is_use_to_be_recorded(row):
        with gateway.db.unit_of_work() as session:
            api_keys.record_use(session, row.id)
    return Caller(of_key(row, origin), row.expires_at, row.expires_at)


def _tickets(session: Session, hashes: Iterable[str]) -> Mapping[str, str | None]:
    """The stream of each ticket."""
    found: dict[str, str | None] = {}
    for part in _parts(hashes):
        statement = select(StreamTicket).where(col(StreamTicket.sha256).in_(part))
        found |= {row.sha256: row.stream_id for row in session.execute(statement).scalars()}
    return found


def _keys(session: Session, ids: Iterable[str]) -> Mapping[str, ApiKey]:
    found: dict[str, ApiKey] = {}
    for part in _parts(ids):
        rows = session.execute(select(ApiKey).where(col(ApiKey.id).in_(part))).scalars()
        found |= {row.id: row for row in rows}
    return found


def _parts(values: Iterable[str]) -> Iterable[Sequence[str]]:
    ordered = sorted(values)
    return (ordered[start : start + IDS_AT_ONCE] for start in range(0, len(ordered), IDS_AT_ONCE))
