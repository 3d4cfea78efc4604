"""Decides what happens to an event, and to its webhook, after an attempt to deliver it.

    accepted (2xx)                         delivered
    refused (any other answer)             the event is put aside and tried again after growing waits; the webhook goes on
    no answer, or connection lost          the same, and the webhook rests for some seconds
    not reached, certificate refused       nothing was sent: the event keeps its place, and the webhook rests
    410                                    the event keeps its place, and the webhook is switched off

After a refusal, a webhook rests only if the receiver sends `Retry-After` with 429 or 503. A webhook that has accepted nothing for
days is switched off. Its events wait until somebody switches it on.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlmodel import Session

from app import clock
from app.adapters import webhook_client
from app.adapters.webhook_client import Outcome
from app.audit_actions import AuditAction
from app.backoff import Growing, Listed
from app.events import webhook_disabled_event
from app.models import Webhook, WebhookDelivery
from app.services.access import audit
from app.services.events import outbox
from app.states import DeliveryStatus, DisabledReason

log = structlog.get_logger(__name__)

RETRIES = Listed(delays_s=(5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200, 43200, 43200, 43200))
"""The back-off of one event."""
REST = Growing(first_s=2, longest_s=60)
"""How long a webhook rests, by the number of consecutive attempts without an answer."""
MAX_ASKED_REST_S = 300.0
"""A longer `Retry-After` is cut to this for the webhook; the event itself waits up to `MAX_ASKED_WAIT_S`."""
MAX_ASKED_WAIT_S = 3600.0
GIVE_UP_AFTER = timedelta(hours=60)
"""A webhook that has accepted nothing for this long is switched off. It is shorter than the back-off of an event."""
BUSY_STATUSES = frozenset({429, 503})
NOT_ALLOWED = "not_allowed"
"""The principal for whom the delivery was queued, or for whom the webhook acts now, may no longer see the event."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A delivery to attempt."""

    delivery_id: str
    event_id: str
    body: bytes


def ends_batch(outcome: Outcome) -> bool:
    """Whether this outcome must be recorded before more events are sent."""
    return outcome.status is None or outcome.error_code == webhook_client.GONE or _asks_for_rest(outcome)


def record(session: Session, webhook: Webhook, attempt: Attempt, outcome: Outcome) -> None:
    """Record an attempt at its delivery and webhook. A late refusal does not change a delivery that has ended."""
    row = session.get(WebhookDelivery, attempt.delivery_id, with_for_update=True)
    if row is None or (row.status is not DeliveryStatus.PENDING and not outcome.is_delivered):
        return
    now = clock.utc_now()
    row.attempts += 1
    row.last_attempt_at = now
    row.duration_ms = outcome.duration_ms
    row.response_status = outcome.status
    row.response_text = outcome.text
    row.error_code = outcome.error_code
    if outcome.is_delivered:
        row.status = DeliveryStatus.DELIVERED
        row.next_attempt_at = None
        webhook.failures, webhook.failing_since, webhook.resting_until = 0, None, None
        return
    log.info(
        "webhook_delivery_failed",
        webhook_id=webhook.id,
        error=outcome.error_code,
        status=outcome.status,
        attempts=row.attempts,
    )
    webhook.failing_since = webhook.failing_since or now
    if webhook.active and outcome.error_code == webhook_client.GONE:
        _disable(session, webhook, DisabledReason.GONE, outcome)
    elif webhook.active and webhook.failing_since <= now - GIVE_UP_AFTER:
        _disable(session, webhook, DisabledReason.FAILING, outcome)
    else:
        _put_aside(row, outcome, now)
        _rest(webhook, outcome, now)


def end_as_not_allowed(row: WebhookDelivery) -> None:
    """End a delivery of an event that the principal of the webhook may not see any more."""
    row.status = DeliveryStatus.FAILED
    row.error_code = NOT_ALLOWED
    row.next_attempt_at = None


def _put_aside(row: WebhookDelivery, outcome: Outcome, now: datetime) -> None:
    if outcome.error_code in webhook_client.NOT_REACHED:
        return
    row.put_aside += 1
    delay = RETRIES.after(row.put_aside)
    if delay is None:
        row.status = DeliveryStatus.FAILED
        row.next_attempt_at = None
        return
    asked_s = min(outcome.retry_after_s or 0.0, MAX_ASKED_WAIT_S)
    row.next_attempt_at = now + max(delay, timedelta(seconds=asked_s))


def _rest(webhook: Webhook, outcome: Outcome, now: datetime) -> None:
    if outcome.status is None:
        webhook.failures += 1
        webhook.resting_until = now + REST.after(webhook.failures)
        return
    webhook.failures = 0
    if _asks_for_rest(outcome):
        asked_s = min(outcome.retry_after_s or 0.0, MAX_ASKED_REST_S)
        webhook.resting_until = now + timedelta(seconds=asked_s)


def _asks_for_rest(outcome: Outcome) -> bool:
    return outcome.status in BUSY_STATUSES and bool(outcome.retry_after_s)


def _disable(session: Session, webhook: Webhook, reason: DisabledReason, outcome: Outcome) -> None:
    """Switch the webhook off, and append an event for administrators and keys. The events of the webhook wait."""
    webhook.active = False
    webhook.resting_until = None
    webhook.disabled_reason, webhook.disabled_at = reason, clock.utc_now()
    log.warning("webhook_disabled", webhook_id=webhook.id, reason=reason, error=outcome.error_code)
    subject = f"webhooks/{webhook.id}"
    changes = {"active": [True, False], "disabled_reason": [None, reason]}
    audit.record(session, audit.DELIVERY, AuditAction.WEBHOOK_DISABLED, subject, changes=changes)
    event = webhook_disabled_event(
        webhook_id=webhook.id, reason=reason, code=outcome.error_code, status=outcome.status
    )
    outbox.append(session, [event])
