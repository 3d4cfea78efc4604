"""Limits how many octets the bodies of requests hold in memory, for each caller and in all. The counts are in this process: each
instance counts for itself.
"""

import threading
from collections import Counter

from app.errors import Overloaded, TooManyRequests

RETRY_AFTER_S = 5


class OctetBudget:
    """At most `each` octets at once for one name, and at most `total` for all names together."""

    def __init__(self, each: int, total: int) -> None:
        self._each, self._total = each, total
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, name: str, octets: int) -> None:
        """Take so many more. `give_back` frees them.

        Raises:
            TooManyRequests: this name would have too many.
            Overloaded: all together would.
        """
        with self._lock:
            if self._taken[name] + octets > self._each:
                raise TooManyRequests(RETRY_AFTER_S)
            if self._taken.total() + octets > self._total:
                raise Overloaded(RETRY_AFTER_S)
            self._taken[name] += octets

    def give_back(self, name: str, octets: int) -> None:
        """Free so many."""
        with self._lock:
            self._taken[name] -= octets
            if self._taken[name] <= 0:
                del self._taken[name]

    def taken(self, name: str) -> int:
        """How many octets this name has taken."""
        with self._lock:
            return self._taken[name]
