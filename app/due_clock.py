"""A clock that wakes a job when work is due, and not before.

It looks when the next known work is due, when somebody wakes it (a commit has brought work, a task has ended), and every
`TICK_S` in any case, for what nobody has told. It never spins: work that is due and cannot start now, for example because all
threads are busy, is offered again when a task ends, or after `HELD_BACK_S`. And a job that is woken all the time rests as
long as it worked.
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
"""Also the pause after an error, and the pause while the commits of other processes are not heard."""
SHORTEST_PAUSE_S = 0.001


class DueClock:
    """Runs one job in a thread of its own.

    `start_due` starts what is due and returns whether something had to be held back; `next_due` says when the next work is
    due, as far as the store knows. `succeeded` is called after each look without an error; `hears_all` says whether every
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
        """Start the clock if it is not running, and let it look now."""
        if self._stopping.is_set():
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name=f"{self._name}-clock", daemon=True)
            self._thread.start()
        self.wake()

    def wake(self) -> None:
        """Let it look now. From any thread."""
        self._woken.set()

    def stop(self) -> None:
        """Look no more, and wait until the present look has ended."""
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
                # It looks again. The log says what happened, without the error's text, which may hold values.
                log.error("job_failed", job=self._name, error=type(exc).__name__)
                self._stopping.wait(HELD_BACK_S)
                continue
            ended = time.monotonic()
            self._woken.wait(pause_s)
            # Whatever wakes it: it rests as long as it worked.
            self._stopping.wait(max(ended - started - (time.monotonic() - ended), SHORTEST_PAUSE_S))

    def _look(self) -> float:
        """Start what is due. Returns the pause until the next look, in seconds."""
        is_held_back = self._start_due()
        self._succeeded()
        if self._woken.is_set():
            return 0.0
        longest_s = HELD_BACK_S if is_held_back or not self._hears_all() else TICK_S
        now = clock.utc_now()
        times = [each for each in (self._next_due(), self._pool.next_rest_end()) if each is not None]
        pauses_s = [(each - now).total_seconds() for each in times]
        # Whatever was due just now has had its chance: it is running, or something holds it back.
        return min([longest_s, *(pause_s if pause_s > 0 else HELD_BACK_S for pause_s in pauses_s)])
