"""Stored messages: taking them in, their state, and their end.

What is deleted is gone from every table but one: while the move of its mail on the server is not settled, the
ledger (`ServerMessage`) keeps the row that says "this mail has been taken in", without the message. Otherwise
the next cycle would download the mail that is still lying there. The fetch cycle drops such a row once settled.

Locks are taken in one order, so that no two transactions wait for each other on PostgreSQL: messages (by id),
then the ledger, then the feed. Only new messages are inserted after the feed's positions are known.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, select, update
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import NotFound
from app.events import EventType, NewEvent, Recipients, message_event
from app.gateway import Gateway
from app.ids import new_id
from app.mime.model import Listed, ParsedMail
from app.models import Connector, GroupBinding, Message, MessageBody, ServerMessage, Submission
from app.services import access, audit, outbox, search_text
from app.services.access import Action, Principal
from app.services.audit import Actor

DELETE_BATCH = 200
THREAD_MAX_REFERENCES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A mail that is about to become a message. `position` is that of its `message.stored` event."""

    parsed: ParsedMail
    source_zstd: bytes
    sha256: str
    size_octets: int
    folder: str
    uid: int
    uidvalidity: int
    internal_date: datetime | None
    position: int
    stored_at: datetime
    id: str | None = None
    """Given where the event had to name the message before it was made."""


def add(
    session: Session,
    *,
    connector: Connector,
    parsed: ParsedMail,
    source_zstd: bytes,
    sha256: str,
    size_octets: int,
    folder: str,
    uid: int,
    uidvalidity: int,
    internal_date: datetime | None,
    position: int,
    stored_at: datetime,
    message_id: str | None = None,
) -> Message:
    """Store one mail as a message; for more at once there is `add_all`."""
    incoming = Incoming(
        parsed=parsed,
        source_zstd=source_zstd,
        sha256=sha256,
        size_octets=size_octets,
        folder=folder,
        uid=uid,
        uidvalidity=uidvalidity,
        internal_date=internal_date,
        position=position,
        stored_at=stored_at,
        id=message_id,
    )
    return add_all(session, connector=connector, incoming=[incoming])[0]


def add_all(session: Session, *, connector: Connector, incoming: Sequence[Incoming]) -> list[Message]:
    """Store mails as messages, in a fixed number of statements however many they are."""
    conversations = _conversations_of(session, connector.id, incoming)
    stored: list[Message] = []
    for each in incoming:
        conversation_id = _conversation_of(each.parsed, connector.id, conversations)
        if each.parsed.message_id_header is not None:
            conversations.setdefault(each.parsed.message_id_header, conversation_id)
        stored.append(_message(each, connector.id, conversation_id))
    session.add_all(stored)
    session.flush()
    session.add_all(_body(message, each) for message, each in zip(stored, incoming, strict=True))
    session.flush()
    return stored


def _message(incoming: Incoming, connector_id: str, conversation_id: str) -> Message:
    mail = incoming.parsed
    return Message(
        id=incoming.id or new_id(),
        position=incoming.position,
        connector_id=connector_id,
        state="new",
        folder=incoming.folder,
        uid=incoming.uid,
        uidvalidity=incoming.uidvalidity,
        message_id_header=mail.message_id_header,
        in_reply_to=mail.in_reply_to,
        references=list(mail.references),
        conversation_id=conversation_id,
        from_name=mail.from_.name if mail.from_ else None,
        from_address=mail.from_.address if mail.from_ else None,
        to=[asdict(address) for address in mail.to],
        cc=[asdict(address) for address in mail.cc],
        reply_to=[asdict(address) for address in mail.reply_to],
        subject=mail.subject,
        snippet=mail.snippet,
        internal_date=incoming.internal_date,
        date_header=mail.date_header,
        stored_at=incoming.stored_at,
        size_octets=incoming.size_octets,
        has_attachments=mail.has_attachments,
        is_auto_reply=mail.is_auto_reply,
        sha256=incoming.sha256,
    )


def _body(message: Message, incoming: Incoming) -> MessageBody:
    mail = incoming.parsed
    return MessageBody(
        message_id=message.id,
        text=mail.text,
        html=mail.html,
        attachments=[asdict(attachment) for attachment in mail.attachments],
        defects=[{"code": str(defect.code), "detail": defect.detail} for defect in mail.defects],
        search_text=search_text.of_mail(mail),
        source_zstd=incoming.source_zstd,
    )


def as_listed(attachments: Sequence[Mapping[str, Any]]) -> list[Listed]:
    """What a stored message lists, for the parser: those numbers keep their meaning."""
    return [Listed(each["n"], each.get("part"), each["size_octets"]) for each in attachments]


def _ancestors(mail: ParsedMail) -> list[str]:
    """The Message-IDs a mail answers, the nearest first (RFC 5322 §3.6.4)."""
    nearest_first = (
        [mail.in_reply_to, *reversed(mail.references)] if mail.in_reply_to else mail.references[::-1]
    )
    return [header for header in dict.fromkeys(nearest_first) if header][:THREAD_MAX_REFERENCES]


