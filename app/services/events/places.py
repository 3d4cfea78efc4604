"""The places of callers in the feed: where a list or stream begins, and which cursor continues it.

A cursor holds the position of the last event before it, and a mark of that event. After a database was restored from a backup,
its feed gives the same positions to other events. A cursor from before is then refused. Otherwise its caller would miss events, or
wait until the feed is as long as it was.
"""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlmodel import Session, col

from app.errors import CursorGone
from app.gateway import Gateway
from app.models import Event
from app.services import pages
from app.services.cursors import Cursors, Item, WithCursor
from app.services.events import outbox
from app.services.pages import Slice

LATEST = "latest"
"""The value of `after` with which a caller begins at the end of the feed."""
_MARK_CHARS = 12
_BETWEEN = ":"


def opened(
    gateway: Gateway,
    cursors: Cursors,
    after: str | None,
    *,
    field: str = "after",
    marks: Mapping[int, str] | None = None,
) -> str | None:
    """The position of a caller's cursor. None: the caller gave no cursor. `marks`: the marks of some events of the feed, which
    need not be read again.

    Raises:
        InvalidInput: it is not a cursor of this list.
        CursorGone: it is ahead of the feed, or its event is not the one at its position.
    """
    if after is None:
        return None
    if after == LATEST:
        with gateway.db.reading() as session:
            return str(outbox.last_position(session))
    place = cursors.opened(after, field=field) or ""
    position, _, mark = place.partition(_BETWEEN)
    if mark and marks is not None and marks.get(pages.number(position)) == mark:
        return position
    with gateway.db.reading() as session:
        end = outbox.last_position(session)
        if pages.number(position) > end or (mark and _mark(session, int(position)) not in {mark, None}):
            oldest = session.execute(select(func.min(col(Event.position)))).scalar_one() or end + 1
            latest = _place(end, _mark(session, end))
            raise CursorGone(oldest=cursors.encrypted(oldest - 1), latest=cursors.encrypted(latest))
    return position


def with_cursor(gateway: Gateway, cursors: Cursors, page: Slice[Item]) -> WithCursor[Item]:
    """A page of a list in the order of the feed, with the cursor for the next one."""
    if page.next_after is None:
        return cursors.with_cursor(page)
    return WithCursor(list(page.data), cursor_at(gateway, cursors, page.next_after), page.has_more)


def cursor_at(gateway: Gateway, cursors: Cursors, position: str) -> str:
    """The cursor for a position in the feed."""
    number = pages.number(position)
    with gateway.db.reading() as session:
        return cursors.encrypted(_place(number, _mark(session, number)))


def cursor_with(cursors: Cursors, position: int, marks: Mapping[int, str]) -> str:
    """The cursor for a position whose event, if it is still kept, has its mark among these."""
    return cursors.encrypted(_place(position, marks.get(position)))


def cursor_of(cursors: Cursors, event: Event) -> str:
    """The cursor after an event."""
    return cursors.encrypted(_place(event.position, mark_in(event.id)))


def _place(position: int, mark: str | None) -> str:
    return f"{position}{_BETWEEN}{mark}" if mark else str(position)


def _mark(session: Session, position: int) -> str | None:
    """The mark of the event at a position. None: the event was deleted, or there is none yet."""
    statement = select(col(Event.id)).where(col(Event.position) == position)
    event_id = session.execute(statement).scalar_one_or_none()
    return mark_in(event_id) if event_id is not None else None


def mark_in(event_id: str) -> str:
    """The mark of an event with this id."""
    return event_id[-_MARK_CHARS:]
