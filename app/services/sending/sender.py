"""Sends queued mails. `submissions` describes the states.

The invariants:

1. The attempt is committed before the network is used: its number, its start, and the end of its time. A row that is
   still `sending` after that time belongs to a process that died. Nobody knows whether the mail went out, so the row
   becomes `uncertain`, and the gateway never sends it again by itself. It only looks for the mail in Sent (`looking`).
2. An update that names the expected status claims a row: only one of two instances gets it.
3. No transaction is open during a conversation with a server.
4. A connector has one attempt at a time, which keeps its mails in order. One server (host, port and security) gets at
   most half of the threads, and the owners of connectors share the threads (`worker_pool`), so that a server that hangs
   does not block the others. After an error of a server, the gateway leaves it alone for a while. If a server refuses one
   account, only this connector waits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, case, func, or_, select, update
from sqlmodel import Session, col

from app import clock
from app.adapters import smtp
from app.adapters.smtp import Envelope, Limits, RecipientResult
from app.errors import (
    GatewayError,
    MailServerError,
    MailServerTimeout,
    MailServerUnavailable,
    SecretUnreadable,
    TooManyRefusedLogins,
)
from app.gateway import Gateway
from app.models import Connector, Submission
from app.server_cooldown import server_name
from app.services import logins
from app.services.mailboxes import credentials, shares
from app.services.mailboxes.credentials import StoredSecret
from app.services.sending import answering, bindings, contents, looking, outcomes, rates, sent_copies
from app.services.sending.kept import Kept
from app.states import ConnectorStatus, Security, SendingStatus, SubmissionStatus
from app.worker_pool import Task, WorkerPool

log = structlog.get_logger(__name__)

THREADS = 16
THREADS_PER_SERVER = THREADS // 2
TURN = 20
"""The largest number of rows of one connector before the other connectors get their turn."""
REST = timedelta(seconds=30)
"""How long a server rests that cannot be reached or refuses us, or a connector that its server refuses."""
BEFORE_LOGIN = frozenset({None, "CONNECT", "EHLO", "STARTTLS"})
"""The steps of an attempt at which an error is about the server, not about one account."""

POSTPONED = timedelta(minutes=5)
MARGIN_S = 120
"""Additional time for steps without a deadline: the resolver, and a busy machine."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claimed attempt, with everything that is needed to carry it out without the database."""

    submission_id: str
    number: int
    ends_at: datetime
    """When its time is up. With the number it tells this attempt from any other."""
    connector_id: str
    host: str
    port: int
    security: Security
    username: str | None
    secret: StoredSecret
    sender: str
    recipients: Sequence[str]
    source_zstd: bytes
    dated_at: datetime
    marks_processed: bool
    is_on_trial: bool
    """Whether the server refused mail from this account the last time."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A connector with work that is due."""

    connector_id: str
    server: str
    """Host, port and security. Empty: the connector has no `smtp`."""
    owner: str
    """Whose share of the threads it uses."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """The row needed no connection, only the database."""


class Sender:
    """The threads that send. `send_due` is the job; it only starts work that is due and never waits."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.pool = WorkerPool("sender", THREADS)

    def send_due(self) -> bool:
        """Start the connectors that have due work and are not busy. Returns whether some could not start now."""
        busy, resting = self.pool.running(), self.pool.resting()
        with self._gateway.db.reading() as session:
            due = _due_connectors(session, clock.utc_now(), except_for=[*busy, *resting])
        started = [self._start(each) for each in self.pool.in_turn(due, lambda due: due.owner)]
        return not all(started)

    def next_due(self) -> datetime | None:
        """The next time at which work becomes due. None: there is none."""
        now = clock.utc_now()
        of_mail, of_connector = col(Submission.next_attempt_at), col(Connector.sending_next_attempt_at)
        statements = (
            select(of_mail).where(_is_open(), of_mail > now).order_by(of_mail).limit(1),
            select(of_connector).where(of_connector > now).order_by(of_connector).limit(1),
        )
        with self._gateway.db.reading() as session:
            times = [session.execute(statement).scalar_one_or_none() for statement in statements]
        return min((each for each in times if each is not None), default=None)

    def wait(self, timeout_s: float) -> bool:
        """Wait until all started work has ended. False: it did not end in time."""
        return self.pool.wait(timeout_s)

    def stop(self) -> None:
        """Start no more work. Give up attempts that have not reached their final dot, and wait for the others."""
        self.pool.stop()

    def _start(self, due: _Due) -> bool:
        groups = {due.server: THREADS_PER_SERVER}
        return self.pool.start(Task(due.connector_id, lambda: self._serve(due), groups, due.owner))

    def _serve(self, due: _Due) -> bool:
        """Do the work of a connector, for one turn. Returns whether there was any: another instance may have done it."""
        # If an error ends this during an attempt, the attempt becomes `uncertain` when its time is up.
        limits = limits_of(self._gateway)
        with Kept(self._gateway, limits, self.pool.stopping.is_set) as kept:
            for done in range(TURN):
                if self.pool.stopping.is_set() or not self._step(due, limits, kept):
                    return done > 0
        return True

    def _step(self, due: _Due, limits: Limits, kept: Kept) -> bool:
        """Do the next work that is due for a connector. False: there is none, or no more should follow now."""
        with self._gateway.db.unit_of_work() as session:
            claimed = claim_next(session, due.connector_id, limits)
        if claimed is None:
            return False
        if isinstance(claimed, sent_copies.Copy):
            sent_copies.file(self._gateway, claimed, kept)
        elif isinstance(claimed, looking.Look):
            looking.carry_out(self._gateway, claimed, kept)
        elif isinstance(claimed, Attempt):
            error = carry_out(self._gateway, claimed, kept)
            if logins.is_about_smtp_login(error):  # the error is about this mailbox only
                return False
            if isinstance(error, TooManyRefusedLogins):
                self.pool.rest(due.connector_id, clock.utc_now() + timedelta(seconds=error.retry_after_s))
                return False
            is_server = logins.is_about_smtp_server(error)
            if is_server or isinstance(error, MailServerUnavailable | MailServerTimeout):
                # After the greeting, the server may refuse only this account.
                is_everybodys = isinstance(error, MailServerError) and error.command in BEFORE_LOGIN
                name = due.server if is_everybodys else due.connector_id
                self.pool.rest(name, clock.utc_now() + REST)
                return False
        return True


