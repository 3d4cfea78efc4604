"""Selects messages: those that a caller may see, and those that match the filters of a list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Select, exists, false, func, select
from sqlmodel import Session, col

from app.models import Connector, GroupBinding, Message, MessageBody
from app.schemas.messages import MessagesDelete, MessagesQuery
from app.services.access import rules
from app.services.access.rules import Action, Principal, PrincipalKind
from app.services.messages import search_text
from app.services.messages.ordering import RECEIVED_AT


def count_of(session: Session, connector_id: str) -> int:
    """The number of stored messages of the connector."""
    statement = select(func.count()).select_from(Message).where(col(Message.connector_id) == connector_id)
    count: int = session.execute(statement).scalar_one()
    return count


def require(session: Session, principal: Principal, action: Action, message_id: str) -> Connector:
    """The connector of a message, if the caller may do the action with what belongs to it.

    Raises:
        ScopeMissing, NotFound
    """
    statement = select(col(Message.connector_id)).where(col(Message.id) == message_id)
    return rules.require(session, principal, action, session.execute(statement).scalar_one_or_none())


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Selects messages. A field that is None does not restrict."""

    connector_id: str | None = None
    state: str | None = None
    ids: Sequence[str] | None = None
    stored_before: datetime | None = None
    conversation_id: str | None = None
    group: str | None = None
    has_attachments: bool | None = None
    auto_reply: bool | None = None
    since: datetime | None = None
    """The server received the mail at this time or later."""
    until: datetime | None = None
    """The server received the mail before this time."""
    q: str | None = None
    """Words, each of which occurs in the subject, the addresses or the text. `from_`, `to` and `subject` search only one of these."""
    from_: str | None = None
    to: str | None = None
    subject: str | None = None

    @property
    def searches_text(self) -> bool:
        """Whether the texts must be read, because no index can find the words."""
        return any(getattr(self, name) is not None for name in TEXT_FIELDS)

    @classmethod
    def of(cls, given: MessagesQuery | MessagesDelete) -> "MessageFilter":
        """The filters of a request."""
        return cls(**given.model_dump(include={each.name for each in fields(cls)}))

    def without_text(self) -> "MessageFilter":
        """The same filters without the words."""
        return replace(self, **dict.fromkeys(TEXT_FIELDS))


TEXT_FIELDS = ("q", "from_", "to", "subject")


def conditions(
    session: Session, principal: Principal, action: Action, filters: MessageFilter
) -> list[ColumnElement[bool]]:
    """Conditions on `Message`: it matches the filters, and the caller may do the action. For `from_`, `to` and `subject` they check
    only that the words occur somewhere in the mail; `matches` checks where.

    Raises:
        ScopeMissing
        NotFound: the filter names a connector that the caller may not see.
        InvalidInput: a text contains nothing to search for.
    """
    if filters.connector_id is not None:
        rules.require(session, principal, action, filters.connector_id)
    readable = col(Message.connector_id).in_(rules.visible_connector_ids(principal, action))
    return [readable, *_restrictions(principal, filters)]


def _restrictions(principal: Principal, filters: MessageFilter) -> Iterator[ColumnElement[bool]]:
    equal = (
        (Message.connector_id, filters.connector_id),
        (Message.state, filters.state),
        (Message.conversation_id, filters.conversation_id),
        (Message.has_attachments, filters.has_attachments),
        (Message.is_auto_reply, filters.auto_reply),
    )
    yield from (col(column) == value for column, value in equal if value is not None)
    if filters.ids is not None:
        yield col(Message.id).in_(filters.ids)
    if filters.stored_before is not None:
        yield col(Message.stored_at) < filters.stored_before
    if filters.since is not None:
        yield filters.since <= RECEIVED_AT
    if filters.until is not None:
        yield filters.until > RECEIVED_AT
    if filters.group is not None:
        yield col(Message.connector_id).in_(_connectors_of(principal, filters.group))
    words = [word for name in TEXT_FIELDS for word in _words(filters, name)]
    if words:
        body_has = [col(MessageBody.search_text).contains(word, autoescape=True) for word in words]
        yield exists().where(col(MessageBody.message_id) == col(Message.id), *body_has)


def matches(message: Message, filters: MessageFilter) -> bool:
    """Whether the words of `from_`, `to` and `subject` are in the sender, the recipients and the subject."""
    people = [f"{each.get('name') or ''} {each['address']}" for each in (*message.to, *message.cc)]
    texts = {
        "from_": f"{message.from_name or ''} {message.from_address or ''}",
        "to": "\n".join(people),
        "subject": message.subject or "",
    }
    for name, text in texts.items():
        words = _words(filters, name)
        folded = search_text.fold(text) if words else ""
        if not all(word in folded for word in words):
            return False
    return True


def _words(filters: MessageFilter, name: str) -> list[str]:
    text = getattr(filters, name)
    return [] if text is None else search_text.words_of(text, field=name.rstrip("_"))


def _connectors_of(principal: Principal, group: str) -> Select[str]:
    """The ids of the connectors of a group. For a user, groups other than their own have no connectors."""
    bound = select(col(GroupBinding.connector_id)).where(col(GroupBinding.group) == group)
    if principal.kind == PrincipalKind.USER and group not in principal.groups:
        return bound.where(false())
    return bound
