"""The cursors that callers get: positions in lists, encrypted, each for its own list.

Services know positions (`pages.Slice`). Routers open the cursor of a request and encrypt the cursor of the answer. The key is a row of
the database that the migration has made. All instances have the same key, and it stays when the keys of the stored secrets change.

Cursors of older versions, which were not encrypted, are still accepted. But a caller who could make such a cursor for any position
could find out the positions of their own events, and so count the events of others. So a plain cursor with a position that was not in
use when the key was made is accepted only for one day, because a process of the older version may still run. A new
installation never gave out any: its key is made older.
"""

import base64
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from sqlalchemy import select

from app import clock
from app.adapters.cursorbox import START, CursorBox, CursorUnreadable
from app.adapters.cursorbox import CursorKey as KeyOfBox
from app.errors import FieldFault, InvalidInput
from app.gateway import Gateway
from app.models import CursorKey
from app.services.pages import Slice

PLAIN_FROM_OLD_PROCESSES = timedelta(days=1)
_ID = re.compile("[0-9a-f]{32}")
_NUMBER = re.compile("[0-9]{1,18}")

Item = TypeVar("Item")


@dataclass(frozen=True)
class WithCursor(Generic[Item]):
    """A part of a list as a caller gets it."""

    data: list[Item]
    next_cursor: str | None
    has_more: bool


@dataclass(frozen=True)
class Cursors:
    """The cursors of one list."""

    box: CursorBox
    place: str
    is_feed: bool
    """Whether its positions are those of the feed. Otherwise they are ids."""

    def opened(self, cursor: str | None, *, field: str = "after") -> str | None:
        """The position of a caller's cursor. None: the caller gave no cursor.

        Raises:
            InvalidInput: it is not a cursor of this list.
        """
        if cursor is None:
            return None
        try:
            if cursor.startswith(START):
                return self.box.decrypt(cursor, place=self.place)
            return self._plain(cursor)
        except CursorUnreadable as exc:
            raise InvalidInput(FieldFault(f"/{field}", "is not a cursor of this list")) from exc

    def encrypted(self, position: str | int) -> str:
        """The cursor for a position."""
        return self.box.encrypt(str(position), place=self.place)

    def with_cursor(self, page: Slice[Item]) -> WithCursor[Item]:
        """A page with the cursor for the next one."""
        following = None if page.next_after is None else self.encrypted(page.next_after)
        return WithCursor(list(page.data), following, page.has_more)

    def _plain(self, cursor: str) -> str:
        try:
            octets = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            position = octets.decode("ascii")
        except ValueError as exc:
            raise CursorUnreadable from exc
        if not (_NUMBER if self.is_feed else _ID).fullmatch(position):
            raise CursorUnreadable
        if self.is_feed and int(position) > self.box.key.last_plain_position:
            age = clock.utc_now() - self.box.key.made_at
            if age > PLAIN_FROM_OLD_PROCESSES:
                raise CursorUnreadable
        return position


@dataclass(frozen=True)
class CursorsOf:
    """Returns the cursors of a list."""

    box: CursorBox

    def __call__(self, place: str, *, is_feed: bool = False) -> Cursors:
        """The cursors of a list. `place` names it, with the id of the object whose list it is."""
        return Cursors(self.box, place, is_feed)


def of(gateway: Gateway) -> CursorsOf:
    """Returns the cursors of lists. The first use reads their key from the database."""
    return CursorsOf(gateway.cursors.box(lambda: _key(gateway)))


def _key(gateway: Gateway) -> KeyOfBox:
    with gateway.db.reading() as session:
        row = session.execute(select(CursorKey)).scalar_one()
        return KeyOfBox(row.key, row.made_at, row.last_plain_position)
