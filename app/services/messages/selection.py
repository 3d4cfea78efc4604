"""Selects messages: those that a caller may see, and those that match the filters of a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, select
from sqlmodel import Session, col

from app.models import Connector, Message, MessageBody
from app.services.access import rules
from app.services.access.rules import Action, Principal
from app.services.messages import search_text


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
    q: str | None = None
    ids: Sequence[str] | None = None
    stored_before: datetime | None = None


def conditions(
    session: Session, principal: Principal, action: Action, filters: MessageFilter
) -> list[ColumnElement[bool]]:
    """Conditions on `Message`: it matches the filters, and the caller may do the action.

    Raises:
        ScopeMissing
        NotFound: the filter names a connector that the caller may not see.
        InvalidInput: `q` contains nothing to search for.
    """
    found: list[ColumnElement[bool]] = [
        col(Message.connector_id).in_(rules.visible_connector_ids(principal, action))
    ]
    if filters.connector_id is not None:
        rules.require(session, principal, action, filters.connector_id)
        found.append(col(Message.connector_id) == filters.connector_id)
    if filters.state is not None:
        found.append(col(Message.state) == filters.state)
    if filters.ids is not None:
        found.append(col(Message.id).in_(filters.ids))
    if filters.stored_before is not None:
        found.append(col(Message.stored_at) < filters.stored_before)
    if filters.q is not None:
        body_has = [
            col(MessageBody.search_text).contains(word, autoescape=True)
            for word in search_text.words_of(filters.q)
        ]
        found.append(exists().where(col(MessageBody.message_id) == col(Message.id), *body_has))
    return found
