"""Limits how many things of a kind run at once, for each name and in all. The counts are in this process: each instance
counts for itself.

Nobody waits for a place. If there is none, the caller gets an error at once, with the time after which to try again.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from app.errors import GatewayError, Overloaded, TooManyRequests

RETRY_AFTER_S = 5


class Places:
    """At most `each` at once for one name, and at most `total` for all names together."""

    def __init__(self, each: int, *, total: int | None = None, is_callers: bool = True) -> None:
        """`is_callers`: the names are callers, so the error says that the caller has too many requests."""
        self._each = each
        self._total = total
        self._is_callers = is_callers
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, name: str) -> None:
        """Take a place. `give_back` frees it.

        Raises:
            TooManyRequests: the caller has taken all of their places.
            Overloaded: all places are taken, or all of a name that is no caller.
        """
        with self._lock:
            if self._taken[name] >= self._each:
                raise self._refusal()
            if self._total is not None and self._taken.total() >= self._total:
                raise Overloaded(RETRY_AFTER_S)
            self._taken[name] += 1

    def require_room(self, name: str) -> None:
        """Raise the error that `take` would raise, and take nothing.

        Raises:
            TooManyRequests, Overloaded: as `take`.
        """
        with self.taken(name):
            pass

    def give_back(self, name: str) -> None:
        """Free a place of this name."""
        with self._lock:
            self._taken[name] -= 1
            if self._taken[name] <= 0:
                del self._taken[name]

    @contextlib.contextmanager
    def taken(self, name: str) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            TooManyRequests, Overloaded: as in `take`.
        """
        self.take(name)
        try:
            yield
        finally:
            self.give_back(name)

    def _refusal(self) -> GatewayError:
        return TooManyRequests(RETRY_AFTER_S) if self._is_callers else Overloaded(RETRY_AFTER_S)
