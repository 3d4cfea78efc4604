"""How a mail becomes a message: the rows of a message, and the columns that the reader fills."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from app.ids import new_id
from app.mime.model import READER, Listed, ParsedMail
from app.models import Connector, Message, MessageBody
from app.services.messages import search_text
from app.services.messages.conversations import ancestors_of, conversation_of, known_conversations
from app.states import MessageState


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A mail that is about to become a message. `position` is the position of its `message.stored` event."""

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
    """Set if the event had to name the message before it was made."""


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
    """Store one mail as a message. `add_all` stores several at once."""
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
    """Store mails as messages. The number of statements does not depend on the number of mails."""
    named = {header for each in incoming for header in ancestors_of(each.parsed)}
    conversations = known_conversations(session, connector.id, named)
    stored: list[Message] = []
    for each in incoming:
        conversation_id = conversation_of(each.parsed, connector.id, conversations)
        if each.parsed.message_id_header is not None:
            conversations.setdefault(each.parsed.message_id_header, conversation_id)
        stored.append(_message(each, connector.id, conversation_id))
    session.add_all(stored)
    session.flush()
    session.add_all(_body(message, each) for message, each in zip(stored, incoming, strict=True))
    session.flush()
    return stored


def _message(incoming: Incoming, connector_id: str, conversation_id: str) -> Message:
    return Message(
        id=incoming.id or new_id(),
        position=incoming.position,
        connector_id=connector_id,
        state=MessageState.NEW,
        folder=incoming.folder,
        uid=incoming.uid,
        uidvalidity=incoming.uidvalidity,
        conversation_id=conversation_id,
        internal_date=incoming.internal_date,
        stored_at=incoming.stored_at,
        size_octets=incoming.size_octets,
        sha256=incoming.sha256,
        reader=READER,
        **read_columns(incoming.parsed),
    )


def _body(message: Message, incoming: Incoming) -> MessageBody:
    return MessageBody(
        message_id=message.id, source_zstd=incoming.source_zstd, **body_columns(incoming.parsed)
    )


def read_columns(mail: ParsedMail) -> dict[str, Any]:
    """The columns of `Message` that the reader fills."""
    return {
        "message_id_header": mail.message_id_header,
        "in_reply_to": mail.in_reply_to,
        "references": list(mail.references),
        "from_name": mail.from_.name if mail.from_ else None,
        "from_address": mail.from_.address if mail.from_ else None,
        "to": [asdict(address) for address in mail.to],
        "cc": [asdict(address) for address in mail.cc],
        "reply_to": [asdict(address) for address in mail.reply_to],
        "subject": mail.subject,
        "snippet": mail.snippet,
        "date_header": mail.date_header,
        "has_attachments": mail.has_attachments,
        "is_auto_reply": mail.is_auto_reply,
    }


def body_columns(mail: ParsedMail) -> dict[str, Any]:
    """The columns of `MessageBody` that the reader fills."""
    return {
        "text": mail.text,
        "html": mail.html,
        "attachments": [asdict(attachment) for attachment in mail.attachments],
        "defects": [{"code": str(defect.code), "detail": defect.detail} for defect in mail.defects],
        "search_text": search_text.of_mail(mail),
    }


def as_listed(attachments: Sequence[Mapping[str, Any]]) -> list[Listed]:
    """The attachments of a stored message, for the parser, so that the attachments keep their numbers."""
    return [Listed(each["n"], each.get("part"), each["size_octets"]) for each in attachments]
