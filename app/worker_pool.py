"""A pool of threads for work that has an owner: a mailbox, a webhook.

A task has a key, and no two tasks with one key run at the same time. A task may also belong to groups (for example its
server, or "failing"). Each group has a largest number of tasks that run at the same time, so one server that hangs never
holds all threads. Keys and groups can rest: none of their tasks starts during that time.

The owners of the tasks share the threads. If several owners wait, the one with the fewest running tasks comes first (`in_turn`). One
owner may use three quarters of the threads. The last quarter of the pool, and of each group, is a reserve: a thread of it goes only
to an owner with no running task there. So an owner of a hundred mailboxes that hang never blocks the owner of one.

`start` never waits and keeps no queue. Its caller is a job that a `DueClock` wakes when a task has ended. So a task that does not fit
now is offered again, in the right order. A task that found nothing to do rests for a second, so that work that is due but cannot be
done is not started again and again.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from app import clock

Item = TypeVar("Item")

log = structlog.get_logger(__name__)

REST_AFTER_ERROR = timedelta(seconds=30)
"""How long a key rests after its task ended with an error that the task did not handle."""


REST_AFTER_NOTHING = timedelta(seconds=1)
"""How long a key rests after its task found nothing to do."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task to run. `run` returns whether it found something to do. `groups`: the name of each group, and the largest number of its
    tasks that may run at the same time. `owner`: whose share of the threads it uses; empty: nobody's."""

    key: str
    run: Callable[[], bool]
    groups: Mapping[str, int] = field(default_factory=dict)
    owner: str = ""


class WorkerPool:
    """Named threads. `stopping` is set when the pool stops; long tasks check it."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Task, Future[None]]] = {}
        self._resting: dict[str, datetime] = {}
        self._when_ended: Callable[[], None] = lambda: None
        self.stopping = threading.Event()

    def when_ended(self, call: Callable[[], None]) -> None:
        """Call this each time a task has ended. It must be quick and must not raise."""
        self._when_ended = call

    def start(self, task: Task) -> bool:
        """Start a task if it may run now. Returns whether it was started."""
        with self._lock:
            if self.stopping.is_set() or not self._may_run(task):
                return False
            self._running[task.key] = (task, self._pool.submit(self._run, task))
        return True

    def in_turn(self, offered: Iterable[Item], owner_of: Callable[[Item], str]) -> list[Item]:
        """The offered items, ordered so that the owners take turns, beginning with the owner of the fewest running tasks. The items of
        one owner stay in their order."""
        with self._lock:
            ranks = Counter(task.owner for task, _ in self._running.values())
        ranked = []
        for item in offered:
            owner = owner_of(item)
            ranked.append((ranks[owner], item))
            ranks[owner] += 1
        return [item for _, item in sorted(ranked, key=lambda each: each[0])]

    def rest(self, name: str, until: datetime) -> None:
        """Start no task of this key or group until this time."""
        with self._lock:
            self._resting[name] = until

    def resting(self) -> list[str]:
        """The keys and groups that rest now."""
        with self._lock:
            return self._resting_now()

    def next_rest_end(self) -> datetime | None:
        """When the first key or group that rests now may run again. None: none rests."""
        with self._lock:
            return min((self._resting[name] for name in self._resting_now()), default=None)

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
        """Start no more tasks, and wait for the running ones."""
        with self._lock:
            self.stopping.set()
        self._pool.shutdown(wait=True)

    def _may_run(self, task: Task) -> bool:
        if task.key in self._running or not self._has_room(task):
            return False
        resting = self._resting_now()
        return task.key not in resting and not any(name in resting for name in task.groups)

    def _has_room(self, task: Task) -> bool:
        running = [each for each, _ in self._running.values()]
        if not _has_room_in(self._threads, running, task):
            return False
        return all(
            _has_room_in(most, [each for each in running if name in each.groups], task)
            for name, most in task.groups.items()
        )

    def _count(self, group: str) -> int:
        return sum(group in task.groups for task, _ in self._running.values())

    def _resting_now(self) -> list[str]:
        now = clock.utc_now()
        self._resting = {name: until for name, until in self._resting.items() if until > now}
        return list(self._resting)

    def _run(self, task: Task) -> None:
        try:
            if not task.run():
                self.rest(task.key, clock.utc_now() + REST_AFTER_NOTHING)
        except Exception as exc:
            # One task must not stop the others. The log names the error without its text, which may hold values.
            log.error("task_failed", pool=self._name, key=task.key, error=type(exc).__name__)
            self.rest(task.key, clock.utc_now() + REST_AFTER_ERROR)
        finally:
            with self._lock:
                del self._running[task.key]
            self._when_ended()


def _has_room_in(most: int, running: list[Task], task: Task) -> bool:
    """Whether another task may run beside these, if `most` may run. The reserve is for owners with no task among them."""
    free = most - len(running)
    is_new = not task.owner or all(each.owner != task.owner for each in running)
    return free > 0 if is_new else free > most // 4
