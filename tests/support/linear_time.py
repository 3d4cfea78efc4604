"""Whether work takes time in proportion to its input, on a machine of any speed, however busy."""

import time
from collections.abc import Callable

SMALLER = 8
GROWTH_MAX = 3 * SMALLER
"""What eight times the input may take: three times over what is linear; by squares it would take 64 times."""
MEASURABLE_S = 0.001


def assert_grows_linearly(small: Callable[[], object], large: Callable[[], object]) -> None:
    """`large` does the work of `small` on eight times the input, and takes no longer than that allows.

    CPU time of this thread, the smallest of three, both in one run: so it holds on a machine of any speed.
    """
    allowed = GROWTH_MAX * max(min(thread_seconds(small) for _ in range(3)), MEASURABLE_S)
    took: list[float] = []
    while len(took) < 3 and (not took or min(took) > allowed):
        took.append(thread_seconds(large))
    assert min(took) <= allowed, f"{min(took):.3f} s, and {allowed / GROWTH_MAX:.4f} s for an eighth"


def thread_seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread alone."""
    started = time.thread_time()
    work()
    return time.thread_time() - started
