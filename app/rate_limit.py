"""How often one caller may do something. The counts are in this process: each instance counts for itself."""

import threading
import time
from collections import deque

from app.errors import TooManyRequests

NAMES_KEPT = 10_000


class RateLimit:
    """For each name, a largest number of times within a period."""

    def __init__(self, times: int, period_s: float) -> None:
        self._times = times
        self._period_s = period_s
        self._lock = threading.Lock()
        self._seen: dict[str, deque[float]] = {}

    def count(self, name: str) -> None:
        """Count one more time for the name.

        Raises:
            TooManyRequests: with the time after which there is room again.
        """
        with self._lock:
            self._with_room(name).append(time.monotonic())

    def require_room(self, name: str) -> None:
        """Check the limit without counting, if it is not known yet whether this time will count.

        Raises:
            TooManyRequests: as `count`.
        """
        with self._lock:
            self._with_room(name)

    def _with_room(self, name: str) -> deque[float]:
        now = time.monotonic()
        if len(self._seen) > NAMES_KEPT:
            self._seen = {
                each: seen for each, seen in self._seen.items() if seen and seen[-1] > now - self._period_s
            }
        seen = self._seen.setdefault(name, deque())
        while seen and seen[0] <= now - self._period_s:
            seen.popleft()
        if len(seen) >= self._times:
            raise TooManyRequests(int(seen[0] + self._period_s - now) + 1)
        return seen
