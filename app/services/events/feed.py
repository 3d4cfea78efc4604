"""The feed of events, in commit order, for callers who poll or stream.

A request that waits for events holds no session: these functions open their own session and close it before they return.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select
from sqlmodel import Session, col

from app import clock
from app.events import SOURCE, cloud_event
from app.gateway import Gateway
from app.models import Event
from app.schemas.fields import ListQuery
from app.services import pages
from app.services.access import rules
from app.services.access.rules import SCOPES, Action, Principal, PrincipalKind, ReadAtOnce
from app.services.events import outbox, queueing, webhooks
from app.services.pages import Slice

DELETE_BATCH = 500


def list_events(
    gateway: Gateway, principal: Principal, query: ListQuery, *, after: str | None
) -> Slice[Event]:
    """A page of the feed with the events that the caller may see. Without `after`, it begins with the oldest event.

    The position after a page that is not full is the end of the feed, so that a caller who sees few events of a busy feed does not
    search the same part again. No later commit can have a position before that end.

    Raises:
        ScopeMissing, InvalidInput
    """
    position = pages.number(after) if after is not None else 0
    visible = visible_events(principal)
    with gateway.db.reading() as session:
        # Get this first: an event that is committed between the two statements has a higher position.
        end = outbox.last_position(session)
        found = outbox.events_after(session, position, *visible, limit=query.limit + 1)
    page = found[: query.limit]
    has_more = len(found) > query.limit
    last = page[-1].position if page else position
    return Slice(
        data=page,
        next_after=str(last if has_more else max(last, end)),
        has_more=has_more,
    )


def last_position(gateway: Gateway) -> int:
    """The position at the end of the feed."""
    with gateway.db.reading() as session:
        return outbox.last_position(session)


def visible_events(principal: Principal) -> list[ColumnElement[bool]]:
    """Conditions on `Event`: the caller may see it. Administrators also see the remaining events of deleted connectors.

    Raises:
        ScopeMissing
    """
    rules.require_scope(principal, SCOPES[Action.SEE_EVENTS])
    if principal.kind == PrincipalKind.USER and principal.is_admin:
        return []
    of_connectors = col(Event.connector_id).in_(rules.visible_connector_ids(principal, Action.SEE_EVENTS))
    if webhooks.SCOPE in principal.scopes:
        return [or_(of_connectors, queueing.disabled_webhooks_seen_by(principal))]
    return [of_connectors]


@dataclass(frozen=True)
class Deciding:
    """What decides who sees some events, read at once for many callers. `sees` says the same as `visible_events`."""

    connectors: ReadAtOnce
    disabled_webhooks: Mapping[str, str]

    def sees(self, principal: Principal, event: Event) -> bool:
        """Whether the caller may see the event."""
        if not rules.has_scope(principal, SCOPES[Action.SEE_EVENTS]):
            return False
        if principal.kind == PrincipalKind.USER and principal.is_admin:
            return True
        if self._allows(principal, Action.SEE_EVENTS, event):
            return True
        return webhooks.SCOPE in principal.scopes and queueing.is_disabled_webhook_seen_by(
            principal, event, self.disabled_webhooks
        )

    def reads(self, principal: Principal, event: Event) -> bool:
        """Whether the caller may read the content of the connector that the event is about."""
        return self._allows(principal, Action.READ_CONTENT, event)

    def _allows(self, principal: Principal, action: Action, event: Event) -> bool:
        return event.connector_id is not None and self.connectors.lets_see(
            principal, action, event.connector_id
        )


def deciding(session: Session, events: Sequence[Event]) -> Deciding:
    """What decides who sees these events: at most four statements."""
    connector_ids = {event.connector_id for event in events if event.connector_id is not None}
    return Deciding(
        rules.read_at_once(session, connector_ids), queueing.makers_of_disabled_webhooks(session, events)
    )


def as_cloud_event(gateway: Gateway, event: Event) -> dict[str, Any]:
    """The event in the form for other systems."""
    return cloud_event(
        event_id=event.id,
        full_type=event.type,
        subject=event.subject,
        time=event.time,
        data=event.data,
        source=gateway.settings.public_url or SOURCE,
    )


def delete_old(gateway: Gateway) -> int:
    """Delete events older than the retention, with their deliveries, in batches. Each batch is a unit of work."""
    limit = clock.utc_now() - timedelta(days=gateway.settings.events_retention_days)
    old = select(col(Event.position)).where(col(Event.time) < limit)
    deleted = 0
    while True:
        with gateway.db.unit_of_work() as session:
            batch = old.order_by(col(Event.position)).limit(DELETE_BATCH)
            positions = list(session.execute(batch).scalars())
            session.execute(delete(Event).where(col(Event.position).in_(positions)))
        deleted += len(positions)
        if len(positions) < DELETE_BATCH:
            return deleted
