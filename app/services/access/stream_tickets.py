"""Tickets for the event stream. A browser's `EventSource` sends no header of its own, so a page gets a ticket with its token
and puts it into the address of the stream.

An address ends up in places that a header does not: logs of proxies, the history of a browser. So a ticket is good for little:
for reading events, on one route, for ten minutes, and for one stream at a time. A newer stream ends the older one, because
the browser uses the same ticket when it connects again. The database has the hash alone, as of API keys; the ticket is random too.
"""

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlmodel import Session, col

from app import clock
from app.errors import TooManyRequests, Unauthenticated
from app.gateway import Gateway
from app.ids import new_id
from app.models import ApiKey, StreamTicket
from app.services.access import api_keys, callers, rules
from app.services.access.callers import Caller
from app.services.access.rules import SCOPES, Action, Principal, PrincipalKind

VALID_FOR = timedelta(minutes=10)
EACH = 1000
"""How many valid tickets one caller may have: a server may get them for many pages with one key."""
RETRY_AFTER_S = 60
_START = "gwt_"
_SECRET_OCTETS = 32
_MAX_CHARS = 100


@dataclass(frozen=True)
class IssuedTicket:
    """A new ticket, which nobody can read again."""

    ticket: str
    expires_at: datetime


def issue(session: Session, caller: Caller) -> IssuedTicket:
    """Make a ticket for a caller. It expires with what they have shown, at the latest.

    Raises:
        ScopeMissing
        Unauthenticated: their token has expired already; it was accepted because clocks differ.
        TooManyRequests: the caller has as many valid tickets as one may have.
    """
    principal, now = caller.principal, clock.utc_now()
    rules.require_scope(principal, SCOPES[Action.SEE_EVENTS])
    expires_at = min(now + VALID_FOR, caller.expires_at or now + VALID_FOR)
    if expires_at <= now:
        raise Unauthenticated
    valid = select(func.count()).where(
        col(StreamTicket.caller) == principal.name, col(StreamTicket.expires_at) > now
    )
    if session.execute(valid).scalar_one() >= EACH:
        raise TooManyRequests(RETRY_AFTER_S)
    ticket = _START + secrets.token_urlsafe(_SECRET_OCTETS)
    session.add(
        StreamTicket(
            sha256=_digest(ticket),
            caller=principal.name,
            groups=sorted(principal.groups),
            is_admin=principal.is_admin,
            expires_at=expires_at,
        )
    )
    return IssuedTicket(ticket, expires_at)


def recognise(session: Session, ticket: str, *, origin: str | None) -> Caller:
    """The caller who shows a ticket.

    Raises:
        Unauthenticated: the ticket is unknown or has expired, or its key has ended. The error does not say which.
    """
    row = session.get(StreamTicket, _digest(ticket)) if len(ticket) <= _MAX_CHARS else None
    if row is None or row.expires_at <= clock.utc_now():
        raise Unauthenticated
    principal = _principal(session, row, origin)
    return Caller(principal, row.expires_at, row.expires_at, ticket=row.sha256, stream_id=row.stream_id)


def open_stream(gateway: Gateway, caller: Caller) -> Caller:
    """Open a stream with the ticket of the caller, if they have one. From now on their older stream is not theirs any more.

    Raises:
        Unauthenticated: the ticket has expired.
    """
    if caller.ticket is None:
        return caller
    stream_id = new_id()
    with gateway.db.unit_of_work() as session:
        statement = (
            update(StreamTicket)
            .where(col(StreamTicket.sha256) == caller.ticket, col(StreamTicket.expires_at) > clock.utc_now())
            .values(stream_id=stream_id)
            .returning(col(StreamTicket.sha256))
        )
        if session.execute(statement).first() is None:
            raise Unauthenticated
    return replace(caller, stream_id=stream_id)


def delete_expired(gateway: Gateway) -> None:
    """Delete the tickets that have expired."""
    with gateway.db.unit_of_work() as session:
        session.execute(delete(StreamTicket).where(col(StreamTicket.expires_at) <= clock.utc_now()))


def _principal(session: Session, row: StreamTicket, origin: str | None) -> Principal:
    kind, _, principal_id = row.caller.partition(":")
    if kind == PrincipalKind.USER:
        groups = frozenset(row.groups)
        return Principal(
            PrincipalKind.USER, principal_id, groups=groups, is_admin=row.is_admin, origin=origin
        )
    key = session.get(ApiKey, principal_id)
    if key is None or not api_keys.is_valid(key):
        raise Unauthenticated
    return callers.of_key(key, origin)


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode(errors="replace")).hexdigest()
