"""Delivers events to webhooks: at least once, oldest first, independently for each webhook.

Every event for a webhook gets one delivery row. The rows are made in commit order after `fanned_out_position`, so no event
is left out and none has two rows. One instance at a time delivers to a webhook (`busy_until`), one event after another. An
event that the receiver refuses is set aside and tried again after growing waits, for about two and a half days. The others
go on; after a failure the webhook rests for a while. If the gateway crashes after the receiver's answer and before it has
recorded it, it delivers the event once more, with the same id.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import structlog
from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlmodel import Session, col

from app import clock
from app.adapters import webhook_client
from app.adapters.secretbox import webhook_place
from app.adapters.webhook_client import Endpoint, Outcome, WebhookClient
from app.audit_actions import AuditAction
from app.backoff import Growing, Listed
from app.errors import SecretUnreadable
from app.events import SOURCE, cloud_event
from app.gateway import Gateway
from app.ids import new_id
from app.models import Event, Webhook, WebhookDelivery
from app.services.access import audit
from app.services.access.rules import Principal
from app.services.events import feed, outbox, webhooks
from app.states import DeliveryStatus
from app.worker_pool import Task, WorkerPool

log = structlog.get_logger(__name__)

THREADS = 8
TURN_S = 30.0
"""After this time another webhook gets the thread."""
CLAIM_S = 120.0
"""Longer than a turn with a last attempt. After a crash other instances wait this long."""
RETRIES = Listed(delays_s=(5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200, 43200, 43200, 43200))
"""The back-off of one event."""
REST = Growing(first_s=2, longest_s=300)
"""The back-off of a webhook, by the number of failures since its last success."""
MAX_ASKED_REST_S = 3600.0
"""A longer `Retry-After` of a receiver is cut to this."""
NOT_ALLOWED = "not_allowed"
"""The principal for whom the delivery was queued, or for whom the webhook acts now, may no longer see the event."""
TEST_TYPE = "com.aymine.imap.webhook.test.v1"


@dataclass(frozen=True)
class _Next:
    """The next delivery to attempt."""

    delivery_id: str
    event_id: str
    body: bytes


class Deliverer:
    """`deliver_due` is the job. It creates delivery rows, starts the deliveries that are due, and never waits."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.pool = WorkerPool("webhook", THREADS)

    def deliver_due(self) -> bool:
        """Give new events their delivery rows, and start the webhooks with deliveries that are due. Returns whether some are
        left over."""
        fan_out(self._gateway)
        now = clock.utc_now()
        due = (
            exists()
            .where(
                col(WebhookDelivery.webhook_id) == col(Webhook.id),
                col(WebhookDelivery.status) == DeliveryStatus.PENDING,
                col(WebhookDelivery.next_attempt_at) <= now,
            )
            .correlate(Webhook)
        )
        statement = (
            select(col(Webhook.id), col(Webhook.acts_for)).where(_is_free(now), due).order_by(col(Webhook.id))
        )
        with self._gateway.db.reading() as session:
            found = [(webhook_id, owner) for webhook_id, owner in session.execute(statement)]
        started = [self._start(*each) for each in self.pool.in_turn(found, lambda each: each[1])]
        return not all(started)

    def next_due(self) -> datetime | None:
        """When the next delivery is due, or a webhook goes on, of what is not due yet."""
        now = clock.utc_now()
        of_event, of_webhook = col(WebhookDelivery.next_attempt_at), col(Webhook.busy_until)
        is_pending = col(WebhookDelivery.status) == DeliveryStatus.PENDING
        statements = (
            select(of_event).where(is_pending, of_event > now).order_by(of_event).limit(1),
            select(of_webhook).where(of_webhook > now).order_by(of_webhook).limit(1),
        )
        with self._gateway.db.reading() as session:
            times = [session.execute(statement).scalar_one_or_none() for statement in statements]
        return min((each for each in times if each is not None), default=None)

    def stop(self) -> None:
        """Start no more attempts, and wait for those that run."""
        self.pool.stop()

    def _start(self, webhook_id: str, owner: str) -> bool:
        def run() -> bool:
            return serve(self._gateway, webhook_id, self.pool.stopping)

        return self.pool.start(Task(webhook_id, run, owner=owner))


def fan_out(gateway: Gateway) -> None:
    """For each webhook, give new events their delivery rows."""
    with gateway.db.reading() as session:
        end = outbox.last_position(session)
        statement = select(col(Webhook.id)).where(col(Webhook.active), col(Webhook.fanned_out_position) < end)
        behind = list(session.execute(statement).scalars())
    for webhook_id in behind:
        while _fan_out_batch(gateway, webhook_id):
            pass


def serve(gateway: Gateway, webhook_id: str, stopping: threading.Event) -> bool:
    """Deliver to one webhook what is due, for one turn. False: it did nothing, because another instance delivers to it."""
    target = _claim(gateway, webhook_id)
    if target is None:
        return False
    rest: timedelta | None = None
    try:
        end = time.monotonic() + TURN_S
        with WebhookClient(target, network=gateway.webhook_network, tls=gateway.tls) as sender:
            while rest is None and not stopping.is_set() and time.monotonic() < end:
                delivery = _next(gateway, webhook_id)
                if delivery is None:
                    break
                outcome = sender.deliver(event_id=delivery.event_id, body=delivery.body, at=clock.utc_now())
                rest = _note(gateway, webhook_id, delivery, outcome)
    finally:
        with gateway.db.unit_of_work() as session:
            webhook = session.get(Webhook, webhook_id, with_for_update=True)
            if webhook is not None:
                webhook.busy_until = clock.utc_now() + rest if rest is not None else None
    return True


