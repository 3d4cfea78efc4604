"""Whether work takes time in proportion to its input, on a machine of any speed, however busy."""

import time
from collections.abc import Callable

SMALLER = 8
GROWTH_MAX = 3 * SMALLER
"""What eight times the input may take: three times over what is linear; by squares it would take 64 times."""
MEASURABLE_S = 0.001


def assert_grows_linearly(small: Callable[[], object], large: Callable[[], object]) -> None:
    """`large` does the work of `small` on eight times the input, and takes no longer than that allows.

    CPU time of this thread, both in one run, up to five times until it is so: a busy machine may be four times slower
    for a while, and what is not linear is so each time.
    """
    told = []
    for _ in range(5):
        small_s = max(min(thread_seconds(small) for _ in range(3)), MEASURABLE_S)
        large_s = thread_seconds(large)
        if large_s <= GROWTH_MAX * small_s:
            return
        told.append(f"{large_s:.3f} s, an eighth {small_s:.4f} s")
    raise AssertionError("; ".join(told))


def thread_seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread alone."""
    started = time.thread_time()
    work()
    return time.thread_time() - started
