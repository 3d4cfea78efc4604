"""Counts refused logins, so that nobody can guess passwords through the gateway. Each instance has its own counts, in memory.

A login has several names, for example its caller and its user name, and each name has a count. The login takes a place in all these
counts before the server is asked. When the login ends, it gives the places back, unless the server refused it: then it counts for
a minute. So it is no advantage to make many logins at the same time.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping

from app.errors import TooManyRefusedLogins

PERIOD_S = 60.0
LOOK_AGAIN_S = 5
"""The wait if no login was refused yet, but as many are running as may be refused."""


class Taken:
    """The place of one login. The first call of `end` counts; later ones do nothing."""

    def __init__(self, budget: "LoginBudget", names: frozenset[str]) -> None:
        self._budget = budget
        self._names = names

    def end(self, *, refused: bool) -> None:
        """Give the place back, or count the refused login."""
        names, self._names = self._names, frozenset()
        if names:
            self._budget.end(names, refused=refused)


class LoginBudget:
    """The counts by name. It keeps only names of logins that are running, or were refused in the last minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._refusals: deque[tuple[float, frozenset[str]]] = deque()
        """When each refused login stops counting, and its names; the oldest first."""

    def take(self, limits: Mapping[str, int], *, also: Iterable[str] = ()) -> Taken:
        """Take a place for one login, in the counts of all names. `limits`: how many refused logins each name may have. `also`:
        names that count the login, but have no limit.

        Raises:
            TooManyRefusedLogins: with the time after which to try again.
        """
        names = frozenset(limits) | frozenset(also)
        with self._lock:
            self._forget_old()
            full = {name for name, most in limits.items() if self._count(name) >= most}
            if full:
                raise TooManyRefusedLogins(self._wait_s(full))
            self._under_way.update(names)
        return Taken(self, names)

    def end(self, names: frozenset[str], *, refused: bool) -> None:
        """Called by `Taken`."""
        with self._lock:
            _subtract(self._under_way, names)
            if refused:
                self._refused.update(names)
                self._refusals.append((time.monotonic() + PERIOD_S, names))

    def _count(self, name: str) -> int:
        return self._under_way[name] + self._refused[name]

    def _forget_old(self) -> None:
        now = time.monotonic()
        while self._refusals and self._refusals[0][0] <= now:
            _subtract(self._refused, self._refusals.popleft()[1])

    def _wait_s(self, full: set[str]) -> int:
        """The seconds until the oldest refused login of each of these names stops counting; `LOOK_AGAIN_S` for a name without one."""
        now = time.monotonic()
        waits = {
            name: next(
                (int(until - now) + 1 for until, names in self._refusals if name in names), LOOK_AGAIN_S
            )
            for name in full
        }
        return max(waits.values())


def _subtract(counts: Counter[str], names: Iterable[str]) -> None:
    for name in names:
        counts[name] -= 1
        if counts[name] <= 0:
            del counts[name]
