"""Delivers events to webhooks: at least once, in order, independently for each webhook.

One instance at a time delivers to a webhook, one event after another. The instance renews its claim (`claimed_by`, `busy_until`) with
each batch. Another instance takes the webhook over when the claim has expired, or at once if its holder is certainly dead. One
transaction records the results of a batch, queues new events (`queueing`) and reads the next batch. If the gateway crashes in
between, it delivers the events of the batch once more, with the same ids.

Events that were never put aside go first, in commit order. `attempts` says what happens to an event that is refused or not
answered, and when a webhook rests.

Receivers that answer slowly, or that have not answered since the start, share half of the threads. So there are always threads for
receivers that answer.
"""

import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import structlog
from sqlalchemy import ColumnElement, exists, or_, select
from sqlmodel import Session, col

from app import clock
from app.adapters import process
from app.adapters.webhook_client import Endpoint, Outcome, WebhookClient
from app.audit_actions import AuditAction
from app.errors import SecretUnreadable
from app.events import SOURCE, cloud_event
from app.gateway import Gateway
from app.ids import new_id
from app.models import Event, Webhook, WebhookDelivery
from app.services.access import audit
from app.services.access.rules import Principal
from app.services.events import attempts, feed, outbox, queueing, webhook_secrets, webhooks
from app.services.events.attempts import Attempt
from app.states import DeliveryStatus
from app.worker_pool import Task, WorkerPool

log = structlog.get_logger(__name__)

THREADS = 32
THREADS_PER_RECEIVER = THREADS // 4
"""The largest number of threads for one host and port."""
UNPROVEN = "unproven"
"""The group of webhooks whose last answer was slow, or that have had no attempt since the start."""
THREADS_FOR_UNPROVEN = THREADS // 2
SLOW_MS = 1000
TURN_S = 10.0
"""After this time another webhook gets the thread."""
BATCH = 20
BATCH_S = 1.0
"""A batch ends early after this time."""
CLAIM_S = 40.0
"""Longer than the longest batch. If a machine dies, other instances wait this long."""
RETRIES_BESIDE_FRESH = 2
"""How many events that were put aside are sent with a batch of fresh ones, so that a busy feed does not block them."""
PUT_ASIDE_LEADS_ONE_IN = 4
"""In one of so many batches an event that was put aside comes before the first fresh one."""
FORGOTTEN_POSITIONS = 500
"""After this many events that a webhook does not want, its position in the feed is stored."""
TEST_TYPE = "com.aymine.imap.webhook.test.v1"


@dataclass(frozen=True, slots=True)
class _Due:
    """A webhook with something to deliver."""

    webhook_id: str
    owner: str
    receiver: str


@dataclass(frozen=True, slots=True)
class _Batch:
    """The deliveries to attempt now, and their receiver."""

    target: Endpoint
    deliveries: Sequence[Attempt]


