"""The orders of a list of messages. Each order ends in a unique key, so a page can begin after any position in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, func, literal, tuple_
from sqlmodel import col

from app.errors import FieldFault, InvalidInput
from app.models import Message
from app.models.columns import UtcDateTime
from app.services import pages
from app.states import MessageOrder

RECEIVED_AT: ColumnElement[datetime] = func.coalesce(
    col(Message.internal_date), col(Message.stored_at), type_=UtcDateTime()
)
"""The time at which the server received a mail (INTERNALDATE). If the server did not say, the time at which it was stored."""

_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_DIGITS = 15
"""Hexadecimal digits of the microseconds until the year 9999."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """An order. A position is a text; `keys` are the columns whose values it holds."""

    order: MessageOrder

    @property
    def is_for_polling(self) -> bool:
        """Whether later messages always come after all positions that callers have got."""
        return self.order is MessageOrder.ARRIVAL

    @property
    def keys(self) -> list[ColumnElement[Any]]:
        """The columns by which the messages are ordered."""
        arrival, message_id = cast(tuple[ColumnElement[Any], ...], (col(Message.position), col(Message.id)))
        return [arrival] if self.is_for_polling else [RECEIVED_AT, message_id]

    def by(self, keys: Sequence[ColumnElement[Any]], *, reverse: bool = False) -> list[ColumnElement[Any]]:
        """The terms of ORDER BY, for these columns, which hold the values of `keys`."""
        descending = self.is_for_polling is reverse
        return [key.desc() if descending else key.asc() for key in keys]

    def beyond(self, position: str) -> ColumnElement[bool]:
        """Whether a message comes after a position.

        Raises:
            InvalidInput: it is a position in another list.
        """
        if self.is_for_polling:
            return col(Message.position) > pages.number(position)
        return tuple_(*self.keys) < tuple_(*_time_and_id(position))

    def up_to(self, position: str) -> ColumnElement[bool]:
        """Whether a message does not come after a position."""
        if self.is_for_polling:
            return col(Message.position) <= pages.number(position)
        return tuple_(*self.keys) >= tuple_(*_time_and_id(position))

    def position(self, values: Sequence[Any]) -> str:
        """The position of a message with these values of `keys`."""
        if self.is_for_polling:
            return str(values[0])
        received_at, message_id = values
        return f"{(received_at - _EPOCH) // _MICROSECOND:0{_TIME_DIGITS}x}{message_id}"

    def position_of(self, message: Message) -> str:
        """The position of a message."""
        if self.is_for_polling:
            return self.position([message.position])
        return self.position([message.internal_date or message.stored_at, message.id])


def _time_and_id(position: str) -> tuple[ColumnElement[Any], str]:
    try:
        microseconds = int(position[:_TIME_DIGITS], 16)
        received_at = _EPOCH + microseconds * _MICROSECOND
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(FieldFault("/after", "is not a cursor of this list")) from exc
    return literal(received_at, UtcDateTime()), position[_TIME_DIGITS:]