def _conversations_of(session: Session, connector_id: str, incoming: Sequence[Incoming]) -> dict[str, str]:
    """The conversations of the stored messages that the incoming ones answer, by Message-ID."""
    headers = {header for each in incoming for header in _ancestors(each.parsed)}
    if not headers:
        return {}
    statement = select(col(Message.message_id_header), col(Message.conversation_id)).where(
        col(Message.connector_id) == connector_id, col(Message.message_id_header).in_(headers)
    )
    with session.no_autoflush:
        return {header: conversation for header, conversation in session.execute(statement) if header}


def _conversation_of(mail: ParsedMail, connector_id: str, known: dict[str, str]) -> str:
    """The conversation of the nearest ancestor that is stored; else one made from the root's Message-ID, so
    that answers to a mail that never came here (one sent elsewhere, say) still find each other."""
    ancestors = _ancestors(mail)
    for header in ancestors:
        if header in known:
            return known[header]
    root = mail.references[0] if mail.references else mail.in_reply_to or mail.message_id_header
    if root is None:
        return new_id()
    return hashlib.sha256(f"{connector_id}\n{root}".encode()).hexdigest()[:32]


def recipients_of(session: Session, connector: Connector) -> Recipients:
    """Who handles a connector's mail: its owner, or the groups bound to it."""
    if connector.kind == "personal":
        return Recipients(users=(connector.owner,) if connector.owner else ())
    statement = (
        select(col(GroupBinding.group))
        .where(col(GroupBinding.connector_id) == connector.id)
        .order_by(col(GroupBinding.group))
    )
    return Recipients(groups=tuple(session.execute(statement).scalars()))


def lock(session: Session, message_ids: Sequence[str]) -> list[Message]:
    """The messages that are still there, locked until the commit, by id.

    To be taken before the feed: whoever changes a stored message and appends an event calls this first.
    """
    statement = (
        select(Message).where(col(Message.id).in_(message_ids)).order_by(col(Message.id)).with_for_update()
    )
    return list(session.execute(statement, execution_options={"populate_existing": True}).scalars())


def mark_returned(
    session: Session, message: Message, *, folder: str, uid: int, uidvalidity: int, position: int
) -> None:
    """Somebody moved the mail back into the source folder: new again, and shown again in the feed."""
    message.state = "new"
    message.processed_at = None
    message.moved_at = None
    message.folder = folder
    message.uid = uid
    message.uidvalidity = uidvalidity
    message.position = position
    session.flush()


def mark_moved(session: Session, message_ids: Sequence[str], at: datetime) -> None:
    """The mails of these messages lie in the processed folder."""
    if not message_ids:
        return
    ids = select(col(Message.id)).where(col(Message.id).in_(message_ids)).order_by(col(Message.id))
    session.execute(ids.with_for_update())
    session.execute(update(Message).where(col(Message.id).in_(message_ids)).values(moved_at=at))


def count_of(session: Session, connector_id: str) -> int:
    """How many messages of the connector are stored."""
    statement = select(func.count()).select_from(Message).where(col(Message.connector_id) == connector_id)
    count: int = session.execute(statement).scalar_one()
    return count


def set_state(session: Session, principal: Principal, message_id: str, state: str) -> Message:
    """Mark a message `new` or `processed`. The event is for the change to `processed` alone.

    Raises:
        ScopeMissing, NotFound
    """
    connector = require(session, principal, Action.WRITE_CONTENT, message_id)
    locked = lock(session, [message_id])
    if not locked:
        raise NotFound
    message = locked[0]
    if message.state == state:
        return message
    message.state = state
    message.processed_at = clock.utc_now() if state == "processed" else None
    session.flush()
    if state == "processed":
        outbox.append(session, [_event(session, EventType.MESSAGE_PROCESSED, connector, message.id)])
    return message


