"""Ends submissions by command or by age: cancels, deletes, and sends again.

queued ──cancel──▶ cancelled           failed, uncertain ──delete──▶ (gone)
failed, partly_sent, uncertain ──retry──▶ queued
"""

from datetime import timedelta

import structlog
from sqlalchemy import delete, select, update
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import NotFound, SubmissionsQueued, WrongState
from app.events import EventType, submission_event
from app.gateway import Gateway
from app.models import Connector, Submission, SubmissionBody
from app.services.access import audit, rules
from app.services.access.rules import Action, Principal
from app.services.events import outbox
from app.services.sending import answering, bindings, remains
from app.services.sending.outcomes import UNSETTLED, conclude, recipients_of, record_error, without_source
from app.states import RecipientStatus, SentCopyState, SubmissionStatus

log = structlog.get_logger(__name__)

SENT = (SubmissionStatus.SENT, SubmissionStatus.PARTLY_SENT)
NOT_SENT = (SubmissionStatus.FAILED, SubmissionStatus.UNCERTAIN, SubmissionStatus.CANCELLED)
DELETABLE = (SubmissionStatus.FAILED, SubmissionStatus.UNCERTAIN)
CAN_BE_RETRIED = (SubmissionStatus.FAILED, SubmissionStatus.UNCERTAIN, SubmissionStatus.PARTLY_SENT)
DELETED_AT_ONCE = 500


def remove(session: Session, principal: Principal, submission_id: str) -> None:
    """Cancel a queued submission, or delete one that failed or is uncertain. If some recipients have already got the mail,
    only the others are cancelled.

    Raises:
        ScopeMissing, NotFound
        WrongState: the gateway is sending it, or it was sent or cancelled.
    """
    submission = required(session, principal, submission_id)
    if submission.status in DELETABLE:
        if not _claimed(session, submission, submission.status, of=submission.status):
            raise WrongState("Somebody else has just sent it again or deleted it.")
        remains.delete_kept(session, [submission_id])
        _record(session, principal, AuditAction.SUBMISSION_DELETED, submission)
        session.expunge(submission)
        return
    if not _claimed(session, submission, SubmissionStatus.CANCELLED):
        raise WrongState(
            "Only a queued submission can be cancelled, and only a failed or uncertain one deleted."
        )
    _record(session, principal, AuditAction.SUBMISSION_CANCELLED, submission)
    recipients = recipients_of(session, submission_id)
    if any(recipient.status in {RecipientStatus.SENT, RecipientStatus.UNCERTAIN} for recipient in recipients):
        for recipient in recipients:
            if recipient.status in UNSETTLED:
                recipient.status, recipient.detail = RecipientStatus.REFUSED, "Cancelled before it was sent."
        conclude(session, submission, recipients)
        return
    _forget(session, submission)


def retry(session: Session, principal: Principal, submission_id: str, *, also: bool = False) -> None:
    """Queue a submission again for the recipients that have not got it, or may not have got it. `also`: even if somebody has
    answered the same message meanwhile.

    Raises:
        ScopeMissing, NotFound
        AlreadyAnswered
        WrongState: it has not failed, or its mail is no longer kept.
    """
    submission = required(session, principal, submission_id)
    if submission.status not in CAN_BE_RETRIED:
        raise WrongState("Only a failed, partly sent or uncertain submission can be sent again.")
    kept = select(col(Submission.id)).where(
        col(Submission.id) == submission_id, col(Submission.source_zstd).is_not(None)
    )
    if session.execute(kept).first() is None:
        raise WrongState("An older version has ended this mail and did not keep it; create a new submission.")
    if submission.status == SubmissionStatus.PARTLY_SENT and submission.next_attempt_at is not None:
        raise WrongState("The copy of this mail is still to be filed; try again later.")
    if submission.in_reply_to_message_id is not None and not also:
        answering.require_none(session, submission.in_reply_to_message_id, but=submission.id)
    if not _claimed(session, submission, SubmissionStatus.QUEUED, of=submission.status):
        raise WrongState("Somebody else has just sent it again.")
    _record(session, principal, AuditAction.SUBMISSION_RETRIED, submission)
    connector = session.get(Connector, submission.connector_id)
    assert connector is not None
    now = clock.utc_now()
    recipients = recipients_of(session, submission_id)
    before = [recipient.status for recipient in recipients]
    # It may be in Sent, though that was not recorded, and some of these have not got it: a look there proves nothing any more.
    proves_nothing = RecipientStatus.BOUNCED in before or before.count(RecipientStatus.UNCERTAIN) > 1
    for recipient in recipients:
        if recipient.status != RecipientStatus.SENT:
            recipient.status, recipient.detail = RecipientStatus.PENDING, None
    submission.made_for = bindings.made_for(connector)
    submission.queued_at = submission.next_attempt_at = submission.updated_at = now
    submission.dated_at = None
    record_error(submission, None)
    if submission.sent_copy != SentCopyState.FILED:
        submission.sent_copy = SentCopyState.FAILED if proves_nothing else SentCopyState.PENDING
        submission.sent_copy_attempts = 0
    session.flush()


