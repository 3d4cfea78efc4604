"""How many things of a kind may go on at once: for each name, and in all. In this process: each instance counts for
itself.

Nobody waits for a place: who gets none is told so at once, and when to come again.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from app.errors import GatewayError, Overloaded, TooManyRequests

RETRY_AFTER_S = 5


class Places:
    """At most `each` at once for one name, and `total` for all names together."""

    def __init__(self, each: int, *, total: int | None = None, is_callers: bool = True) -> None:
        """`is_callers`: the names are those of callers, who are told that it is they who ask too much."""
        self._each = each
        self._total = total
        self._is_callers = is_callers
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, name: str) -> None:
        """Take a place, to be given back by `give_back`.

        Raises:
            TooManyRequests: the caller has all of theirs.
            Overloaded: all are taken, or all of what is no caller.
        """
        with self._lock:
            if self._taken[name] >= self._each:
                raise self._refusal()
            if self._total is not None and self._taken.total() >= self._total:
                raise Overloaded(RETRY_AFTER_S)
            self._taken[name] += 1

    def give_back(self, name: str) -> None:
        """Let another have the place."""
        with self._lock:
            self._taken[name] -= 1
            if self._taken[name] <= 0:
                del self._taken[name]

    @contextlib.contextmanager
    def taken(self, name: str) -> Iterator[None]:
        """A place within the block.

        Raises:
            TooManyRequests, Overloaded: as `take`.
        """
        self.take(name)
        try:
            yield
        finally:
            self.give_back(name)

    def _refusal(self) -> GatewayError:
        return TooManyRequests(RETRY_AFTER_S) if self._is_callers else Overloaded(RETRY_AFTER_S)