def require(session: Session, principal: Principal, action: Action, message_id: str) -> Connector:
    """The connector of a message, if the caller may do the action with what belongs to it.

    Raises:
        ScopeMissing, NotFound
    """
    statement = (
        select(Connector)
        .join(Message, col(Message.connector_id) == col(Connector.id))
        .where(col(Message.id) == message_id)
    )
    return access.require(session, principal, action, session.execute(statement).scalar_one_or_none())


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages; what is None does not matter."""

    connector_id: str | None = None
    state: str | None = None
    q: str | None = None
    ids: Sequence[str] | None = None
    stored_before: datetime | None = None


def conditions(
    session: Session, principal: Principal, action: Action, wanted: Wanted
) -> list[ColumnElement[bool]]:
    """On `Message`: those wanted, as far as the caller may do the action with them.

    Raises:
        ScopeMissing
        NotFound: a connector that the caller may not see is named.
        InvalidInput: nothing to search for in `q`.
    """
    found: list[ColumnElement[bool]] = [
        col(Message.connector_id).in_(access.visible_connector_ids(principal, action))
    ]
    if wanted.connector_id is not None:
        access.require(session, principal, action, session.get(Connector, wanted.connector_id))
        found.append(col(Message.connector_id) == wanted.connector_id)
    if wanted.state is not None:
        found.append(col(Message.state) == wanted.state)
    if wanted.ids is not None:
        found.append(col(Message.id).in_(wanted.ids))
    if wanted.stored_before is not None:
        found.append(col(Message.stored_at) < wanted.stored_before)
    if wanted.q is not None:
        body_has = [
            col(MessageBody.search_text).contains(word, autoescape=True)
            for word in search_text.words_of(wanted.q)
        ]
        found.append(exists().where(col(MessageBody.message_id) == col(Message.id), *body_has))
    return found


def delete_one(session: Session, principal: Principal, message_id: str) -> None:
    """Delete a message.

    Raises:
        ScopeMissing, NotFound
    """
    require(session, principal, Action.WRITE_CONTENT, message_id)
    if not _delete(session, principal, [message_id], []):
        raise NotFound


def delete_wanted(gateway: Gateway, principal: Principal, wanted: Wanted) -> int:
    """Delete the messages wanted, as far as the caller may; how many they were.

    In batches, each a unit of work of its own. Messages stored meanwhile are not touched.

    Raises:
        ScopeMissing, NotFound, InvalidInput
    """
    with gateway.db.reading() as session:
        wanted_conditions = conditions(session, principal, Action.WRITE_CONTENT, wanted)
    return sum(delete_in_batches(gateway, principal, wanted_conditions))


def delete_of_connector(gateway: Gateway, by: Actor, connector_id: str) -> int:
    """Delete all messages of a connector that are stored by now; how many they were.

    Takes units of work of its own: not to be called inside one.
    """
    return sum(delete_in_batches(gateway, by, [col(Message.connector_id) == connector_id]))


def delete_in_batches(gateway: Gateway, by: Actor, wanted: Sequence[ColumnElement[bool]]) -> Iterator[int]:
    """Delete what meets the conditions, a batch at each step, so that other writers get their turn between
    them; gives how many went in each."""
    with gateway.db.reading() as session:
        last = session.execute(select(func.max(col(Message.position))).where(*wanted)).scalar_one() or 0
    done = 0
    while done < last:
        # Looked for before the write lock is taken: a search through all texts may take a while.
        with gateway.db.reading() as session:
            statement = (
                select(col(Message.position), col(Message.id))
                .where(*wanted, col(Message.position) > done, col(Message.position) <= last)
                .order_by(col(Message.position))
                .limit(DELETE_BATCH)
            )
            found = session.execute(statement).all()
        if not found:
            return
        with gateway.db.unit_of_work() as session:
            deleted = _delete(session, by, [message_id for _position, message_id in found], wanted)
        yield deleted
        done = found[-1][0]


def _delete(
    session: Session, by: Actor, message_ids: Sequence[str], still: Sequence[ColumnElement[bool]]
) -> int:
    """Delete those messages that still meet the conditions, with all that hangs on them."""
    locking = (
        select(col(Message.id), col(Message.connector_id))
        .where(col(Message.id).in_(message_ids), *still)
        .order_by(col(Message.id))
        .with_for_update()
    )
    gone = session.execute(locking).all()
    if not gone:
        return 0
    ids = [message_id for message_id, _connector_id in gone]
    connector_ids = {connector_id for _message_id, connector_id in gone}
    settled = col(ServerMessage.move_state) != "pending"
    unsynchronised: dict[str, Any] = {"synchronize_session": False}
    for statement in (
        delete(ServerMessage).where(col(ServerMessage.message_id).in_(ids), settled),
        update(ServerMessage).where(col(ServerMessage.message_id).in_(ids)).values(message_id=None),
        # A move that was settled while this waited for its row.
        delete(ServerMessage).where(
            col(ServerMessage.connector_id).in_(connector_ids),
            col(ServerMessage.message_id).is_(None),
            settled,
        ),
        update(Submission)
        .where(col(Submission.in_reply_to_message_id).in_(ids))
        .values(in_reply_to_message_id=None),
        delete(MessageBody).where(col(MessageBody.message_id).in_(ids)),
        delete(Message).where(col(Message.id).in_(ids)),
    ):
        session.execute(statement, execution_options=unsynchronised)
    audit.note_all(
        session,
        by,
        AuditAction.MESSAGE_DELETED,
        [(f"messages/{message_id}", connector_id) for message_id, connector_id in gone],
    )
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
    return len(gone)


def _event(session: Session, event_type: EventType, connector: Connector, message_id: str) -> NewEvent:
    # Users are told of mail that came, not of what was done with it.
    return message_event(
        event_type,
        connector_id=connector.id,
        message_id=message_id,
        notify=False,
        recipients=recipients_of(session, connector),
    )