def require_none_queued(session: Session, connector_id: str) -> None:
    """Refuse while mail of a connector waits to be sent.

    Raises:
        SubmissionsQueued
    """
    if _ids(session, connector_id, SubmissionStatus.QUEUED, SubmissionStatus.SENDING):
        raise SubmissionsQueued


def end_queued(session: Session, connector_id: str, *, cancels: bool) -> None:
    """Cancel the queued submissions of a connector that is about to be deleted. Each ends with an event. Appends the events to the
    outbox: call it last.

    Raises:
        SubmissionsQueued: there are some, and `cancels` is false.
        WrongState: one is being sent.
    """
    if not cancels:
        require_none_queued(session, connector_id)
        return
    if _ids(session, connector_id, SubmissionStatus.SENDING):
        raise WrongState("A mail is being sent from this connector; try again in a moment.")
    statement = without_source().where(
        col(Submission.connector_id) == connector_id, col(Submission.status) == SubmissionStatus.QUEUED
    )
    events = []
    for submission in session.execute(statement.with_for_update()).scalars():
        if _claimed(session, submission, SubmissionStatus.CANCELLED):
            events.append(
                submission_event(
                    EventType.SUBMISSION_FAILED,
                    connector_id=connector_id,
                    submission_id=submission.id,
                    status=SubmissionStatus.CANCELLED,
                )
            )
    if _ids(session, connector_id, SubmissionStatus.SENDING):
        raise WrongState("A mail is being sent from this connector; try again in a moment.")
    if events:
        outbox.append(session, events)


def delete_old(gateway: Gateway) -> int:
    """Delete the submissions that are older than the retention of their connectors. Returns their number."""
    with gateway.db.reading() as session:
        statement = select(
            col(Connector.id), col(Connector.delete_sent_after_days), col(Connector.delete_failed_after_days)
        ).where(
            col(Connector.delete_sent_after_days).is_not(None)
            | col(Connector.delete_failed_after_days).is_not(None)
        )
        retentions = session.execute(statement).all()
    deleted = 0
    for connector_id, sent_days, failed_days in retentions:
        for statuses, days in ((SENT, sent_days), (NOT_SENT, failed_days)):
            if days is not None:
                deleted += _delete_of(gateway, connector_id, statuses, days)
    with gateway.db.unit_of_work() as session:
        remains.forget_old(session)
    if deleted:
        log.info("submissions_deleted", number=deleted)
    return deleted


def _delete_of(gateway: Gateway, connector_id: str, statuses: tuple[SubmissionStatus, ...], days: int) -> int:
    old = (
        select(col(Submission.id))
        .where(
            col(Submission.connector_id) == connector_id,
            col(Submission.status).in_(statuses),
            col(Submission.next_attempt_at).is_(None),  # its copy is filed, or will not be filed
            col(Submission.updated_at) < clock.utc_now() - timedelta(days=days),
        )
        .limit(DELETED_AT_ONCE)
        .with_for_update(skip_locked=True)  # one that somebody is sending again
    )
    deleted = 0
    while True:
        with gateway.db.unit_of_work() as session:
            ids = session.execute(old).scalars().all()
            remains.delete_kept(session, ids)
        deleted += len(ids)
        if len(ids) < DELETED_AT_ONCE:
            return deleted


def required(session: Session, principal: Principal, submission_id: str) -> Submission:
    """One submission of a connector from which the caller may send.

    Raises:
        ScopeMissing, NotFound
    """
    statement = without_source().where(col(Submission.id) == submission_id)
    submission: Submission | None = session.execute(statement).scalar_one_or_none()
    rules.require(
        session, principal, Action.SEND, submission.connector_id if submission is not None else None
    )
    if submission is None:
        raise NotFound
    return submission


def _record(session: Session, principal: Principal, action: AuditAction, submission: Submission) -> None:
    subject = f"submissions/{submission.id}"
    audit.record(session, principal, action, subject, connector_id=submission.connector_id)


def _claimed(
    session: Session,
    submission: Submission,
    status: SubmissionStatus,
    *,
    of: SubmissionStatus = SubmissionStatus.QUEUED,
) -> bool:
    """Change the status, if it still is `of`. Returns whether it was: then no instance is about to send the submission."""
    claimed = session.execute(
        update(Submission)
        .where(col(Submission.id) == submission.id, col(Submission.status) == of)
        .values(status=status, updated_at=clock.utc_now())
        .returning(col(Submission.id)),
        execution_options={"synchronize_session": False},
    )
    if claimed.first() is None:
        return False
    session.refresh(submission)
    return True


def _forget(session: Session, submission: Submission) -> None:
    submission.source_zstd = None
    submission.next_attempt_at = None
    submission.sent_copy = SentCopyState.NONE
    session.execute(delete(SubmissionBody).where(col(SubmissionBody.submission_id) == submission.id))
    session.flush()


def _ids(session: Session, connector_id: str, *statuses: SubmissionStatus) -> bool:
    statement = select(col(Submission.id)).where(
        col(Submission.connector_id) == connector_id, col(Submission.status).in_(statuses)
    )
    return session.execute(statement.limit(1)).first() is not None
