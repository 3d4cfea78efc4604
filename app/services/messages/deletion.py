"""Deletes stored messages.

A deleted message disappears from every table but one. While the move of its mail on the server is not settled, the ledger
(`ServerMessage`) keeps the row that says "this mail has been taken in", without the message. Otherwise the next cycle
would download the mail again, because it is still there. The fetch cycle removes such a row when the move is settled.

Locks are taken in the order that `state` describes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlmodel import Session, col

from app.audit_actions import AuditAction
from app.errors import NotFound
from app.events import EventType, message_event
from app.gateway import Gateway
from app.models import Connector, DeletedSubmission, Message, MessageBody, ServerMessage, Submission
from app.schemas.messages import MessagesDelete
from app.services.access import audit
from app.services.access.audit import Actor
from app.services.access.rules import Action, Principal
from app.services.events import outbox
from app.services.events.recipients import recipients_of
from app.services.messages.selection import MessageFilter, conditions, require
from app.states import MoveState

DELETE_BATCH = 200


def delete_one(session: Session, principal: Principal, message_id: str) -> None:
    """Delete a message.

    Raises:
        ScopeMissing, NotFound
    """
    connector = require(session, principal, Action.WRITE_CONTENT, message_id)
    if not _delete(session, [message_id], []):
        raise NotFound
    subject = f"messages/{message_id}"
    audit.record(session, principal, AuditAction.MESSAGE_DELETED, subject, connector_id=connector.id)


def delete_matching(gateway: Gateway, principal: Principal, body: MessagesDelete) -> int:
    """Delete the messages that match the filters and that the caller may delete. Returns their number.

    It works in batches, and each batch is a unit of work. It does not touch messages that are stored meanwhile.

    Raises:
        ScopeMissing, NotFound, InvalidInput
    """
    filters = MessageFilter.of(body)
    with gateway.db.reading() as session:
        matching = conditions(session, principal, Action.WRITE_CONTENT, filters)
    if filters.q is not None:
        with gateway.searches.taken(principal.name):
            return sum(delete_in_batches(gateway, principal, matching))
    return sum(delete_in_batches(gateway, principal, matching))


def delete_of_connector(gateway: Gateway, by: Actor, connector_id: str) -> int:
    """Delete all messages of a connector that are stored now. Returns their number.

    It opens its own units of work: do not call it inside one.
    """
    return sum(delete_in_batches(gateway, by, [col(Message.connector_id) == connector_id]))


def delete_in_batches(gateway: Gateway, by: Actor, matching: Sequence[ColumnElement[bool]]) -> Iterator[int]:
    """Delete the messages that meet the conditions, in batches, so that other writers can write between two batches.
    Yields the number of messages that each batch deleted. The audit trail gets one record for each connector, with the
    number of messages."""
    record = audit.Counted(by, AuditAction.MESSAGES_DELETED)
    with gateway.db.reading() as session:
        last = session.execute(select(func.max(col(Message.position))).where(*matching)).scalar_one() or 0
    done = 0
    while done < last:
        # Search before taking the write lock, because a search through all texts may take long.
        with gateway.db.reading() as session:
            statement = (
                select(col(Message.position), col(Message.id))
                .where(*matching, col(Message.position) > done, col(Message.position) <= last)
                .order_by(col(Message.position))
                .limit(DELETE_BATCH)
            )
            found = session.execute(statement).all()
        if not found:
            return
        with gateway.db.unit_of_work() as session:
            deleted = _delete(session, [message_id for _position, message_id in found], matching)
            for connector_id, count in deleted.items():
                record.add(session, f"connectors/{connector_id}", count, connector_id=connector_id)
        yield deleted.total()
        done = found[-1][0]


def _delete(
    session: Session, message_ids: Sequence[str], still: Sequence[ColumnElement[bool]]
) -> Counter[str]:
    """Delete the messages that still meet the conditions, and the rows that belong to them. Returns the number for each
    connector."""
    locking = (
        select(col(Message.id), col(Message.connector_id))
        .where(col(Message.id).in_(message_ids), *still)
        .order_by(col(Message.id))
        .with_for_update()
    )
    gone = session.execute(locking).all()
    if not gone:
        return Counter()
    ids = [message_id for message_id, _connector_id in gone]
    connector_ids = {connector_id for _message_id, connector_id in gone}
    settled = col(ServerMessage.move_state) != MoveState.PENDING
    unsynchronised: dict[str, Any] = {"synchronize_session": False}
    for statement in (
        delete(ServerMessage).where(col(ServerMessage.message_id).in_(ids), settled),
        update(ServerMessage).where(col(ServerMessage.message_id).in_(ids)).values(message_id=None),
        # Moves that were settled while this transaction waited for the row.
        delete(ServerMessage).where(
            col(ServerMessage.connector_id).in_(connector_ids),
            col(ServerMessage.message_id).is_(None),
            settled,
        ),
        *(
            update(table)
            .where(col(table.in_reply_to_message_id).in_(ids))
            .values(in_reply_to_message_id=None)
            for table in (Submission, DeletedSubmission)
        ),
        delete(MessageBody).where(col(MessageBody.message_id).in_(ids)),
        delete(Message).where(col(Message.id).in_(ids)),
    ):
        session.execute(statement, execution_options=unsynchronised)
    connectors = session.execute(select(Connector).where(col(Connector.id).in_(connector_ids))).scalars()
    recipients = {connector.id: recipients_of(session, connector) for connector in connectors}
    outbox.append(
        session,
        [
            message_event(
                EventType.MESSAGE_DELETED,
                connector_id=connector_id,
                message_id=message_id,
                notify=False,
                recipients=recipients[connector_id],
            )
            for message_id, connector_id in gone
        ],
    )
    return Counter(connector_id for _message_id, connector_id in gone)
