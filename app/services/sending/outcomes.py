"""The consequences of an attempt to send: the states of the recipients, the next attempt, the end of the submission.

A recipient is `pending` before the first attempt, and `deferred` while another attempt will follow. `sent`, `refused`,
`uncertain` and `bounced` are settled. A submission ends when no recipient is left to try.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Select, select
from sqlalchemy.orm import defer
from sqlmodel import Session, col

from app import clock
from app.adapters.smtp import Outcome, RecipientResult
from app.backoff import Growing
from app.errors import (
    GatewayError,
    LoginRefused,
    OutcomeUnknown,
    SecretUnreadable,
    TooManyRefusedLogins,
)
from app.events import EventType, submission_event
from app.models import Connector, Submission, SubmissionRecipient
from app.services import logins
from app.services.events import outbox
from app.services.sending import sent_filing
from app.states import RecipientStatus, SentCopyState, SubmissionStatus

log = structlog.get_logger(__name__)

RETRIES = Growing(first_s=60, longest_s=4 * 3600)
GIVE_UP_AFTER = timedelta(days=2)
UNSETTLED = ("pending", "deferred")


def without_source() -> Select[Any]:
    """Select submissions without loading the mail itself."""
    return select(Submission).options(defer(col(Submission.source_zstd)))  # type: ignore[arg-type]


def conclude(
    session: Session,
    submission: Submission,
    recipients: Sequence[SubmissionRecipient],
    *,
    is_whom_known: bool = True,
) -> None:
    """End a submission whose recipients are all settled. `is_whom_known`: if the server has taken the mail, all of the
    uncertain recipients get it. Appends the event to the outbox: call it last."""
    now = clock.utc_now()
    statuses = {recipient.status for recipient in recipients}
    submission.status = status_of(recipients)
    submission.updated_at = now
    is_sent = submission.status in {SubmissionStatus.SENT, SubmissionStatus.PARTLY_SENT}
    if is_sent:
        connector = session.get(Connector, submission.connector_id)
        delay = sent_filing.first_look(connector) if connector is not None else None
        submission.next_attempt_at = now + delay if delay is not None else None
        if delay is None and submission.sent_copy != SentCopyState.FILED:
            submission.sent_copy = SentCopyState.NONE
    else:
        is_uncertain = submission.status == SubmissionStatus.UNCERTAIN
        is_looked_for = is_uncertain and is_whom_known and _would_prove(submission, statuses)
        submission.next_attempt_at = now if is_looked_for else None
        submission.sent_copy, submission.sent_copy_attempts = SentCopyState.NONE, 0
    session.flush()
    event = submission_event(
        EventType.SUBMISSION_SENT if is_sent else EventType.SUBMISSION_FAILED,
        connector_id=submission.connector_id,
        submission_id=submission.id,
        status=submission.status,
    )
    outbox.append(session, [event])


def _would_prove(submission: Submission, statuses: AbstractSet[RecipientStatus]) -> bool:
    """Whether the mail in Sent would prove that this attempt has sent it: no earlier attempt is known to have sent it."""
    has_gone_out = bool(statuses & {RecipientStatus.SENT, RecipientStatus.BOUNCED})
    return submission.sent_copy == SentCopyState.PENDING and not has_gone_out


def status_of(recipients: Sequence[SubmissionRecipient]) -> SubmissionStatus:
    """The status of a submission whose recipients are all settled."""
    statuses = {recipient.status for recipient in recipients}
    if RecipientStatus.UNCERTAIN in statuses:
        return SubmissionStatus.UNCERTAIN
    if RecipientStatus.SENT not in statuses:
        return SubmissionStatus.FAILED
    return SubmissionStatus.SENT if statuses == {RecipientStatus.SENT} else SubmissionStatus.PARTLY_SENT


def recipients_of(session: Session, submission_id: str) -> list[SubmissionRecipient]:
    """The envelope recipients, in the order in which they were given."""
    statement = select(SubmissionRecipient).where(col(SubmissionRecipient.submission_id) == submission_id)
    return list(session.execute(statement.order_by(col(SubmissionRecipient.id))).scalars())


def of_attempt(session: Session, submission_id: str, *, number: int, ends_at: datetime) -> Submission | None:
    """The submission, locked, if this attempt is still the one that is under way. None: its process was suspended until its
    time was up, or the connector was deleted. The number alone is not enough: one that has not asked the server is taken back.
    """
    statement = without_source().where(
        col(Submission.id) == submission_id,
        col(Submission.status) == SubmissionStatus.SENDING,
        col(Submission.attempts) == number,
        col(Submission.next_attempt_at) == ends_at,
    )
    submission: Submission | None = session.execute(statement.with_for_update()).scalar_one_or_none()
    if submission is None:
        log.warning("submission_result_too_late", submission_id=submission_id)
    return submission


def record(
    session: Session,
    submission: Submission,
    results: Sequence[RecipientResult],
    error: GatewayError | None,
) -> None:
    """Record the outcome of an attempt: the result for each recipient, or the error if nothing was sent."""
    recipients = {each.address: each for each in recipients_of(session, submission.id)}
    for result in results:
        recipient = recipients[result.address]
        if recipient.status == RecipientStatus.BOUNCED:  # the report arrived before this record
            continue
        recipient.status, recipient.detail = _STATUSES[result.outcome], _sentence(result)
    record_error(submission, error or _reason(results))
    if error is not None and (logins.is_about_smtp_server(error) or logins.is_about_smtp_login(error)):
        submission.attempted_at = None  # nothing was sent, so it does not count
    if error is None:
        postpone(session, submission, RETRIES.after(submission.attempts), None)
    elif logins.is_about_smtp_login(error):  # the error is not about the mail: it waits until sending goes on
        gives_up = not isinstance(error, LoginRefused)
        postpone(session, submission, timedelta(), with_codes(error), gives_up=gives_up)
    elif isinstance(error, TooManyRefusedLogins):  # the server was not asked
        submission.attempts -= 1
        submission.attempted_at = None
        delay = timedelta(seconds=error.retry_after_s)
        postpone(session, submission, delay, error.detail, gives_up=False)
    elif error.retryable or logins.is_about_smtp_server(error):
        postpone(session, submission, RETRIES.after(submission.attempts), with_codes(error))
    elif isinstance(error, SecretUnreadable):  # until somebody enters the password, or corrects the keys
        postpone(session, submission, RETRIES.after(submission.attempts), error.detail)
    else:
        refuse_rest(session, submission, with_codes(error))


def postpone(
    session: Session, submission: Submission, delay: timedelta, detail: str | None, *, gives_up: bool = True
) -> None:
    """Queue the submission again. If its time is over, give it up; if all recipients are settled, end it."""
    recipients = recipients_of(session, submission.id)
    unsettled = [recipient for recipient in recipients if recipient.status in UNSETTLED]
    now = clock.utc_now()
    asked_at = submission.queued_at or submission.created_at
    first_due = max(submission.send_at or asked_at, asked_at)
    is_over = gives_up and now + delay > first_due + GIVE_UP_AFTER
    for recipient in unsettled:
        recipient.detail = detail or recipient.detail
        recipient.status = RecipientStatus.REFUSED if is_over else RecipientStatus.DEFERRED
    if is_over or not unsettled:
        conclude(session, submission, recipients)
        return
    submission.status = SubmissionStatus.QUEUED
    submission.next_attempt_at = now + delay
    submission.updated_at = now
    session.flush()


def refuse_rest(session: Session, submission: Submission, detail: str) -> None:
    """End the submission. The remaining recipients will not get the mail."""
    recipients = recipients_of(session, submission.id)
    _settle(recipients, RecipientStatus.REFUSED, detail)
    conclude(session, submission, recipients)


def give_up_unended(session: Session, submission: Submission) -> None:
    """End a submission whose attempt has no known end. Of several recipients the server may have refused some."""
    record_error(submission, OutcomeUnknown())
    detail = "The attempt never ended; the mail may have been sent."
    recipients = recipients_of(session, submission.id)
    number = _settle(recipients, RecipientStatus.UNCERTAIN, detail)
    conclude(session, submission, recipients, is_whom_known=number == 1)


def _settle(recipients: Sequence[SubmissionRecipient], status: RecipientStatus, detail: str) -> int:
    """Settle the recipients that are left to try. Returns their number."""
    rest = [recipient for recipient in recipients if recipient.status in UNSETTLED]
    for recipient in rest:
        recipient.status, recipient.detail = status, detail
    return len(rest)


def record_error(submission: Submission, error: GatewayError | None) -> None:
    """Store why the last attempt did not reach all recipients. None: it did."""
    codes = getattr(error, "response_code", None) or ""
    submission.error_code = error.code if error is not None else None
    submission.error_detail = with_codes(error) if error is not None else None
    submission.error_enhanced_status = codes.partition(" ")[2] or None
    submission.error_server_text = getattr(error, "server_text", None)


def with_codes(error: GatewayError) -> str:
    """The sentence of an error, with the codes of the mail server."""
    codes = getattr(error, "response_code", None)
    return f"{error.detail.removesuffix('.')} ({codes})." if codes else error.detail


def _reason(results: Sequence[RecipientResult]) -> GatewayError | None:
    """Why not all recipients have got the mail. A final reason comes before a temporary one."""
    if any(result.outcome is Outcome.UNCERTAIN for result in results):
        return OutcomeUnknown()
    for outcome in (Outcome.REFUSED, Outcome.DEFERRED):
        for result in results:
            if result.outcome is outcome and result.error is not None:
                return result.error
    return None


_STATUSES = {
    Outcome.ACCEPTED: RecipientStatus.SENT,
    Outcome.DEFERRED: RecipientStatus.DEFERRED,
    Outcome.REFUSED: RecipientStatus.REFUSED,
    Outcome.UNCERTAIN: RecipientStatus.UNCERTAIN,
}
_SENTENCES = {
    Outcome.DEFERRED: "The mail server refused for the time being",
    Outcome.REFUSED: "The mail server refused",
    Outcome.UNCERTAIN: "The connection was lost before the mail server's answer; the mail may have been sent",
}


def _sentence(result: RecipientResult) -> str | None:
    """The result in words and codes. The server's own text is not passed on, because it may say anything."""
    if result.outcome is Outcome.ACCEPTED:
        return None
    codes = " ".join(str(each) for each in (result.code, result.enhanced_code) if each is not None)
    return f"{_SENTENCES[result.outcome]}{f' ({codes})' if codes else ''}."