def limits_of(gateway: Gateway) -> Limits:
    """How long an attempt may take, according to the settings."""
    command_s = gateway.settings.command_timeout_s
    return Limits(
        connect_s=gateway.settings.connect_timeout_s,
        command_s=command_s,
        attempt_s=15 * command_s,
        answer_s=10 * command_s,
    )


def claim_next(
    session: Session, connector_id: str, limits: Limits
) -> Attempt | sent_copies.Copy | looking.Look | _Settled | None:
    """Claim the next work that is due for a connector, mails before copies and looks. None: there is nothing."""
    now = clock.utc_now()
    may = _may_be_done(now)
    statement = (
        select(col(Submission.id), col(Submission.status))
        .join(Connector, col(Connector.id) == col(Submission.connector_id))
        .where(col(Submission.connector_id) == connector_id, _is_due(now), may)
        .order_by(
            case(
                (col(Submission.status).in_((SubmissionStatus.QUEUED, SubmissionStatus.SENDING)), 0), else_=1
            ),
            col(Submission.next_attempt_at),
            col(Submission.id),
        )
        .limit(1)
    )
    found = session.execute(statement).first()
    if found is None:
        return None
    submission_id, status = found
    if status == SubmissionStatus.QUEUED and rates.holds(session, connector_id, now):
        return _Settled()
    # The update claims the row, not the query before it: another instance may have been faster.
    time_is_up = now + timedelta(seconds=limits.attempt_s + limits.answer_s + MARGIN_S)
    claimed = session.execute(
        update(Submission)
        .where(col(Submission.id) == submission_id, col(Submission.status) == status, _is_due(now))
        .values(next_attempt_at=time_is_up)
        .returning(col(Submission.id)),
        execution_options={"synchronize_session": False},
    )
    if claimed.first() is None:
        return None
    if (claim := _AFTER_SENDING.get(status)) is not None:
        return claim(session, submission_id) or _Settled()
    statement = outcomes.without_source().where(col(Submission.id) == submission_id)
    submission: Submission = session.execute(statement).scalar_one()
    if status == SubmissionStatus.SENDING:
        outcomes.give_up_unended(session, submission)
        return _Settled()
    return _begin(session, submission, now, time_is_up) or _Settled()


