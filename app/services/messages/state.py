"""Changes a stored message: a user has processed it, the gateway has moved it on the server, somebody has returned it.

All transactions take locks in one order, so that no two of them wait for each other on PostgreSQL: messages (by id), then
the ledger, then the feed. Only new messages are inserted after the positions in the feed are known.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import NotFound
from app.events import EventType, NewEvent, message_event
from app.models import Connector, Message
from app.services.access import audit
from app.services.access.audit import Actor
from app.services.access.rules import Action, Principal
from app.services.events import outbox
from app.services.events.recipients import recipients_of
from app.services.messages import selection
from app.states import MessageState


def lock(session: Session, message_ids: Sequence[str]) -> list[Message]:
    """The messages that still exist, locked until the commit, by id.

    Take this lock before the lock of the feed: code that changes a stored message and appends an event calls this first.
    """
    statement = (
        select(Message).where(col(Message.id).in_(message_ids)).order_by(col(Message.id)).with_for_update()
    )
    return list(session.execute(statement, execution_options={"populate_existing": True}).scalars())


def mark_returned(
    session: Session, message: Message, *, folder: str, uid: int, uidvalidity: int, position: int
) -> None:
    """Record that somebody moved the mail back into the source folder: the message becomes `new` and appears again in the feed."""
    message.state = MessageState.NEW
    message.processed_at = None
    message.moved_at = None
    message.folder = folder
    message.uid = uid
    message.uidvalidity = uidvalidity
    message.position = position
    session.flush()


def mark_moved(session: Session, message_ids: Sequence[str], at: datetime) -> None:
    """Record that the mails of these messages are in the processed folder."""
    if not message_ids:
        return
    ids = select(col(Message.id)).where(col(Message.id).in_(message_ids)).order_by(col(Message.id))
    session.execute(ids.with_for_update())
    session.execute(update(Message).where(col(Message.id).in_(message_ids)).values(moved_at=at))


def set_state(session: Session, principal: Principal, message_id: str, state: MessageState) -> Message:
    """Mark a message as `new` or `processed`. Only a change to `processed` publishes an event.

    Raises:
        ScopeMissing, NotFound
    """
    connector = selection.require(session, principal, Action.WRITE_CONTENT, message_id)
    locked = lock(session, [message_id])
    if not locked:
        raise NotFound
    if locked[0].state != state:
        _change(session, principal, connector, locked[0], state)
    return locked[0]


def mark_answered(session: Session, by: Actor, message_id: str) -> None:
    """Mark a message as processed, because the answer to it was sent. Does nothing if it no longer exists or is not new. `by` is the
    caller who asked for the answer. Appends the event to the outbox: call it last."""
    locked = lock(session, [message_id])
    connector = session.get(Connector, locked[0].connector_id) if locked else None
    if connector is not None and locked[0].state != MessageState.PROCESSED:
        _change(session, by, connector, locked[0], MessageState.PROCESSED)


def _change(session: Session, by: Actor, connector: Connector, message: Message, state: MessageState) -> None:
    changes = {"state": [message.state.value, state.value]}
    subject, action = f"messages/{message.id}", AuditAction.MESSAGE_STATE_CHANGED
    audit.record(session, by, action, subject, connector_id=connector.id, changes=changes)
    message.state = state
    message.processed_at = clock.utc_now() if state == MessageState.PROCESSED else None
    session.flush()
    if state == MessageState.PROCESSED:
        outbox.append(session, [_event(session, EventType.MESSAGE_PROCESSED, connector, message.id)])


def _event(session: Session, event_type: EventType, connector: Connector, message_id: str) -> NewEvent:
    # Users are notified of mail that arrives, not of what somebody does with it.
    return message_event(
        event_type,
        connector_id=connector.id,
        message_id=message_id,
        notify=False,
        recipients=recipients_of(session, connector),
    )
