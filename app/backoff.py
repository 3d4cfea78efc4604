"""How long to wait before another try. Pure: callers store the date; nothing here sleeps or tries.

Delays are spread at random, so that what failed together does not come back together.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

MAX_EXPONENT = 32
"""Enough for every delay to reach its longest; more would overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """Delays that grow by a factor, up to a longest one."""

    first_s: float
    longest_s: float
    factor: float = 2.0
    spread: tuple[float, float] = (0.8, 1.2)
    """The delay is multiplied by a random number between these two."""

    def after(self, failures: int, *, at_least_s: float = 0.0) -> timedelta:
        """The delay after so many failures, counted from 1. `at_least_s` is met before the spread."""
        grown_s = self.first_s * self.factor ** min(max(failures - 1, 0), MAX_EXPONENT)
        return _spread(max(min(grown_s, self.longest_s), at_least_s), self.spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Delays as listed, then no more."""

    delays_s: Sequence[float]
    spread: tuple[float, float] = (0.8, 1.2)

    def after(self, failures: int) -> timedelta | None:
        """The delay after so many failures, counted from 1. None: the last try has failed."""
        if failures > len(self.delays_s):
            return None
        return _spread(self.delays_s[failures - 1], self.spread)


def _spread(delay_s: float, spread: tuple[float, float]) -> timedelta:
    return timedelta(seconds=delay_s * random.uniform(*spread))  # noqa: S311 - not a secret
