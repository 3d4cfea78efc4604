"""Delays before another try."""

from datetime import timedelta

import pytest

from app.backoff import Growing, Listed

EXACT = (1.0, 1.0)


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(0, 30), (1, 30), (2, 60), (3, 120), (7, 1800), (10**9, 1800)]
)
def test_a_growing_delay_doubles_up_to_its_longest(failures: int, delay_s: float) -> None:
    backoff = Growing(first_s=30, longest_s=1800, spread=EXACT)
    assert backoff.after(failures) == timedelta(seconds=delay_s)


def test_a_growing_delay_is_never_below_what_the_server_asked_for() -> None:
    backoff = Growing(first_s=1, longest_s=10, spread=EXACT)
    assert backoff.after(1, at_least_s=300) == timedelta(seconds=300)
    assert backoff.after(1, at_least_s=0.5) == timedelta(seconds=1)


def test_delays_are_spread_and_stay_within_the_spread() -> None:
    delays = {Growing(first_s=100, longest_s=100, spread=(0.5, 1.0)).after(1) for _ in range(200)}
    assert len(delays) > 100
    assert all(timedelta(seconds=50) <= delay <= timedelta(seconds=100) for delay in delays)


def test_listed_delays_come_in_order_and_then_end() -> None:
    backoff = Listed(delays_s=(5, 30), spread=EXACT)
    assert [backoff.after(n) for n in (1, 2, 3)] == [timedelta(seconds=5), timedelta(seconds=30), None]
