"""How long to wait before another attempt. Pure: callers store the date; nothing here sleeps or makes an attempt.

Delays are spread at random, so that tasks that failed at the same time do not all come back at the same time.

The numbers of each use stand where it is used: of a failing mailbox in `services/fetching/schedule.py`, of logins in
`services/logins.py`, of sending in `services/sending/outcomes.py` and `sent_copies.py`, of webhooks in
`services/events/attempts.py`, of whole mail servers in `server_cooldown.py`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

MAX_EXPONENT = 32
"""Large enough for every delay to reach its longest value; a larger exponent would overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """Delays that grow by a factor, up to a longest delay."""

    first_s: float
    longest_s: float
    factor: float = 2.0
    spread: tuple[float, float] = (0.8, 1.2)
    """The delay is multiplied by a random number between these two."""

    def after(self, failures: int, *, at_least_s: float = 0.0) -> timedelta:
        """The delay after this number of failures, counted from 1. `at_least_s` applies before the spread."""
        grown_s = self.first_s * self.factor ** min(max(failures - 1, 0), MAX_EXPONENT)
        return _spread(max(min(grown_s, self.longest_s), at_least_s), self.spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The listed delays, then no more attempts."""

    delays_s: Sequence[float]
    spread: tuple[float, float] = (0.8, 1.2)

    def after(self, failures: int) -> timedelta | None:
        """The delay after this number of failures, counted from 1. None: the last attempt has failed."""
        if failures > len(self.delays_s):
            return None
        return _spread(self.delays_s[failures - 1], self.spread)


def _spread(delay_s: float, spread: tuple[float, float]) -> timedelta:
    return timedelta(seconds=delay_s * random.uniform(*spread))  # noqa: S311 - not a secret
