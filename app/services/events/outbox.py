"""The outbox: an event is appended in the transaction of the fact that it reports. Readers get events in commit order.

Positions come from one row that stays locked until the commit. So a later position becomes visible later, on both
databases, and a reader who has read up to a position has missed no event before it. (A sequence is not enough: on
PostgreSQL a transaction with a lower number may commit after one with a higher number.)
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select, update
from sqlmodel import Session, col

from app import clock
from app.events import NewEvent
from app.ids import new_id
from app.models import Event, Feed

FEED_ID = 1


def append(session: Session, events: Sequence[NewEvent]) -> list[int]:
    """Append events. Returns their positions, in the same order.

    It locks the feed until the transaction ends: call it last, with all events of the transaction at once.
    """
    if not events:
        return []
    statement = (
        update(Feed)
        .where(col(Feed.id) == FEED_ID)
        .values(last_position=col(Feed.last_position) + len(events))
        .returning(col(Feed.last_position))
    )
    last_position: int = session.execute(statement).scalar_one()
    positions = list(range(last_position - len(events) + 1, last_position + 1))
    now = clock.utc_now()
    session.add_all(
        Event(
            position=position,
            id=new_id(),
            type=event.type.full,
            connector_id=event.connector_id,
            subject=event.subject,
            time=now,
            data=event.data,
        )
        for position, event in zip(positions, events, strict=True)
    )
    return positions


def lock(session: Session) -> None:
    """Prevent others from appending events, and so from storing mails, until the transaction ends."""
    session.execute(select(col(Feed.id)).where(col(Feed.id) == FEED_ID).with_for_update())


def last_position(session: Session) -> int:
    """The last committed position. All events up to it are committed, so any later query sees them."""
    position: int = session.execute(
        select(col(Feed.last_position)).where(col(Feed.id) == FEED_ID)
    ).scalar_one()
    return position


def events_after(
    session: Session, position: int, *conditions: ColumnElement[bool], limit: int
) -> list[Event]:
    """The next events that meet the conditions, in commit order."""
    statement = (
        select(Event)
        .where(col(Event.position) > position, *conditions)
        .order_by(col(Event.position))
        .limit(limit)
    )
    return list(session.execute(statement).scalars())
