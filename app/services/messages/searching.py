"""Searching through the texts of messages, in stretches of the feed, for a limited time.

No index serves a search for parts of words, so it reads every text. That takes seconds in a large mailbox, and what finds
nothing reads them all. So a search looks at some hundred messages at a time and ends after a second, with what it has found
and with the position up to which it has looked.
"""

import time

from sqlalchemy import ColumnElement, func, select
from sqlmodel import Session, col

from app.gateway import Gateway
from app.models import Message
from app.services import pages
from app.services.access.rules import Action, Principal
from app.services.messages import selection
from app.services.messages.selection import MessageFilter
from app.services.pages import Slice

SEARCH_S = 1.0
STRETCH_S = 0.1
"""How long one stretch should take: a stretch that takes half of it is followed by one twice as long."""
FIRST_STRETCH = 200
SHORTEST_STRETCH, LONGEST_STRETCH = 20, 2000


def search(
    gateway: Gateway, principal: Principal, filters: MessageFilter, *, after: str | None, limit: int
) -> Slice[Message]:
    """A page of what the filters match, which name a text to search for. `has_more`: the page is full, or the time was up.

    Raises:
        ScopeMissing, NotFound, InvalidInput
    """
    position = pages.number(after) if after else 0
    without_text = MessageFilter(
        connector_id=filters.connector_id,
        state=filters.state,
        ids=filters.ids,
        stored_before=filters.stored_before,
    )
    with gateway.db.reading() as session:
        wanted = selection.conditions(session, principal, Action.READ_CONTENT, filters)
        visible = selection.conditions(session, principal, Action.READ_CONTENT, without_text)
        return _look(session, wanted, visible, position, limit)


def _look(
    session: Session,
    wanted: list[ColumnElement[bool]],
    visible: list[ColumnElement[bool]],
    position: int,
    limit: int,
) -> Slice[Message]:
    ends_at = time.monotonic() + SEARCH_S
    found: list[Message] = []
    stretch = FIRST_STRETCH
    while (end := _end_of_stretch(session, visible, position, stretch)) is not None:
        begun = time.monotonic()
        statement = (
            select(Message)
            .where(*wanted, col(Message.position) > position, col(Message.position) <= end)
            .order_by(col(Message.position))
            .limit(limit + 1 - len(found))
        )
        found += session.execute(statement).scalars()
        if len(found) > limit:
            return pages.cut(found, limit, lambda message: message.position)
        position = end
        now = time.monotonic()
        if now >= ends_at:
            return Slice(found, str(position), has_more=True)
        stretch = _next_stretch(stretch, now - begun)
    return Slice(found, str(position), has_more=False)


def _end_of_stretch(
    session: Session, visible: list[ColumnElement[bool]], position: int, messages: int
) -> int | None:
    """The position of the last of the next so many messages; None: there is none."""
    stretch = (
        select(col(Message.position))
        .where(*visible, col(Message.position) > position)
        .order_by(col(Message.position))
        .limit(messages)
        .subquery()
    )
    end: int | None = session.execute(select(func.max(stretch.c.position))).scalar_one()
    return end


def _next_stretch(stretch: int, took_s: float) -> int:
    if took_s > STRETCH_S:
        return max(stretch // 2, SHORTEST_STRETCH)
    return min(stretch * 2, LONGEST_STRETCH) if took_s < STRETCH_S / 2 else stretch
