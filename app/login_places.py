"""Limits the logins with one password that run at the same time: at most two, in all processes together.

A password may be refused twice before the connector stops. Each running login may be refused, so no more than two may run at once.
The sweep, a fetch by command, a test, the sender and the filing of a Sent copy all log in, and know of each other only here.

On PostgreSQL, a place is also an advisory lock of the database, held by one connection of this process: another process cannot
take it, and it becomes free when this process dies. An SQLite file has only one serving process.
"""

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from app.db import Database
from app.errors import MailServerUnavailable, StoreUnavailable

PLACES = (0, 1)
LOOK_EACH_S = 0.05
"""How often a process looks whether another one has freed a place."""


class LoginPlaces:
    """The places of each password. Its name is the id of the first connector that has it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._changed = threading.Condition()
        self._taken: dict[str, set[int]] = {}
        self._connection: Connection | None = None

    @contextlib.contextmanager
    def held(self, name: str, *, alone: bool, wait_s: float) -> Iterator[None]:
        """Hold a place while the block runs. `alone`: hold both places, so that no other login runs.

        Raises:
            MailServerUnavailable: no place became free within `wait_s`.
            StoreUnavailable
        """
        places = self._take(name, PLACES if alone else (), time.monotonic() + wait_s)
        try:
            yield
        finally:
            with self._changed:
                self._free(name, places)
                self._changed.notify_all()

    def close(self) -> None:
        """Close the connection. The database then frees its locks."""
        with self._changed:
            self._disconnect()

    def _take(self, name: str, wanted: Sequence[int], until: float) -> list[int]:
        with self._changed:
            while (places := self._try(name, wanted)) is None:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise MailServerUnavailable(
                        "Other logins of this connector have been under way for too long.", command="LOGIN"
                    )
                self._changed.wait(min(left_s, LOOK_EACH_S))
            return places

    def _try(self, name: str, wanted: Sequence[int]) -> list[int] | None:
        """Take the wanted places: all of them, or any one of them. None: they are not free."""
        taken = self._taken.setdefault(name, set())
        got: list[int] = []
        for place in wanted or PLACES:
            if place not in taken and self._lock(name, place):
                taken.add(place)
                got.append(place)
            if len(got) == max(1, len(wanted)):
                return got
        self._free(name, got)
        return None

    def _free(self, name: str, places: Sequence[int]) -> None:
        for place in places:
            self._unlock(name, place)
            self._taken[name].discard(place)
        if not self._taken[name]:
            del self._taken[name]

    def _lock(self, name: str, place: int) -> bool:
        if self._db.is_sqlite:
            return True
        try:
            return self._ask("pg_try_advisory_lock", name, place)
        except (SQLAlchemyError, StoreUnavailable):
            # The database has restarted, and forgotten all locks of the connection.
            self._disconnect()
            return self._ask("pg_try_advisory_lock", name, place)

    def _unlock(self, name: str, place: int) -> None:
        if self._connection is None:
            return
        try:
            self._ask("pg_advisory_unlock", name, place)
        except (SQLAlchemyError, StoreUnavailable):
            self._disconnect()

    def _ask(self, function: str, name: str, place: int) -> bool:
        if self._connection is None:
            engine = self._db.engine.execution_options(isolation_level="AUTOCOMMIT")
            self._connection = engine.connect()
        digest = hashlib.sha256(f"login\0{name}\0{place}".encode()).digest()
        key = int.from_bytes(digest[:8], signed=True)
        return bool(self._connection.execute(text(f"SELECT {function}(:key)"), {"key": key}).scalar_one())

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError, StoreUnavailable):
                connection.invalidate()
            with contextlib.suppress(SQLAlchemyError, StoreUnavailable):
                connection.close()
