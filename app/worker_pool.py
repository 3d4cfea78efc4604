"""A pool of threads for work that has an owner: a mailbox, a webhook.

A task has a key, and no two tasks with one key run at the same time. A task may also belong to groups (for example its
server, or "failing"). Each group has a largest number of tasks that run at the same time, so one server that hangs never
holds all threads. Keys and groups can rest: none of their tasks starts during that time.

`start` never waits and keeps no queue. The caller is a job that looks again every second, so it offers a task again
that does not fit now, and in the right order.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from app import clock

log = structlog.get_logger(__name__)

REST_AFTER_ERROR = timedelta(seconds=30)
"""How long a key rests after its task ended with an error that the task did not handle."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task to run. `groups`: the name of each group, and how many of its tasks may run at the same time."""

    key: str
    run: Callable[[], None]
    groups: Mapping[str, int] = field(default_factory=dict)


class WorkerPool:
    """Named threads. `stopping` is set when the pool stops; long tasks check it."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Task, Future[None]]] = {}
        self._resting: dict[str, datetime] = {}
        self.stopping = threading.Event()

    def start(self, task: Task) -> bool:
        """Start a task if it may run now. Returns whether it was started."""
        with self._lock:
            if self.stopping.is_set() or len(self._running) >= self._threads or not self._may_run(task):
                return False
            self._running[task.key] = (task, self._pool.submit(self._run, task))
        return True

    def rest(self, name: str, until: datetime) -> None:
        """Start no task of this key or group until this time."""
        with self._lock:
            self._resting[name] = until

    def resting(self) -> list[str]:
        """The keys and groups that rest now."""
        with self._lock:
            return self._resting_now()

    def running(self) -> list[str]:
        """The keys of the tasks that run now."""
        with self._lock:
            return list(self._running)

    def count(self, group: str) -> int:
        """How many tasks of a group run now."""
        with self._lock:
            return self._count(group)

    def is_full(self) -> bool:
        """Whether all threads are in use."""
        with self._lock:
            return len(self._running) >= self._threads

    def wait(self, timeout_s: float) -> bool:
        """Wait until all tasks that run now have ended. False: they did not end in time."""
        with self._lock:
            futures = [future for _, future in self._running.values()]
        return not wait(futures, timeout_s).not_done

    def stop(self) -> None:
        """Start no more tasks, and wait for those that run."""
        with self._lock:
            self.stopping.set()
        self._pool.shutdown(wait=True)

    def _may_run(self, task: Task) -> bool:
        if task.key in self._running or any(self._count(name) >= most for name, most in task.groups.items()):
            return False
        resting = self._resting_now()
        return task.key not in resting and not any(name in resting for name in task.groups)

    def _count(self, group: str) -> int:
        return sum(group in task.groups for task, _ in self._running.values())

    def _resting_now(self) -> list[str]:
        now = clock.utc_now()
        self._resting = {name: until for name, until in self._resting.items() if until > now}
        return list(self._resting)

    def _run(self, task: Task) -> None:
        try:
            task.run()
        except Exception as exc:
            # One task must not stop the others. The log says what happened, without the error's text, which may hold values.
            log.error("task_failed", pool=self._name, key=task.key, error=type(exc).__name__)
            self.rest(task.key, clock.utc_now() + REST_AFTER_ERROR)
        finally:
            with self._lock:
                del self._running[task.key]