def send_test(gateway: Gateway, principal: Principal, webhook_id: str) -> Outcome:
    """Send an event of the type `…webhook.test.v1`, signed like every event, also to an inactive webhook.

    Raises:
        ScopeMissing, Forbidden, NotFound, TooManyRequests, Overloaded, SecretUnreadable
    """
    with gateway.db.reading() as session:
        webhook = webhooks.get(session, principal, webhook_id)
    gateway.checks.count(principal.name)
    with gateway.db.unit_of_work() as session:
        audit.note(session, principal, AuditAction.WEBHOOK_TESTED, f"webhooks/{webhook_id}")
    event_id = new_id()
    body = cloud_event(
        event_id=event_id,
        full_type=TEST_TYPE,
        subject=f"webhooks/{webhook_id}",
        time=clock.utc_now(),
        data={"webhook_id": webhook_id},
        source=gateway.settings.public_url or SOURCE,
    )
    address = webhook_client.address_of(webhook.url)
    receiver = f"{address.host.lower()}:{address.port}" if address is not None else webhook.url
    with (
        gateway.server_requests.waiting_for(receiver),
        WebhookClient(_target(gateway, webhook), network=gateway.webhook_network, tls=gateway.tls) as sender,
    ):
        return sender.deliver(event_id=event_id, body=orjson.dumps(body), at=clock.utc_now())


def _fan_out_batch(gateway: Gateway, webhook_id: str) -> bool:
    """Create one batch of rows. Returns whether there is more."""
    with gateway.db.unit_of_work() as session:
        webhook = session.get(Webhook, webhook_id, with_for_update=True)
        if webhook is None or not webhook.active:
            return False
        return webhooks.queue_batch(session, webhook)


def _claim(gateway: Gateway, webhook_id: str) -> Endpoint | None:
    now = clock.utc_now()
    with gateway.db.unit_of_work() as session:
        statement = select(Webhook).where(col(Webhook.id) == webhook_id, _is_free(now)).with_for_update()
        webhook = session.execute(statement).scalar_one_or_none()
        if webhook is None:
            return None
        webhook.busy_until = now + timedelta(seconds=CLAIM_S)
        try:
            return _target(gateway, webhook)
        except SecretUnreadable:
            log.error("webhook_secret_unreadable", webhook_id=webhook_id)
            return None


def _next(gateway: Gateway, webhook_id: str) -> _Next | None:
    """The next delivery that is due. Ends those before it that are not allowed any more."""
    statement = (
        select(WebhookDelivery, Event, col(Webhook.acts_for))
        .join(Event, col(Event.position) == col(WebhookDelivery.event_position))
        .join(Webhook, col(Webhook.id) == col(WebhookDelivery.webhook_id))
        .where(
            col(WebhookDelivery.webhook_id) == webhook_id,
            col(WebhookDelivery.status) == DeliveryStatus.PENDING,
            col(WebhookDelivery.next_attempt_at) <= clock.utc_now(),
        )
        .order_by(col(WebhookDelivery.event_position))
        .limit(1)
    )
    while True:
        with gateway.db.reading() as session:
            found = session.execute(statement).first()
            if found is None:
                return None
            delivery, event, acts_for = found
            if _is_allowed(session, event, {delivery.queued_for, acts_for}):
                return _Next(delivery.id, event.id, orjson.dumps(feed.as_cloud_event(gateway, event)))
        _end_as_not_allowed(gateway, delivery.id)


def _end_as_not_allowed(gateway: Gateway, delivery_id: str) -> None:
    with gateway.db.unit_of_work() as session:
        session.execute(
            update(WebhookDelivery)
            .where(col(WebhookDelivery.id) == delivery_id)
            .values(status="failed", error_code=NOT_ALLOWED, next_attempt_at=None)
        )


def _is_allowed(session: Session, event: Event, names: Iterable[str]) -> bool:
    """Whether all these principals may see the event. Rights may have ended since it was queued."""
    seen = [webhooks.visible_to(session, name) for name in names]
    statement = select(col(Event.position)).where(col(Event.position) == event.position, *seen)
    return session.execute(statement).first() is not None


def _note(gateway: Gateway, webhook_id: str, delivery: _Next, outcome: Outcome) -> timedelta | None:
    """Record an attempt. Returns how long the webhook must rest; None: it goes on."""
    now = clock.utc_now()
    with gateway.db.unit_of_work() as session:
        webhook = session.get(Webhook, webhook_id, with_for_update=True)
        row = session.get(WebhookDelivery, delivery.delivery_id, with_for_update=True)
        if webhook is None or row is None:
            return None
        row.attempts += 1
        row.last_attempt_at = now
        row.response_status = outcome.status
        row.error_code = outcome.error_code
        if outcome.is_delivered:
            row.status = DeliveryStatus.DELIVERED
            row.next_attempt_at = None
            webhook.failures = 0
            return None
        log.info(
            "webhook_delivery_failed",
            webhook_id=webhook_id,
            error=outcome.error_code,
            status=outcome.status,
            attempts=row.attempts,
        )
        webhook.failures += 1
        if outcome.error_code == webhook_client.GONE:
            webhook.active = False
        delay = RETRIES.after(row.attempts)
        if delay is None:
            row.status = DeliveryStatus.FAILED
        row.next_attempt_at = now + delay if delay is not None else None
        return REST.after(webhook.failures, at_least_s=min(outcome.retry_after_s or 0.0, MAX_ASKED_REST_S))


def _is_free(now: datetime) -> ColumnElement[bool]:
    return and_(col(Webhook.active), or_(col(Webhook.busy_until).is_(None), col(Webhook.busy_until) <= now))


def _target(gateway: Gateway, webhook: Webhook) -> Endpoint:
    return Endpoint(
        webhook.url, gateway.secrets.decrypt(webhook.secret_ciphertext, place=webhook_place(webhook.id))
    )
