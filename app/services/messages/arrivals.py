"""Mails that become messages: the rows of a message, and the conversation it belongs to."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, col

from app.ids import new_id
from app.mime.model import Listed, ParsedMail
from app.models import Connector, Message, MessageBody
from app.services.messages import search_text

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
