"""The answers to messages: who has answered, and from where.

A caller who may not read the mailbox from which somebody answered does not learn who answered. They learn only that the message was
answered, and when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CompoundSelect, select, union_all
from sqlmodel import Session, col

from app.models import DeletedSubmission, Submission
from app.services.access import rules
from app.services.access.rules import Action, Principal
from app.states import SubmissionStatus

NO_ANSWERS = frozenset({SubmissionStatus.FAILED, SubmissionStatus.CANCELLED})
"""An answer with one of these has reached nobody."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a message. If it came from a mailbox that the caller may not read, only `at` is set."""

    at: datetime
    submission_id: str | None = None
    status: SubmissionStatus | None = None
    by: str | None = None


def answers_to(session: Session, principal: Principal, message_ids: Sequence[str]) -> dict[str, list[Answer]]:
    """The answers to each of these messages, the oldest first. Messages without an answer are left out."""
    rows = session.execute(_statement(message_ids)).all() if message_ids else []
    may_read = {
        connector_id: rules.allows(session, principal, Action.READ_CONTENT, connector_id)
        for connector_id in {row.connector_id for row in rows}
    }
    found: dict[str, list[Answer]] = {}
    for row in sorted(rows, key=lambda row: (row.created_at, row.id)):
        answer = Answer(row.created_at)
        if may_read[row.connector_id]:
            answer = Answer(row.created_at, row.id, row.status, row.created_by)
        found.setdefault(row.in_reply_to_message_id, []).append(answer)
    return found


def is_answered(session: Session, message_id: str, *, but: str | None = None) -> bool:
    """Whether an answer to a message was sent, or may still be sent. `but` is a submission that does not count."""
    rows = session.execute(_statement([message_id])).all()
    return any(row.id != but and row.status not in NO_ANSWERS for row in rows)


def _statement(message_ids: Sequence[str]) -> CompoundSelect[tuple[object, ...]]:
    return union_all(
        *(
            select(
                col(table.id),
                col(table.in_reply_to_message_id),
                col(table.connector_id),
                col(table.status),
                col(table.created_by),
                col(table.created_at),
            ).where(col(table.in_reply_to_message_id).in_(message_ids))
            for table in (Submission, DeletedSubmission)
        )
    )
