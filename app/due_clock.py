"""A clock that runs a job when work is due, and not before.

The clock looks for due work at three times: when the next known work is due; when somebody wakes it, because a commit has brought
work or a task has ended; and at least every `TICK_S`, in case nobody has woken it. It never runs in an endless loop without a
pause: work that is due but cannot start now, for example because all threads are busy, is looked at again when a task ends, or
after `HELD_BACK_S`. After each look the clock pauses for at least the time that the look took.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime

import structlog

from app import clock
from app.worker_pool import WorkerPool

log = structlog.get_logger(__name__)

TICK_S = 5.0
HELD_BACK_S = 1.0
"""The pause if work had to be held back, after an error, and while the commits of other processes are not noticed."""
SHORTEST_PAUSE_S = 0.001


class DueClock:
    """Runs one job in a thread of its own.

    `start_due` starts the due work, and returns whether it had to hold something back. `next_due` returns when the next work is
    due, as far as the database knows. `succeeded` is called after each look without an error. `hears_all` returns whether every
    commit that brings work wakes this clock.
    """

    def __init__(
        self,
        name: str,
        pool: WorkerPool,
        start_due: Callable[[], bool],
        next_due: Callable[[], datetime | None],
        *,
        succeeded: Callable[[], None] = lambda: None,
        hears_all: Callable[[], bool] = lambda: True,
    ) -> None:
        self._name = name
        self._pool = pool
        self._start_due = start_due
        self._next_due = next_due
        self._succeeded = succeeded
        self._hears_all = hears_all
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        pool.when_ended(self.wake)

    def tick(self) -> None:
        """Start the clock if it is not running, and make it look now."""
        if self._stopping.is_set():
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name=f"{self._name}-clock", daemon=True)
            self._thread.start()
        self.wake()

    def wake(self) -> None:
        """Make it look now. May be called from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """Stop the clock, and wait until the present look has ended."""
        self._stopping.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            started = time.monotonic()
            try:
                pause_s = self._look()
            except Exception as exc:
                # The clock looks again. The log names the error without its text, which may hold values.
                log.error("job_failed", job=self._name, error=type(exc).__name__)
                self._stopping.wait(HELD_BACK_S)
                continue
            ended = time.monotonic()
            self._woken.wait(pause_s)
            # Even if something wakes it, it pauses as long as it worked.
            self._stopping.wait(max(ended - started - (time.monotonic() - ended), SHORTEST_PAUSE_S))

    def _look(self) -> float:
        """Start the due work. Returns the pause until the next look, in seconds."""
        is_held_back = self._start_due()
        self._succeeded()
        if self._woken.is_set():
            return 0.0
        longest_s = HELD_BACK_S if is_held_back or not self._hears_all() else TICK_S
        now = clock.utc_now()
        times = [each for each in (self._next_due(), self._pool.next_rest_end()) if each is not None]
        pauses_s = [(each - now).total_seconds() for each in times]
        # Work that was due is now running, or it was held back: do not look again at once.
        return min([longest_s, *(pause_s if pause_s > 0 else HELD_BACK_S for pause_s in pauses_s)])
