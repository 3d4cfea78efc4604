"""One look at the feed for all requests of the process that wait for it.

The number of statements does not depend on how many wait. The look reads the newest events once, and what decides about their
connectors and about the callers; then it decides for each who waits. Whoever is further behind than the look reaches is
told so, and reads the feed by a query of their own.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlmodel import Session, col

from app.events import EventType
from app.gateway import Gateway
from app.models import Event
from app.services.access.callers import Caller, still_known
from app.services.access.rules import Principal
from app.services.events import feed, outbox, places

REACH = 500
"""So many positions of the feed, at its end, are read at once."""
NEW_MESSAGE = frozenset({EventType.MESSAGE_STORED.full, EventType.MESSAGE_RETURNED.full})
"""The events that bring something new to a list of messages."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One who waits."""

    caller: Caller
    position: int
    """What they know ends there."""
    limit: int
    for_messages: bool = False
    """Whether they wait for messages that they may read, and not for events."""
    connector_id: str | None = None
    """The only connector that matters to them."""


@dataclass(frozen=True)
class Shown:
    """An event, with the forms in which callers get it: made once, however many get it."""

    event: Event
    forms: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found for one who waits."""

    principal: Principal | None
    """As they are now; None if their token, key or ticket has ended."""
    events: Sequence[Shown]
    position: int
    """Where to go on."""
    has_more: bool = False
    is_behind: bool = False
    """Nothing was read for them: they are further behind than the look reaches. They read the feed themselves; `position` is its end."""
    is_ahead: bool = False
    """They are ahead of the feed: the database was restored while they waited."""

    @property
    def is_news(self) -> bool:
        """Whether they need wait no longer."""
        return bool(self.events) or self.has_more or self.is_behind or self.is_ahead or self.principal is None


@dataclass(frozen=True)
class Look:
    """What a look found."""

    end: int
    """The position at the end of the feed."""
    marks: Mapping[int, str]
    """Of the events that were read (`places`)."""
    seen: Sequence[Seen]
    """For each who waits, in their order."""


def look(gateway: Gateway, waiting: Sequence[Waiting]) -> Look:
    """Look once for all of these."""
    with gateway.db.reading() as session:
        principals = still_known(session, [each.caller for each in waiting])
        # Get this before the events: every event that is committed later has a higher position.
        end = outbox.last_position(session)
        lowest = min((each.position for each in waiting), default=end)
        # The last event is read in any case: its mark is part of the cursors at the end of the feed.
        start = max(min(lowest, end - 1), end - REACH)
        events = outbox.events_after(session, start, col(Event.position) <= end, limit=REACH)
        sight = _Sight.of(session, events, start, end)
    seen = [sight.of_one(each, principal) for each, principal in zip(waiting, principals, strict=True)]
    return Look(end, {event.position: places.mark_in(event.id) for event in events}, seen)


@dataclass(frozen=True)
class _Sight:
    """The events that a look has read, and what decides who sees them."""

    shown: Sequence[Shown]
    start: int
    end: int
    deciding: feed.Deciding

    @classmethod
    def of(cls, session: Session, events: Sequence[Event], start: int, end: int) -> "_Sight":
        return cls([Shown(event) for event in events], start, end, feed.deciding(session, events))

    @cached_property
    def _positions(self) -> list[int]:
        return [shown.event.position for shown in self.shown]

    def of_one(self, waiting: Waiting, principal: Principal | None) -> Seen:
        if principal is None:
            return Seen(None, [], waiting.position)
        if waiting.position < self.start:
            return Seen(principal, [], self.end, is_behind=True)
        if waiting.position > self.end:
            return Seen(principal, [], waiting.position, is_ahead=True)
        found = list(self._visible(waiting, principal))
        if len(found) > waiting.limit:
            page = found[: waiting.limit]
            return Seen(principal, page, page[-1].event.position, has_more=True)
        return Seen(principal, found, self.end)

    def _visible(self, waiting: Waiting, principal: Principal) -> Iterator[Shown]:
        """The events for one who waits, up to one more than the limit."""
        left = waiting.limit + 1
        for shown in self.shown[bisect_right(self._positions, waiting.position) :]:
            if left and self._is_for(waiting, principal, shown.event):
                left -= 1
                yield shown

    def _is_for(self, waiting: Waiting, principal: Principal, event: Event) -> bool:
        if not waiting.for_messages:
            return self.deciding.sees(principal, event)
        if event.type not in NEW_MESSAGE or waiting.connector_id not in {None, event.connector_id}:
            return False
        return self.deciding.reads(principal, event)