class Deliverer:
    """`deliver_due` is the job. It starts the deliveries that are due, and never waits."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.pool = WorkerPool("webhook", THREADS)
        self._served_s: dict[str, float] = {}
        """When each webhook last had its turn."""
        self._proven: set[str] = set()

    def deliver_due(self) -> bool:
        """Start the due deliveries, a thread for each webhook. Returns whether some webhooks could not start now."""
        with self._gateway.db.reading() as session:
            due, unconcerned = self._due(session)
        if unconcerned:
            with self._gateway.db.unit_of_work() as session:
                # Always in the same order, so that two instances never wait for each other.
                for webhook_id in sorted(unconcerned):
                    webhook = session.get(Webhook, webhook_id, with_for_update=True)
                    if webhook is not None:
                        queueing.queue_batch(session, webhook)
        due.sort(key=lambda each: self._served_s.get(each.webhook_id, 0.0))
        started = [self._start(each) for each in self.pool.in_turn(due, lambda each: each.owner)]
        return not all(started)

    def next_due(self) -> datetime | None:
        """The next time at which a delivery becomes due, a rest ends or a claim expires. None: there is none."""
        now = clock.utc_now()
        is_pending = col(WebhookDelivery.status) == DeliveryStatus.PENDING
        statements = [
            select(column).where(condition, column > now).order_by(column).limit(1)
            for column, condition in (
                (col(WebhookDelivery.next_attempt_at), is_pending),
                (col(Webhook.resting_until), col(Webhook.active)),
                (col(Webhook.busy_until), col(Webhook.active)),
            )
        ]
        with self._gateway.db.reading() as session:
            times = [session.execute(statement).scalar_one_or_none() for statement in statements]
        return min((each for each in times if each is not None), default=None)

    def stop(self) -> None:
        """Start no more attempts, and wait for the running ones."""
        self.pool.stop()

    def _due(self, session: Session) -> tuple[list[_Due], list[str]]:
        """The webhooks with something to deliver, and the ids of those that wanted none of the last events."""
        now = clock.utc_now()
        end = outbox.last_position(session)
        statement = select(Webhook, _has_due(now)).where(
            _goes_on(now), col(Webhook.id).not_in(self.pool.running())
        )
        due: list[_Due] = []
        unconcerned: list[str] = []
        for webhook, has_due in session.execute(statement):
            if not is_free(webhook, now):
                continue
            behind = end - webhook.fanned_out_position
            if has_due or (behind and queueing.wants_any(session, webhook, up_to=end)):
                due.append(_Due(webhook.id, webhook.acts_for, webhook_secrets.receiver_of(webhook)))
            elif behind > FORGOTTEN_POSITIONS:
                unconcerned.append(webhook.id)
        return due, unconcerned

    def _start(self, due: _Due) -> bool:
        groups = {due.receiver: THREADS_PER_RECEIVER}
        if due.webhook_id not in self._proven:
            groups[UNPROVEN] = THREADS_FOR_UNPROVEN
        return self.pool.start(Task(due.webhook_id, lambda: self._serve(due.webhook_id), groups, due.owner))

    def _serve(self, webhook_id: str) -> bool:
        self._served_s[webhook_id] = time.monotonic()
        slowest_ms = serve(self._gateway, webhook_id, self.pool.stopping)
        if slowest_ms is not None and slowest_ms < SLOW_MS:
            self._proven.add(webhook_id)
        else:
            self._proven.discard(webhook_id)
        return slowest_ms is not None


def serve(gateway: Gateway, webhook_id: str, stopping: threading.Event) -> int | None:
    """Deliver the due events of one webhook, for one turn. Returns the duration of the slowest attempt, in ms. None: nothing was
    done, because another instance delivers to it or it rests."""
    holder = f"{process.identity()}/{new_id()}"
    end_s = time.monotonic() + TURN_S
    done: list[tuple[Attempt, Outcome]] = []
    slowest_ms: int | None = None
    sender: WebhookClient | None = None
    try:
        while True:
            goes_on = not stopping.is_set() and time.monotonic() < end_s
            batch = _next_batch(gateway, webhook_id, holder, done, goes_on=goes_on)
            if batch is None:
                return slowest_ms
            if sender is None or sender.target != batch.target:
                if sender is not None:
                    sender.close()
                sender = WebhookClient(batch.target, network=gateway.webhook_network, tls=gateway.tls)
            done = _attempted(sender, batch.deliveries, stopping)
            slowest_ms = max([slowest_ms or 0, *(outcome.duration_ms for _, outcome in done)])
    finally:
        if sender is not None:
            sender.close()


def _attempted(
    sender: WebhookClient, deliveries: Iterable[Attempt], stopping: threading.Event
) -> list[tuple[Attempt, Outcome]]:
    """Attempt the deliveries in order, until one of them makes the webhook rest or the time of a batch is over."""
    done: list[tuple[Attempt, Outcome]] = []
    end_s = time.monotonic() + BATCH_S
    for delivery in deliveries:
        outcome = sender.deliver(event_id=delivery.event_id, body=delivery.body, at=clock.utc_now())
        done.append((delivery, outcome))
        if attempts.ends_batch(outcome) or stopping.is_set() or time.monotonic() >= end_s:
            break
    return done


def _next_batch(
    gateway: Gateway,
    webhook_id: str,
    holder: str,
    done: Sequence[tuple[Attempt, Outcome]],
    *,
    goes_on: bool,
) -> _Batch | None:
    """Record the attempts, and claim the next deliveries. None: there are none, or the webhook cannot go on."""
    with gateway.db.unit_of_work() as session:
        webhook = session.get(Webhook, webhook_id, with_for_update=True)
        if webhook is None:
            return None
        now = clock.utc_now()
        is_ours = webhook.claimed_by == holder
        for attempt, outcome in done:
            attempts.record(session, webhook, attempt, outcome)
        if not is_ours and not is_free(webhook, now):
            return None
        batch = None
        if goes_on and webhook.active and not _rests(webhook, now):
            batch = _batch(gateway, session, webhook)
        webhook.claimed_by = holder if batch is not None else None
        webhook.busy_until = now + timedelta(seconds=CLAIM_S) if batch is not None else None
        return batch


def _batch(gateway: Gateway, session: Session, webhook: Webhook) -> _Batch | None:
    try:
        target = webhook_secrets.endpoint(gateway, webhook)
    except SecretUnreadable:
        log.error("webhook_secret_unreadable", webhook_id=webhook.id)
        return None
    while True:
        has_more = queueing.queue_batch(session, webhook)
        found = _pending(session, webhook)
        if found:
            break
        if not has_more:
            return None
    allowed = _allowed(session, webhook, found)
    deliveries: list[Attempt] = []
    for row, event in found:
        if row.id in allowed:
            deliveries.append(Attempt(row.id, event.id, orjson.dumps(feed.as_cloud_event(gateway, event))))
        else:
            attempts.end_as_not_allowed(row)
    # An empty batch is not the end: the next one may have allowed deliveries.
    return _Batch(target, deliveries)


def _pending(session: Session, webhook: Webhook) -> list[tuple[WebhookDelivery, Event]]:
    """The due deliveries: fresh events in commit order, and, directly after the first of them, some that were put aside. In one of a
    few batches these come first: a receiver that takes longer for one answer than a batch lasts would never get them otherwise."""
    statement = (
        select(WebhookDelivery, Event)
        .join(Event, col(Event.position) == col(WebhookDelivery.event_position))
        .where(
            col(WebhookDelivery.webhook_id) == webhook.id,
            col(WebhookDelivery.status) == DeliveryStatus.PENDING,
            col(WebhookDelivery.next_attempt_at) <= clock.utc_now(),
        )
    )
    fresh = statement.where(col(WebhookDelivery.put_aside) == 0).order_by(col(WebhookDelivery.event_position))
    found = [(row, event) for row, event in session.execute(fresh.limit(BATCH))]
    aside = statement.where(col(WebhookDelivery.put_aside) > 0).order_by(
        col(WebhookDelivery.next_attempt_at), col(WebhookDelivery.event_position)
    )
    room = RETRIES_BESIDE_FRESH if found else BATCH
    due_again = [(row, event) for row, event in session.execute(aside.limit(room))]
    before = min(1, secrets.randbelow(PUT_ASIDE_LEADS_ONE_IN))
    return [*found[:before], *due_again, *found[before:]]


def _allowed(session: Session, webhook: Webhook, found: Sequence[tuple[WebhookDelivery, Event]]) -> set[str]:
    """The ids of the deliveries whose events may be seen by the principals for whom they were queued and for whom the webhook
    acts now. Rights may have ended since."""
    positions = [event.position for _, event in found]
    seen_by: dict[str, set[int]] = {}
    for name in {webhook.acts_for, *(row.queued_for for row, _ in found)}:
        statement = select(col(Event.position)).where(
            col(Event.position).in_(positions), queueing.visible_to(session, name)
        )
        seen_by[name] = set(session.execute(statement).scalars())
    return {
        row.id
        for row, event in found
        if event.position in seen_by[webhook.acts_for] & seen_by[row.queued_for]
    }


def send_test(gateway: Gateway, principal: Principal, webhook_id: str) -> Outcome:
    """Send an event of the type `…webhook.test.v1`, signed like every event, also to an inactive webhook. If it is accepted, a
    webhook that rests goes on.

    Raises:
        ScopeMissing, Forbidden, NotFound, TooManyRequests, Overloaded, SecretUnreadable
    """
    with gateway.db.reading() as session:
        webhook = webhooks.get(session, principal, webhook_id)
    gateway.checks.count(principal.name)
    with gateway.db.unit_of_work() as session:
        audit.record(session, principal, AuditAction.WEBHOOK_TESTED, f"webhooks/{webhook_id}")
    event_id = new_id()
    body = cloud_event(
        event_id=event_id,
        full_type=TEST_TYPE,
        subject=f"webhooks/{webhook_id}",
        time=clock.utc_now(),
        data={"webhook_id": webhook_id},
        source=gateway.settings.public_url or SOURCE,
    )
    target = webhook_secrets.endpoint(gateway, webhook)
    with (
        gateway.server_requests.waiting_for(webhook_secrets.receiver_of(webhook)),
        WebhookClient(target, network=gateway.webhook_network, tls=gateway.tls) as sender,
    ):
        outcome = sender.deliver(event_id=event_id, body=orjson.dumps(body), at=clock.utc_now())
    if outcome.is_delivered:
        with gateway.db.unit_of_work() as session:
            row = session.get(Webhook, webhook_id, with_for_update=True)
            if row is not None and row.active:
                queueing.go_on(session, row)
    return outcome


def is_free(webhook: Webhook, now: datetime) -> bool:
    """Whether no instance delivers to it: it is not claimed, the claim has expired, or its holder is dead."""
    if webhook.claimed_by is None or webhook.busy_until is None or webhook.busy_until <= now:
        return True
    return process.is_dead(webhook.claimed_by.rpartition("/")[0])


def _rests(webhook: Webhook, now: datetime) -> bool:
    return webhook.resting_until is not None and webhook.resting_until > now


def _goes_on(now: datetime) -> ColumnElement[bool]:
    resting = col(Webhook.resting_until)
    return col(Webhook.active) & or_(resting.is_(None), resting <= now)


def _has_due(now: datetime) -> ColumnElement[bool]:
    return (
        exists()
        .where(
            col(WebhookDelivery.webhook_id) == col(Webhook.id),
            col(WebhookDelivery.status) == DeliveryStatus.PENDING,
            col(WebhookDelivery.next_attempt_at) <= now,
        )
        .correlate(Webhook)
    )
