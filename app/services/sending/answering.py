"""The rules for answers: a message gets one answer, unless the caller asks for another, and the answer may mark it as processed."""

from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlmodel import Session, col

from app.adapters import compression
from app.errors import AlreadyAnswered, AnswerToAutomaticMail, FieldFault, InvalidInput, NotFound
from app.gateway import Gateway
from app.mime.answering import Parent, Thread, reply_subject, thread_of
from app.models import Connector, Message, MessageBody, Submission
from app.schemas.submissions import SubmissionCreate
from app.services.access import rules
from app.services.access.audit import NamedActor
from app.services.access.rules import Action, Principal
from app.services.messages import answers, state
from app.states import SubmissionStatus

NOT_A_MESSAGE = FieldFault("/in_reply_to", "is not a message that you may read")
SENT = (SubmissionStatus.SENT, SubmissionStatus.PARTLY_SENT)


@dataclass(frozen=True, slots=True)
class Answered:
    """The values that the headers of an answer take from the answered message."""

    subject: str = ""
    conversation_id: str | None = None
    thread: Thread = field(default_factory=Thread)


def answered(
    session: Session, principal: Principal, connector: Connector, wanted: SubmissionCreate
) -> Answered:
    """The values that the headers of a mail take from the message that it answers. Empty values if it answers none.

    Raises:
        ScopeMissing, NotFound, InvalidInput
        AnswerToAutomaticMail: a program answers a program.
    """
    if wanted.in_reply_to is None:
        if wanted.mark_processed:
            raise InvalidInput(FieldFault("/mark_processed", "needs in_reply_to"))
        return Answered()
    message = session.get(Message, wanted.in_reply_to)
    if message is None:
        rules.require_on(session, principal, Action.READ_CONTENT, connector)
        raise InvalidInput(NOT_A_MESSAGE)
    try:
        rules.require(session, principal, Action.READ_CONTENT, message.connector_id)
    except NotFound as exc:
        raise InvalidInput(NOT_A_MESSAGE) from exc
    if wanted.mark_processed:
        rules.require(session, principal, Action.WRITE_CONTENT, message.connector_id)
    if wanted.auto_submitted is not None and message.is_auto_reply:
        raise AnswerToAutomaticMail
    body = session.get(MessageBody, message.id)
    source = compression.decompress(body.source_zstd) if body is not None else b""
    parent = Parent(message.message_id_header, message.in_reply_to, message.references)
    return Answered(
        subject=reply_subject(message.subject or ""),
        conversation_id=message.conversation_id,
        thread=thread_of(parent, source),
    )


def require_none(session: Session, message_id: str, *, but: str | None = None, wanted: bool = True) -> bool:
    """Refuse another answer if there is one, and if `wanted`. The message stays locked until the transaction ends, so of two answers
    at the same time, the second waits and finds the first. Returns whether the message still exists. `but` is a submission that
    does not count.

    Raises:
        AlreadyAnswered: it is answered, or an answer waits to be sent.
    """
    locked = state.lock(session, [message_id])
    if wanted and answers.is_answered(session, message_id, but=but):
        raise AlreadyAnswered
    return bool(locked)


def mark_processed(gateway: Gateway, submission_id: str) -> None:
    """Mark the answered message as processed, if the request asked for it, the answer was sent, and this was not done yet."""
    with gateway.db.unit_of_work() as session:
        # Locks in this order: message, submission, feed.
        asked = (
            col(Submission.id) == submission_id,
            col(Submission.status).in_(SENT),
            col(Submission.marks_processed).is_(True),
        )
        statement = select(col(Submission.in_reply_to_message_id), col(Submission.created_by)).where(*asked)
        row = session.execute(statement).one_or_none()
        if row is None:
            return
        message_id, created_by = row
        if message_id is not None:
            state.lock(session, [message_id])
        claimed = session.execute(
            update(Submission).where(*asked).values(marks_processed=False).returning(col(Submission.id)),
            execution_options={"synchronize_session": False},
        )
        if claimed.first() is not None and message_id is not None:
            state.mark_answered(session, NamedActor(created_by), message_id)
