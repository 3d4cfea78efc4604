"""Limits how much a connector sends in a minute and in a day.

The database counts the sent mails, by the times of the attempts, so it does not matter which instance sent them. Mail over a limit
waits, and the connector shows why and until when. The mail of other connectors is not affected.
"""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlmodel import Session, col

from app.errors import SendingRateReached
from app.models import Connector, Submission
from app.services import logins
from app.services.sending import provider_limits
from app.services.sending.provider_limits import Rates
from app.states import SendingStatus

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def rates_of(connector: Connector) -> Rates:
    """The limits of a connector: its settings, or the known limits of its provider."""
    known = provider_limits.known(connector.smtp_host or "", connector.smtp_username)
    return Rates(
        connector.smtp_rate_per_minute or known.per_minute, connector.smtp_rate_per_day or known.per_day
    )


def holds(session: Session, connector_id: str, now: datetime) -> bool:
    """Whether a limit is reached. Then sending waits, and the connector says so.

    The row of a connector with limits stays locked, so another instance looks only after this one has recorded its attempt.
    """
    connector = session.get(Connector, connector_id)
    if connector is None or rates_of(connector) == Rates():
        return False
    session.refresh(connector, with_for_update=True)
    if connector.sending_status == SendingStatus.STOPPED:  # just now, by a refused login
        return True
    rates = rates_of(connector)
    minute = _full_until(session, connector_id, rates.per_minute, MINUTE, now)
    day = _full_until(session, connector_id, rates.per_day, DAY, now)
    until = max((each for each in (minute, day) if each is not None), default=None)
    if until is None:
        return False
    error = SendingRateReached()
    connector.sending_status = SendingStatus.WAITING
    connector.sending_error_code, connector.sending_error_detail = error.code, error.detail
    connector.sending_error_server_text = None
    connector.sending_error_at, connector.sending_next_attempt_at = now, until
    session.flush()
    return True


def forget_rate(connector: Connector) -> None:
    """Call this after the limits have changed: mail that waits because of the old ones is tried again."""
    if connector.sending_error_code == SendingRateReached.code:
        logins.forget_sending(connector)


def _full_until(
    session: Session, connector_id: str, limit: int | None, span: timedelta, now: datetime
) -> datetime | None:
    """The time from which another mail may be sent without more than `limit` mails within `span`. None: it may be sent now."""
    if limit is None:
        return None
    attempted_at = col(Submission.attempted_at)
    statement = (
        select(attempted_at)
        .where(col(Submission.connector_id) == connector_id, attempted_at > now - span)
        .order_by(attempted_at.desc())
        .offset(limit - 1)
        .limit(1)
    )
    first: datetime | None = session.execute(statement).scalar_one_or_none()
    return first + span if first is not None else None
