"""The outcome of a fetch cycle: its row in the history, and the status of the connector.

A first failure makes an active connector `failing`, a success makes it `active` again. It becomes `stopped` after two refused
logins (`logins`), because it is useless to try the same password again (RFC 5530), and servers ban addresses for it. It also becomes
`stopped` if the server has twice copied mail without removing it, because each further attempt would copy the mail again; and if
another connector has the folder. After all other errors the gateway tries again for ever, after growing waits: a server that is down
for a weekend must not need an administrator on Monday.
"""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, select
from sqlmodel import Session, col

from app import clock
from app.errors import (
    CopyNotRemoved,
    GatewayError,
    LeaseLost,
    LoginRefused,
    MailboxTaken,
    SettingsChanged,
    TooManyRefusedLogins,
)
from app.events import EventType, connector_event
from app.gateway import Gateway
from app.ids import new_id
from app.models import Connector, Cycle
from app.services.events import outbox
from app.services.events.recipients import recipients_of
from app.services.fetching import schedule
from app.services.fetching.tally import Tally
from app.states import ConnectorStatus, CycleOutcome

log = structlog.get_logger(__name__)

KEPT_CYCLES = 200

PASSING = (LeaseLost, SettingsChanged)
"""These errors say nothing about the state of the mailbox."""


def record(
    gateway: Gateway, before: Connector, tally: Tally, error: GatewayError | None, *, started_at: datetime
) -> Cycle:
    """Write the row of a cycle, and update the connector. `before` is the connector before the cycle."""
    now = clock.utc_now()
    cycle = Cycle(
        id=new_id(),
        connector_id=before.id,
        started_at=started_at,
        finished_at=now,
        outcome=CycleOutcome.OK if error is None else CycleOutcome.FAILED,
        error_code=error.code if error is not None else None,
        error_detail=error.detail if error is not None else None,
        found=tally.found,
        stored=tally.stored,
        known=tally.known,
        returned=tally.returned,
        moved=tally.moved,
        quarantined=tally.quarantined,
        left=tally.left,
    )
    with gateway.db.unit_of_work() as session:
        connector = session.get(Connector, before.id, with_for_update=True)
        if connector is None:
            return cycle  # the connector was deleted meanwhile, together with its history
        session.add(cycle)
        if tally.alert is not None:
            connector.alert_text, connector.alert_at = tally.alert, now
        _forget_old(session, connector.id)
        # The result of a cycle with old settings says nothing about the new ones.
        is_by_login = isinstance(error, LoginRefused) and error.was_tried
        is_stopped = connector.status == ConnectorStatus.STOPPED and not is_by_login
        if connector.updated_at == before.updated_at and not isinstance(error, PASSING) and not is_stopped:
            event = _apply(connector, tally, error, now)
            if event is not None:
                recipients = recipients_of(session, connector)
                code = error.code if error is not None else None
                outbox.append(
                    session,
                    [connector_event(event, connector_id=connector.id, recipients=recipients, code=code)],
                )
        elif connector.next_fetch_at is not None:
            connector.next_fetch_at = now + timedelta(seconds=1)
    return cycle


def wait(gateway: Gateway, connector_id: str, error: TooManyRefusedLogins) -> None:
    """Postpone the next cycle, because its login was not tried. This is no failure, but the connector shows why it waits."""
    now = clock.utc_now()
    with gateway.db.unit_of_work() as session:
        connector = session.get(Connector, connector_id, with_for_update=True)
        if connector is None or connector.next_fetch_at is None:
            return
        connector.last_error_code, connector.last_error_detail = error.code, error.detail
        connector.last_error_at, connector.last_error_server_text = now, None
        connector.next_fetch_at = now + timedelta(seconds=error.retry_after_s)


def _apply(connector: Connector, tally: Tally, error: GatewayError | None, now: datetime) -> EventType | None:
    """Update the connector. Returns the type of the event, if its status changed."""
    if error is None:
        return _succeeded(connector, tally, now)
    connector.failed_attempts += 1
    connector.last_error_code = error.code
    connector.last_error_detail = error.detail
    connector.last_error_at = now
    connector.last_error_server_text = getattr(error, "server_text", None)
    if connector.status == ConnectorStatus.STOPPED:  # this login has stopped it, and appended the event
        return None
    if isinstance(error, MailboxTaken) or (isinstance(error, CopyNotRemoved) and error.is_second_time):
        connector.status = ConnectorStatus.STOPPED
        connector.next_fetch_at = None
        return EventType.CONNECTOR_STOPPED
    was_active = connector.status == ConnectorStatus.ACTIVE
    connector.status = ConnectorStatus.FAILING
    connector.next_fetch_at = now + schedule.after_failure(connector, error)
    return EventType.CONNECTOR_FAILING if was_active else None


def _succeeded(connector: Connector, tally: Tally, now: datetime) -> EventType | None:
    was_failing = connector.status == ConnectorStatus.FAILING
    connector.failed_attempts = 0
    connector.last_error_code = None
    connector.last_error_detail = None
    connector.last_error_at = None
    connector.last_error_server_text = None
    connector.last_success_at = now
    if tally.awaits_confirmation:
        connector.status = ConnectorStatus.AWAITING_CONFIRMATION
        connector.next_fetch_at = None
    else:
        connector.status = ConnectorStatus.ACTIVE
        connector.next_fetch_at = now + schedule.after_success(connector, has_more=tally.has_more)
    return EventType.CONNECTOR_RECOVERED if was_failing else None


def _forget_old(session: Session, connector_id: str) -> None:
    oldest_kept = (
        select(col(Cycle.id))
        .where(col(Cycle.connector_id) == connector_id)
        .order_by(col(Cycle.id).desc())
        .offset(KEPT_CYCLES)
        .limit(1)
        .scalar_subquery()
    )
    session.execute(
        delete(Cycle).where(col(Cycle.connector_id) == connector_id, col(Cycle.id) <= oldest_kept),
        execution_options={"synchronize_session": False},
    )
