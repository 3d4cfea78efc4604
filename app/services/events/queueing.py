"""Queues events for webhooks: which ones a webhook gets, and their delivery rows.

Every event for a webhook gets one delivery row. The rows are made in commit order after `fanned_out_position`, so no event is
left out and none has two rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, false, literal, or_, select, true, update
from sqlmodel import Session, col

from app import clock, wakeups
from app.events import EventType
from app.ids import new_id
from app.models import ApiKey, Event, Webhook, WebhookDelivery
from app.services.access import api_keys, rules
from app.services.access.rules import SCOPES, Action, Principal, PrincipalKind
from app.services.events import outbox
from app.states import DeliveryStatus
from app.wakeups import Topic

QUEUE_BATCH = 500


def queue_batch(session: Session, webhook: Webhook) -> bool:
    """Queue a batch of the events that are new to the webhook. Returns whether there may be more."""
    # Get this first: every event that is committed later has a higher position.
    end = outbox.last_position(session)
    statement = (
        select(col(Event.position))
        .where(
            *wanted_events(session, webhook),
            col(Event.position) > webhook.fanned_out_position,
            col(Event.position) <= end,
        )
        .order_by(col(Event.position))
        .limit(QUEUE_BATCH)
    )
    positions = list(session.execute(statement).scalars())
    queue(session, webhook, positions)
    has_more = len(positions) == QUEUE_BATCH
    webhook.fanned_out_position = positions[-1] if has_more else end
    return has_more


def queue(session: Session, webhook: Webhook, positions: Sequence[int]) -> None:
    """Queue these events for delivery, again if they were delivered before."""
    now = clock.utc_now()
    of_these = (
        col(WebhookDelivery.webhook_id) == webhook.id,
        col(WebhookDelivery.event_position).in_(positions),
    )
    known = set(session.execute(select(col(WebhookDelivery.event_position)).where(*of_these)).scalars())
    session.execute(
        update(WebhookDelivery)
        .where(*of_these)
        .values(
            queued_for=webhook.acts_for,
            status=DeliveryStatus.PENDING,
            attempts=0,
            put_aside=0,
            next_attempt_at=now,
            error_code=None,
            response_status=None,
            response_text=None,
            duration_ms=None,
        ),
        execution_options={"synchronize_session": False},
    )
    session.add_all(
        WebhookDelivery(
            id=new_id(),
            webhook_id=webhook.id,
            event_position=position,
            queued_for=webhook.acts_for,
            status=DeliveryStatus.PENDING,
            next_attempt_at=now,
        )
        for position in positions
        if position not in known
    )
    session.flush()


def wanted_events(session: Session, webhook: Webhook) -> list[ColumnElement[bool]]:
    """Conditions on `Event`: the webhook gets it."""
    conditions: list[ColumnElement[bool]] = [visible_to(session, webhook.acts_for)]
    if webhook.types:
        conditions.append(col(Event.type).in_(webhook.types))
    if webhook.connector_ids:
        conditions.append(col(Event.connector_id).in_(webhook.connector_ids))
    return conditions


def visible_to(session: Session, name: str) -> ColumnElement[bool]:
    """A condition on `Event`: the principal of this name may see it now. False for every event if their key has ended."""
    kind, _, principal_id = name.partition(":")
    if kind == PrincipalKind.USER:  # only administrators create webhooks
        return true()
    key = session.get(ApiKey, principal_id)
    if key is None or not api_keys.is_valid(key):
        return false()
    limit = frozenset(key.connector_ids) or None
    principal = Principal(PrincipalKind.KEY, key.id, connector_limit=limit)
    return or_(
        col(Event.connector_id).in_(visible_connector_ids(principal)), disabled_webhooks_seen_by(principal)
    )


def disabled_webhooks_seen_by(principal: Principal) -> ColumnElement[bool]:
    """A condition on `Event`: it reports that a webhook was switched off which this key with `webhooks:write` may see."""
    is_such = col(Event.type) == EventType.WEBHOOK_DISABLED.full
    if principal.connector_limit is None:
        return is_such
    own = select(literal("webhooks/") + col(Webhook.id)).where(col(Webhook.acts_for) == principal.name)
    return and_(is_such, col(Event.subject).in_(own))


def makers_of_disabled_webhooks(session: Session, events: Sequence[Event]) -> dict[str, str]:
    """For whom the webhooks act that these events say were switched off, by the subject of the event."""
    subjects = {event.subject for event in events if event.type == EventType.WEBHOOK_DISABLED.full}
    if not subjects:
        return {}
    subject = literal("webhooks/") + col(Webhook.id)
    statement = select(subject, col(Webhook.acts_for)).where(subject.in_(subjects))
    return {row[0]: row[1] for row in session.execute(statement)}


def is_disabled_webhook_seen_by(principal: Principal, event: Event, makers: Mapping[str, str]) -> bool:
    """Whether `disabled_webhooks_seen_by` selects the event; `makers` as above."""
    if event.type != EventType.WEBHOOK_DISABLED.full:
        return False
    return principal.connector_limit is None or makers.get(event.subject) == principal.name


def wants_any(session: Session, webhook: Webhook, *, up_to: int) -> bool:
    """Whether the webhook wants an event up to this position that it has not got yet."""
    statement = (
        select(col(Event.position))
        .where(
            *wanted_events(session, webhook),
            col(Event.position) > webhook.fanned_out_position,
            col(Event.position) <= up_to,
        )
        .limit(1)
    )
    return session.execute(statement).first() is not None


def go_on(session: Session, webhook: Webhook) -> None:
    """End the rest of a webhook, and make all its waiting deliveries due now."""
    webhook.resting_until, webhook.failures = None, 0
    session.execute(
        update(WebhookDelivery)
        .where(
            col(WebhookDelivery.webhook_id) == webhook.id,
            col(WebhookDelivery.status) == DeliveryStatus.PENDING,
        )
        .values(next_attempt_at=clock.utc_now()),
        execution_options={"synchronize_session": False},
    )
    wakeups.require(session, Topic.EVENTS)


def visible_connector_ids(principal: Principal) -> Any:
    """The connectors whose events the webhooks of the principal may get. The scope `webhooks:write` is enough."""
    seeing = Principal(
        principal.kind,
        principal.id,
        is_admin=principal.is_admin,
        scopes=frozenset({SCOPES[Action.SEE_EVENTS]}),
        connector_limit=principal.connector_limit,
    )
    return rules.visible_connector_ids(seeing, Action.SEE_EVENTS)
