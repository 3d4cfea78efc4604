"""The health of the gateway: one check for each question, and the figures for monitoring.

Nothing here names a mailbox, a person or an address.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col

from app import clock, migrations
from app.adapters.metrics import CONTENT_TYPE, Figures
from app.errors import StoreUnavailable
from app.gateway import Gateway
from app.models import Connector, Cycle, Feed, Message, Quarantined, Submission, WebhookDelivery
from app.states import DeliveryStatus, QuarantineState, SubmissionStatus

log = structlog.get_logger(__name__)

SWEEP_SILENCE = timedelta(seconds=60)
"""The sweep runs every few seconds. If none has run for this long, something hangs."""
CYCLE_WINDOW = timedelta(hours=1)


@dataclass(frozen=True)
class Readiness:
    """The answer to each question; None if the question does not apply."""

    database: bool
    migrations: bool
    sweep: bool | None

    @property
    def is_ready(self) -> bool:
        return self.database and self.migrations and self.sweep is not False


@dataclass(frozen=True)
class MetricsPage:
    """The page that a scraper gets."""

    body: bytes
    content_type: str


def check(gateway: Gateway) -> Readiness:
    """Whether the gateway can serve requests. Errors of the database do not raise."""
    try:
        with gateway.db.reading() as session:
            session.execute(select(1))
            is_current = migrations.is_current(session.connection())
    except (SQLAlchemyError, StoreUnavailable) as exc:
        log.error("database_unreachable", error=type(exc).__name__)
        return Readiness(database=False, migrations=False, sweep=_has_swept(gateway))
    return Readiness(database=True, migrations=is_current, sweep=_has_swept(gateway))


def metrics_page(gateway: Gateway) -> MetricsPage:
    """The figures in the text form of Prometheus. They are counted again after some seconds."""
    figures: Figures | None = None
    try:
        figures = gateway.figures.get(lambda: _count_all(gateway))
    except (SQLAlchemyError, StoreUnavailable) as exc:
        log.error("database_unreachable", error=type(exc).__name__)
    return MetricsPage(gateway.metrics.page(figures), CONTENT_TYPE)


def _has_swept(gateway: Gateway) -> bool | None:
    if not gateway.settings.run_jobs:
        return None
    last = gateway.last_runs.get("sweep")
    return last is not None and clock.utc_now() - last < SWEEP_SILENCE


def _count_all(gateway: Gateway) -> Figures:
    since = clock.utc_now() - CYCLE_WINDOW
    with gateway.db.reading() as session:
        return Figures(
            connectors_by_status=_counts_by(session, col(Connector.status)),
            cycles_by_outcome=_counts_by(
                session, col(Cycle.outcome), col(Cycle.started_at) >= since, col(Cycle.outcome).is_not(None)
            ),
            messages=_count(session, col(Message.position)),
            quarantined=_count(
                session, col(Quarantined.id), col(Quarantined.state) == QuarantineState.QUARANTINED
            ),
            outbox_position=session.scalar(select(func.max(col(Feed.last_position)))) or 0,
            pending_deliveries=_count(
                session, col(WebhookDelivery.id), col(WebhookDelivery.status) == DeliveryStatus.PENDING
            ),
            queued_submissions=_count(
                session,
                col(Submission.id),
                col(Submission.status).in_([SubmissionStatus.QUEUED, SubmissionStatus.SENDING]),
            ),
        )


def _count(session: Session, column: Any, *conditions: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count(column)).where(*conditions)) or 0


def _counts_by(session: Session, column: Any, *conditions: ColumnElement[bool]) -> dict[str, int]:
    statement = select(column, func.count()).where(*conditions).group_by(column)
    return {str(value): count for value, count in session.execute(statement)}
