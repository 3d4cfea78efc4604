"""Lists by keyset: a page, and the cursor for the next page."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import ColumnElement, Integer, Row, Select
from sqlalchemy.orm import Mapped
from sqlmodel import Session

from app.errors import FieldFault, InvalidInput

DEFAULT_LIMIT = 50

Item = TypeVar("Item")
Other = TypeVar("Other")


@dataclass(frozen=True)
class Slice(Generic[Item]):
    """A part of a list. `next_cursor` is None if the list has ended and is not for polling."""

    data: Sequence[Item]
    next_cursor: str | None
    has_more: bool

    def map(self, change: Callable[[Item], Other]) -> "Slice[Other]":
        """The same part of the list, with each item changed."""
        return Slice([change(item) for item in self.data], self.next_cursor, self.has_more)


def rows(
    session: Session,
    statement: Select[*tuple[Any, ...]],
    key: Mapped[Any],
    *,
    after: str | None,
    limit: int,
    latest_first: bool = False,
) -> Slice[Row[*tuple[Any, ...]]]:
    """A page of the rows that a statement selects, in the order of a unique key. The cursor holds this key.

    Raises:
        InvalidInput: `after` is not a cursor of this list.
    """
    if after is not None:
        is_number = isinstance(cast(ColumnElement[Any], key).type, Integer)
        position = decode_position(after) if is_number else decode_cursor(after)
        statement = statement.where(key < position if latest_first else key > position)
    statement = statement.add_columns(key).order_by(key.desc() if latest_first else key).limit(limit + 1)
    return cut(session.execute(statement).all(), limit, lambda row: row[-1])


def entities(
    session: Session,
    statement: Select[Item],
    key: Mapped[Any],
    *,
    after: str | None,
    limit: int,
    latest_first: bool = False,
) -> Slice[Item]:
    """Like `rows`, for a statement that selects one entity."""
    found = rows(session, statement, key, after=after, limit=limit, latest_first=latest_first)
    return found.map(lambda row: row[0])


def cut(found: Sequence[Item], limit: int, position: Callable[[Item], str | int]) -> Slice[Item]:
    """A page of the items that a query found; the query looked for one more than the limit. `position` gives the position of
    an item, after which the next page begins."""
    page = found[:limit]
    has_more = len(found) > limit
    return Slice(page, encode_cursor(position(page[-1])) if has_more else None, has_more)


def encode_cursor(position: str | int) -> str:
    """The cursor for a position. Callers do not interpret it."""
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The position in a cursor.

    Raises:
        InvalidInput: it is not one of our cursors.
    """
    try:
        octets = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = octets.decode("ascii")
    except (binascii.Error, ValueError) as exc:
        raise InvalidInput(FieldFault("/after", "is not a cursor of this list")) from exc
    if not position.isprintable():  # PostgreSQL refuses a NUL
        raise InvalidInput(FieldFault("/after", "is not a cursor of this list"))
    return position


def decode_position(cursor: str) -> int:
    """The number in the cursor of a feed.

    Raises:
        InvalidInput: not one of ours.
    """
    value = decode_cursor(cursor)
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise InvalidInput(FieldFault("/after", "is not a cursor of this list"))
    return int(value)
