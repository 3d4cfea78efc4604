"""What callers read: the list of messages, a message, its bytes as received, an attachment.

A request that waits for the parser or for a slow client holds no session: these functions open their own session and
close it before anything slow begins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, col

from app.adapters import compression, parser
from app.audit_actions import AuditAction
from app.errors import AttachmentUnreadable, NotFound, ParserBusy
from app.gateway import Gateway
from app.mime.attachments import clean_name
from app.models import Connector, Message, MessageBody
from app.schemas.messages import MessagesQuery
from app.services import pages
from app.services.access import audit
from app.services.access.rules import Action, Principal
from app.services.messages import arrivals, pieces, searching, selection
from app.services.messages.answers import Answer, answers_to
from app.services.messages.inline_images import link_images
from app.services.messages.ordering import Ordering
from app.services.messages.selection import MessageFilter
from app.services.pages import Slice

# No browser runs these types, even if it ignores `nosniff`. For all other types the type that the sender gave is not used.
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
SAFE_TYPES = IMAGE_TYPES | {"application/pdf"}
UNKNOWN_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Listed:
    """A message as lists show it."""

    message: Message
    answers: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class Detail:
    """A message with its content, without the bytes as received."""

    message: Message
    answers: Sequence[Answer]
    text: str | None
    html: str | None
    attachments: Sequence[dict[str, Any]]
    defects: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Download:
    """Bytes for a file with this name, in pieces that are made as they are sent."""

    octets: int
    pieces: Iterator[bytes]
    content_type: str
    name: str
    inline: bool
    sha256: str | None = None


def list_messages(
    gateway: Gateway, principal: Principal, query: MessagesQuery, *, after: str | None
) -> Slice[Listed]:
    """A page of the messages that match every filter.

    In the order for polling, which is the order in which they became visible, a page always has a position for the next request:
    the position of its last message, or, if it is empty, the position of this request. The position is never beyond the last
    message, so a message that is committed later always comes after it.

    A search in texts ends after a second. Then the page holds what was found so far, and its position continues the search.

    Raises:
        ScopeMissing, NotFound, InvalidInput
        TooManyRequests, Overloaded: the largest number of searches is running.
    """
    filters, ordering, limit = MessageFilter.of(query), Ordering(query.order), query.limit
    if filters.searches_text:
        with gateway.searches.taken(principal.name):
            matching = searching.search(gateway, principal, filters, ordering, after=after, limit=limit)
        with gateway.db.reading() as session:
            found = _listed(session, principal, matching)
    else:
        with gateway.db.reading() as session:
            page = _page(session, principal, filters, ordering, after=after, limit=limit)
            found = _listed(session, principal, page)
    if found.has_more:
        return found
    return replace(found, next_after=(found.next_after or "0") if ordering.is_for_polling else None)


def _page(
    session: Session,
    principal: Principal,
    filters: MessageFilter,
    ordering: Ordering,
    *,
    after: str | None,
    limit: int,
) -> Slice[Message]:
    conditions = selection.conditions(session, principal, Action.READ_CONTENT, filters)
    if after is not None:
        conditions.append(ordering.beyond(after))
    statement = select(Message).where(*conditions).order_by(*ordering.by(ordering.keys)).limit(limit + 1)
    found = pages.cut(session.execute(statement).scalars().all(), limit, ordering.position_of)
    if found.has_more:
        return found
    return replace(found, next_after=ordering.position_of(found.data[-1]) if found.data else after)


def _listed(session: Session, principal: Principal, page: Slice[Message]) -> Slice[Listed]:
    answers = answers_to(session, principal, [message.id for message in page.data])
    return page.map(lambda message: Listed(message, answers.get(message.id, [])))


def with_answers(session: Session, principal: Principal, message: Message) -> Listed:
    """One message as lists show it."""
    return Listed(message, answers_to(session, principal, [message.id]).get(message.id, []))


def get_message(gateway: Gateway, principal: Principal, message_id: str) -> Detail:
    """A message with its content. The images in its HTML point to its attachments. The audit trail records who got it, unless
    `AUDIT_READS` leaves that out.

    Raises:
        ScopeMissing, NotFound
    """
    with gateway.db.reading() as session:
        connector = selection.require(session, principal, Action.READ_CONTENT, message_id)
        detail = _detail(session, principal, message_id)
    _record(gateway, principal, AuditAction.MESSAGE_READ, message_id, connector)
    return detail


def _detail(session: Session, principal: Principal, message_id: str) -> Detail:
    statement = (
        select(
            Message,
            col(MessageBody.text),
            col(MessageBody.html),
            col(MessageBody.attachments),
            col(MessageBody.defects),
        )
        .join(MessageBody, col(MessageBody.message_id) == col(Message.id))
        .where(col(Message.id) == message_id)
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound
    message, text, html, attachments, defects = row
    if html is not None:
        addresses = {  # if two share an id, the first counts; for a part without an id the HTML names the number
            name: f"/messages/{message_id}/attachments/{each['n']}"
            for named in (False, True)
            for each in reversed(attachments)
            if (name := each["content_id"] if named else f"attachment-{each['n']}")
        }
        html = link_images(html, addresses)
    answers = with_answers(session, principal, message).answers
    return Detail(message, answers, text=text, html=html, attachments=attachments, defects=defects)


def get_source(gateway: Gateway, principal: Principal, message_id: str) -> Download:
    """The bytes of a mail as received. The audit trail records who got them.

    Raises:
        ScopeMissing, NotFound
    """
    with gateway.db.reading() as session:
        connector = selection.require(session, principal, Action.READ_CONTENT, message_id)
        statement = (
            select(col(Message.size_octets), col(Message.sha256))
            .join(MessageBody, col(MessageBody.message_id) == col(Message.id))
            .where(col(Message.id) == message_id)
        )
        row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound
    _record(gateway, principal, AuditAction.MESSAGE_SOURCE_READ, message_id, connector)
    return Download(
        octets=row[0],
        pieces=pieces.of_source(gateway, message_id),
        content_type="message/rfc822",
        name=f"message-{message_id}.eml",
        inline=False,
        sha256=row[1],
    )


def get_attachment(gateway: Gateway, principal: Principal, message_id: str, n: int) -> Download:
    """The content of the n-th attachment. The parser takes it out of the mail. The audit trail records who got it, as for
    `get_message`.

    Raises:
        ScopeMissing, NotFound, AttachmentUnreadable, ParserBusy
    """
    with gateway.db.reading() as session:
        connector = selection.require(session, principal, Action.READ_CONTENT, message_id)
        statement = select(col(MessageBody.source_zstd), col(MessageBody.attachments)).where(
            col(MessageBody.message_id) == message_id
        )
        row = session.execute(statement).one_or_none()
    listed = next((each for each in row[1] if each["n"] == n), None) if row is not None else None
    if row is None or listed is None:
        raise NotFound
    try:
        found = gateway.parsers.attachment(compression.decompress(row[0]), n, arrivals.as_listed(row[1]))
    except parser.AttachmentUnreadable as exc:
        raise AttachmentUnreadable from exc
    except parser.ParserUnavailable as exc:
        raise ParserBusy from exc
    if found is None:
        raise NotFound
    _record(gateway, principal, AuditAction.ATTACHMENT_READ, message_id, connector, n=n)
    content_type = listed["content_type"] if listed["content_type"] in SAFE_TYPES else UNKNOWN_TYPE
    return Download(
        octets=len(found.content),
        pieces=pieces.of_content(found.content),
        content_type=content_type,
        name=clean_name(listed["name"]) or f"attachment-{n}",
        inline=bool(listed["inline"]) and content_type in IMAGE_TYPES,
    )


def _record(
    gateway: Gateway,
    principal: Principal,
    action: AuditAction,
    message_id: str,
    connector: Connector,
    *,
    n: int | None = None,
) -> None:
    """Record that somebody reads content. Call it before the content is sent, so that nothing is sent without a record."""
    if gateway.settings.audit_reads == "sources" and action is not AuditAction.MESSAGE_SOURCE_READ:
        return
    changes = {"attachment": [None, n]} if n is not None else None
    subject = f"messages/{message_id}"
    with gateway.db.unit_of_work() as session:
        audit.record(session, principal, action, subject, connector_id=connector.id, changes=changes)