_AFTER_SENDING: dict[SubmissionStatus, Callable[[Session, str], sent_copies.Copy | looking.Look | None]] = {
    SubmissionStatus.SENT: sent_copies.claim,
    SubmissionStatus.PARTLY_SENT: sent_copies.claim,
    SubmissionStatus.UNCERTAIN: looking.claim,
}


def _begin(session: Session, submission: Submission, now: datetime, ends_at: datetime) -> Attempt | None:
    """Record the attempt, or the reason why none is possible now."""
    found = credentials.with_settings(session, submission.connector_id)
    assert found is not None  # deleting a connector deletes its submissions
    connector, credential = found
    if credential is None or connector.awaits_owner_since is not None:
        outcomes.postpone(session, submission, POSTPONED, "The connector has no credentials that work.")
        return None
    if connector.smtp_host is None or connector.smtp_port is None:
        outcomes.refuse_rest(session, submission, "The connector has no smtp settings any more.")
        return None
    if not bindings.is_for(submission, connector):
        outcomes.postpone(session, submission, POSTPONED, bindings.MADE_FOR_OTHERS)
        return None
    recipients = [
        each for each in outcomes.recipients_of(session, submission.id) if each.status in outcomes.UNSETTLED
    ]
    source = submission.source_zstd
    assert source is not None  # kept until the submission has ended
    submission.status = SubmissionStatus.SENDING
    submission.attempts += 1
    submission.updated_at = now
    submission.dated_at = submission.dated_at or now
    submission.attempted_at = now
    session.flush()
    return Attempt(
        submission_id=submission.id,
        number=submission.attempts,
        ends_at=ends_at,
        connector_id=connector.id,
        host=connector.smtp_host,
        port=connector.smtp_port,
        security=connector.smtp_security or Security.TLS,
        username=connector.smtp_username,
        secret=credentials.stored(session, connector, credential),
        sender=submission.envelope_from,
        recipients=[recipient.address for recipient in recipients],
        source_zstd=source,
        dated_at=submission.dated_at,
        marks_processed=submission.marks_processed,
        is_on_trial=connector.sending_error_code in logins.PAST_LOGIN,
    )


