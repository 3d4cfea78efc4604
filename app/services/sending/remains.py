"""Keeps two facts of a deleted submission: that it answered a message, and the key of its request.

The first is kept as long as the answered message. An `Idempotency-Key` stays used for 30 more days, because a program that
repeats its request must not send the mail a second time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, insert, literal, or_, select, update
from sqlmodel import Session, col

from app import clock
from app.errors import IdempotencyKeySpent, IdempotencyMismatch
from app.models import DeletedSubmission, Message, Submission
from app.models.columns import UtcDateTime

KEYS_KEPT = timedelta(days=30)
_KEPT = (
    "id",
    "connector_id",
    "created_by",
    "idempotency_key",
    "request_sha256",
    "status",
    "in_reply_to_message_id",
    "created_at",
)
_UNSYNCHRONISED = {"synchronize_session": False}


def delete_kept(session: Session, submission_ids: Sequence[str]) -> None:
    """Delete submissions, which the caller must have locked, and keep these facts of them."""
    among = col(Submission.id).in_(submission_ids)
    _keep(session, among)
    session.execute(delete(Submission).where(among), execution_options=_UNSYNCHRONISED)


def keep_answers_of(session: Session, connector_id: str) -> None:
    """Keep which messages of other mailboxes a connector has answered that is about to be deleted."""
    elsewhere = select(col(Message.id)).where(col(Message.connector_id) != connector_id)
    _keep(
        session,
        col(Submission.connector_id) == connector_id,
        col(Submission.in_reply_to_message_id).in_(elsewhere),
    )


def require_unspent(
    session: Session, created_by: str, idempotency_key: str | None, request_sha256: str
) -> None:
    """Refuse a key if the submission that was made with it has been deleted.

    Raises:
        IdempotencyKeySpent, IdempotencyMismatch
    """
    if idempotency_key is None:
        return
    statement = select(col(DeletedSubmission.request_sha256)).where(
        col(DeletedSubmission.created_by) == created_by,
        col(DeletedSubmission.idempotency_key) == idempotency_key,
    )
    spent_by = session.execute(statement).scalars().first()
    if spent_by is not None:
        raise IdempotencyKeySpent if spent_by == request_sha256 else IdempotencyMismatch


def forget_old(session: Session) -> None:
    """Free the keys whose time is over, and delete rows that then hold no fact."""
    old = col(DeletedSubmission.deleted_at) < clock.utc_now() - KEYS_KEPT
    session.execute(
        update(DeletedSubmission)
        .where(old, col(DeletedSubmission.idempotency_key).is_not(None))
        .values(idempotency_key=None),
        execution_options=_UNSYNCHRONISED,
    )
    nothing = (
        col(DeletedSubmission.idempotency_key).is_(None),
        col(DeletedSubmission.in_reply_to_message_id).is_(None),
    )
    session.execute(delete(DeletedSubmission).where(*nothing), execution_options=_UNSYNCHRONISED)


def _keep(session: Session, *conditions: ColumnElement[bool]) -> None:
    now: ColumnElement[datetime] = literal(clock.utc_now(), UtcDateTime())
    says_something = or_(
        col(Submission.idempotency_key).is_not(None), col(Submission.in_reply_to_message_id).is_not(None)
    )
    rows = select(*(getattr(Submission, name) for name in _KEPT), now).where(*conditions, says_something)
    session.execute(insert(DeletedSubmission).from_select([*_KEPT, "deleted_at"], rows))
