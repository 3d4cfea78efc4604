"""Searches the texts of messages, in stretches of the list, for a limited time.

No index can find parts of words, so a search must read every text. In a large mailbox this takes seconds, and a search that finds
nothing reads all of them. So a search reads some hundred messages at a time and ends after a second. It returns what it has found,
and the position up to which it has read.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import ColumnElement, select
from sqlmodel import Session

from app.gateway import Gateway
from app.models import Message
from app.services import pages
from app.services.access.rules import Action, Principal
from app.services.messages import selection
from app.services.messages.ordering import Ordering
from app.services.messages.selection import MessageFilter
from app.services.pages import Slice

SEARCH_S = 1.0
STRETCH_S = 0.1
"""How long one stretch should take. If one takes less than half of this time, the next is twice as long."""
FIRST_STRETCH = 200
SHORTEST_STRETCH, LONGEST_STRETCH = 20, 2000


def search(
    gateway: Gateway,
    principal: Principal,
    filters: MessageFilter,
    ordering: Ordering,
    *,
    after: str | None,
    limit: int,
) -> Slice[Message]:
    """A page of the messages that match the filters, which contain a text. `has_more`: the page is full, or the time is over.

    Raises:
        ScopeMissing, NotFound, InvalidInput
    """
    with gateway.db.reading() as session:
        wanted = selection.conditions(session, principal, Action.READ_CONTENT, filters)
        visible = selection.conditions(session, principal, Action.READ_CONTENT, filters.without_text())
        look = _Search(session, filters, ordering, wanted, visible)
        return look.page(after, limit)


@dataclass(frozen=True, slots=True)
class _Search:
    session: Session
    filters: MessageFilter
    ordering: Ordering
    wanted: list[ColumnElement[bool]]
    visible: list[ColumnElement[bool]]

    def page(self, after: str | None, limit: int) -> Slice[Message]:
        ends_at = time.monotonic() + SEARCH_S
        found: list[Message] = []
        stretch = FIRST_STRETCH
        while (end := self._end_of_stretch(after, stretch)) is not None:
            begun = time.monotonic()
            found += islice(self._found_in(after, end), limit + 1 - len(found))
            if len(found) > limit:
                return pages.cut(found, limit, self.ordering.position_of)
            after = end
            now = time.monotonic()
            if now >= ends_at:
                return Slice(found, after, has_more=True)
            stretch = _next_stretch(stretch, now - begun)
        return Slice(found, after, has_more=False)

    def _found_in(self, after: str | None, end: str) -> Iterator[Message]:
        statement = (
            select(Message)
            .where(*self.wanted, *self._beyond(after), self.ordering.up_to(end))
            .order_by(*self.ordering.by(self.ordering.keys))
        )
        return (
            each
            for each in self.session.execute(statement).scalars()
            if selection.matches(each, self.filters)
        )

    def _end_of_stretch(self, after: str | None, messages: int) -> str | None:
        """The position of the last of the next `messages` messages. None: there are no more."""
        stretch = (
            select(*self.ordering.keys)
            .where(*self.visible, *self._beyond(after))
            .order_by(*self.ordering.by(self.ordering.keys))
            .limit(messages)
            .subquery()
        )
        last = select(stretch).order_by(*self.ordering.by(list(stretch.c), reverse=True)).limit(1)
        row = self.session.execute(last).one_or_none()
        return None if row is None else self.ordering.position(row)

    def _beyond(self, after: str | None) -> list[ColumnElement[bool]]:
        return [] if after is None else [self.ordering.beyond(after)]


def _next_stretch(stretch: int, took_s: float) -> int:
    if took_s > STRETCH_S:
        return max(stretch // 2, SHORTEST_STRETCH)
    return min(stretch * 2, LONGEST_STRETCH) if took_s < STRETCH_S / 2 else stretch
