"""Lists in pages, by keyset: a page, and the position after which the next page begins. `cursors` turns positions into cursors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import ColumnElement, Integer, Row, Select
from sqlalchemy.orm import Mapped
from sqlmodel import Session

from app.errors import FieldFault, InvalidInput

Item = TypeVar("Item")
Other = TypeVar("Other")


@dataclass(frozen=True)
class Slice(Generic[Item]):
    """A part of a list. `next_after` is the position after which the next part begins; None if the list has ended and is not
    for polling."""

    data: Sequence[Item]
    next_after: str | None
    has_more: bool

    def map(self, change: Callable[[Item], Other]) -> "Slice[Other]":
        """The same part of the list, with each item changed."""
        return Slice([change(item) for item in self.data], self.next_after, self.has_more)


def rows(
    session: Session,
    statement: Select[*tuple[Any, ...]],
    key: Mapped[Any],
    *,
    after: str | None,
    limit: int,
    latest_first: bool = False,
) -> Slice[Row[*tuple[Any, ...]]]:
    """A page of the rows that a statement selects, in the order of a unique key, after a position in it.

    Raises:
        InvalidInput: `after` is not a position in this list.
    """
    if after is not None:
        is_number = isinstance(cast(ColumnElement[Any], key).type, Integer)
        position = number(after) if is_number else after
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
    """A page of the items that a query found. The query must look for one more than the limit. `position` returns the position of
    an item, after which the next page begins."""
    page = found[:limit]
    has_more = len(found) > limit
    return Slice(page, str(position(page[-1])) if has_more else None, has_more)


def number(position: str) -> int:
    """A position in a feed.

    Raises:
        InvalidInput: it is a position of another list.
    """
    if not position.isascii() or not position.isdigit() or len(position) > 18:
        raise InvalidInput(FieldFault("/after", "is not a cursor of this list"))
    return int(position)