def carry_out(gateway: Gateway, attempt: Attempt, kept: Kept) -> GatewayError | None:
    """Carry out a claimed attempt and record its outcome. Returns the error if nothing was sent."""
    results: Sequence[RecipientResult] = ()
    error: GatewayError | None = None
    try:
        password = credentials.decrypted(gateway, attempt.secret)
        results = kept.submit(
            smtp.Server(attempt.host, attempt.port, attempt.security, attempt.username, password),
            attempt.secret,
            Envelope(attempt.sender, attempt.recipients),
            contents.as_sent(attempt.source_zstd, attempt.dated_at),
        )
    except (MailServerError, SecretUnreadable, TooManyRefusedLogins) as exc:
        error = exc
    log.info(
        "submission_attempt",
        submission_id=attempt.submission_id,
        connector_id=attempt.connector_id,
        attempt=attempt.number,
        error=error.code if error is not None else None,
        command=getattr(error, "command", None),
        response_code=getattr(error, "response_code", None),
        server_line=getattr(error, "server_line", None),
        outcomes=sorted(str(result.outcome) for result in results),
    )
    trouble = _trouble(results, error)
    if trouble is not None:
        logins.record_sending_trouble(gateway, attempt.secret, trouble)
    elif attempt.is_on_trial and error is None:
        logins.record_sent(gateway, attempt.secret)
    with gateway.db.unit_of_work() as session:
        submission = outcomes.of_attempt(
            session, attempt.submission_id, number=attempt.number, ends_at=attempt.ends_at
        )
        if submission is not None:
            outcomes.record(session, submission, results, error)
    if attempt.marks_processed:
        answering.mark_processed(gateway, attempt.submission_id)
    return error


def _trouble(results: Sequence[RecipientResult], error: GatewayError | None) -> GatewayError | None:
    """The error that the connector shows as the reason why its mail waits. None: the error is about this mail, or is temporary."""
    if error is None:
        return next((each.error for each in results if logins.is_about_account(each.error)), None)
    if logins.is_about_account(error):
        return error
    is_lasting = not error.retryable or getattr(error, "command", None) == "STARTTLS"
    return error if is_lasting and logins.is_about_smtp_server(error) else None


def _due_connectors(session: Session, now: datetime, *, except_for: Sequence[str]) -> Sequence[_Due]:
    """All connectors with due work. The one that has waited longest comes first. There is no limit on their number, because an owner
    of a hundred connectors must not hide the others."""
    waiting = (
        select(col(Submission.connector_id), func.min(col(Submission.next_attempt_at)).label("since"))
        .join(Connector, col(Connector.id) == col(Submission.connector_id))
        .where(_is_due(now), _may_be_done(now), col(Submission.connector_id).not_in(except_for))
        .group_by(col(Submission.connector_id))
        .subquery()
    )
    statement = (
        select(
            col(Connector.id),
            col(Connector.smtp_host),
            col(Connector.smtp_port),
            col(Connector.smtp_security),
            col(Connector.owner),
        )
        .join(waiting, waiting.c.connector_id == col(Connector.id))
        .order_by(waiting.c.since)
    )
    found = []
    for connector_id, host, port, security, owner in session.execute(statement):
        server = server_name(host, port or 0, security or "") if host is not None else ""
        found.append(_Due(connector_id, server, shares.holder(owner, server)))
    return found


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(_is_open(), col(Submission.next_attempt_at) <= now)


def _is_open() -> ColumnElement[bool]:
    """Whether there may be work left: to send it, to end an attempt, to file its copy, or to look for it in Sent."""
    return col(Submission.status).in_(
        (
            SubmissionStatus.QUEUED,
            SubmissionStatus.SENDING,
            SubmissionStatus.SENT,
            SubmissionStatus.PARTLY_SENT,
            SubmissionStatus.UNCERTAIN,
        )
    )


def _may_be_done(now: datetime) -> ColumnElement[bool]:
    """Whether the connector allows the work now. A mail waits while sending waits or is stopped. A copy waits while the connector does
    not log in over IMAP. An attempt that never ended is ended in any case."""
    gate = col(Connector.sending_next_attempt_at)
    may_send = and_(col(Connector.sending_status) != SendingStatus.STOPPED, or_(gate.is_(None), gate <= now))
    return or_(
        col(Submission.status) == SubmissionStatus.SENDING,
        and_(col(Submission.status) == SubmissionStatus.QUEUED, may_send),
        and_(
            col(Submission.status).in_(
                (SubmissionStatus.SENT, SubmissionStatus.PARTLY_SENT, SubmissionStatus.UNCERTAIN)
            ),
            col(Connector.status) != ConnectorStatus.STOPPED,
        ),
    )
