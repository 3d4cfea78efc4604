"""Records bounces: reports that a sent mail has not been delivered.

Anybody can write such a report, and every recipient of a mail knows its Message-ID. So a report counts only if it names one of our
mails by its Message-ID, and a recipient of this mail, and if it came to the mailbox that sent the mail, or to one that the same
people read. Subjects do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlmodel import Session, col

from app import clock
from app.errors import Bounced
from app.events import NewEvent, bounced_event
from app.mime.delivery_report import comparable
from app.mime.model import DeliveryReport, Undelivered
from app.models import Connector, GroupBinding, Submission, SubmissionRecipient
from app.services.sending import outcomes
from app.states import ConnectorKind, RecipientStatus, SentCopyState, SubmissionStatus

log = structlog.get_logger(__name__)

TAKEN = (RecipientStatus.SENT, RecipientStatus.UNCERTAIN)
ENDED = (SubmissionStatus.SENT, SubmissionStatus.PARTLY_SENT, SubmissionStatus.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class Report:
    """A report, and the id of the message that contains it."""

    message_id: str
    content: DeliveryReport


def record(session: Session, received_by: Connector, reports: Sequence[Report]) -> list[NewEvent]:
    """Record the reports that a mailbox has received. Returns the events, which the caller appends to the outbox.

    It locks the submissions. Call it before the feed is locked.
    """
    named = {each for report in reports for each in report.content.message_ids}
    if not named:
        return []
    statement = (
        outcomes.without_source()
        .where(col(Submission.message_id_header).in_(named))
        .order_by(col(Submission.id))
        .with_for_update()
    )
    submissions = {each.message_id_header: each for each in session.execute(statement).scalars()}
    events = []
    for report in reports:
        known = (submissions[each] for each in report.content.message_ids if each in submissions)
        submission = next(known, None)
        if submission is None or not _is_read_by_the_same(session, received_by, submission.connector_id):
            continue
        if _apply(session, submission, report.content.failed):
            log.info("submission_bounced", submission_id=submission.id, message_id=report.message_id)
            events.append(
                bounced_event(
                    connector_id=submission.connector_id,
                    submission_id=submission.id,
                    status=submission.status,
                    message_id=report.message_id,
                )
            )
    return events


def _apply(session: Session, submission: Submission, failed: Sequence[Undelivered]) -> bool:
    """Record which recipients have not got the mail. Returns whether this changed anything."""
    recipients = outcomes.recipients_of(session, submission.id)
    by_address = {comparable(each.address): each for each in recipients}
    news: list[Undelivered] = []
    for each in failed:
        recipient = next((by_address[named] for named in each.addresses if named in by_address), None)
        if recipient is None or not _may_have_got(submission, recipient):
            continue
        recipient.status, recipient.detail = RecipientStatus.BOUNCED, outcomes.with_codes(_error(each))
        news.append(each)
    if news and submission.status in ENDED:
        outcomes.record_error(submission, _error(news[0]))
        submission.error_enhanced_status = news[0].enhanced_status
        submission.status = outcomes.status_of(recipients)
        submission.updated_at = clock.utc_now()
        if (
            submission.status == SubmissionStatus.FAILED
        ):  # nobody has got the mail, so there is no copy to file
            submission.next_attempt_at = None
            if submission.sent_copy == SentCopyState.PENDING:
                submission.sent_copy = SentCopyState.NONE
    session.flush()
    return bool(news)


def _may_have_got(submission: Submission, recipient: SubmissionRecipient) -> bool:
    """Whether the mail may have been sent to this recipient, even if its outcome is not recorded yet."""
    is_sending = submission.status == SubmissionStatus.SENDING and recipient.status in outcomes.UNSETTLED
    return recipient.status in TAKEN or is_sending


def _error(undelivered: Undelivered) -> Bounced:
    codes = [str(each) for each in (undelivered.code, undelivered.enhanced_status) if each is not None]
    error = Bounced(response_code=" ".join(codes) or None)
    error.server_text = undelivered.server_text
    return error


def _is_read_by_the_same(session: Session, received_by: Connector, connector_id: str) -> bool:
    """Whether the mailbox that sent the mail is the one that received the report, or one that the same people read."""
    if received_by.id == connector_id:
        return True
    sent_from = session.get(Connector, connector_id)
    if sent_from is None:
        return False
    if _mailbox(sent_from) == _mailbox(received_by):
        return True
    if sent_from.kind != received_by.kind:
        return False
    if sent_from.kind == ConnectorKind.PERSONAL:
        return sent_from.owner is not None and sent_from.owner == received_by.owner
    groups = select(col(GroupBinding.group)).where(col(GroupBinding.connector_id) == sent_from.id)
    both = select(col(GroupBinding.id)).where(
        col(GroupBinding.connector_id) == received_by.id, col(GroupBinding.group).in_(groups)
    )
    return session.execute(both.limit(1)).first() is not None


def _mailbox(connector: Connector) -> tuple[str | None, int | None, str | None]:
    host = connector.imap_host
    return (host.lower() if host is not None else None, connector.imap_port, connector.imap_username)
