"""The clock that wakes a job when work is due."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from app import clock
from app.due_clock import DueClock
from app.worker_pool import Task, WorkerPool

WAIT_S = 60.0
QUIET_S = 0.3
"""A clock that spins looks hundreds of times in this time."""


class Job:
    """A job that counts its looks. `due` is when the next work is due, `held_back` what each look returns."""

    def __init__(self) -> None:
        self.looks = 0
        self.looked = threading.Condition()
        self.due: datetime | None = None
        self.held_back = False
        self.error: Exception | None = None
        self.work_s = 0.0
        self.worked_s = 0.0

    def start_due(self) -> bool:
        started = time.monotonic()
        time.sleep(self.work_s)
        with self.looked:
            self.looks += 1
            self.worked_s += time.monotonic() - started
            self.looked.notify_all()
        if self.error is not None:
            raise self.error
        return self.held_back

    def wait_for(self, looks: int) -> None:
        with self.looked:
            assert self.looked.wait_for(lambda: self.looks >= looks, WAIT_S), f"{self.looks} looks"

    def looks_within(self, seconds: float) -> int:
        """How many looks there are in this time."""
        before = self.looks
        time.sleep(seconds)
        return self.looks - before


@pytest.fixture
def job() -> Job:
    return Job()


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool("test", 2)
    yield made
    made.stop()


Made = Callable[..., DueClock]


@pytest.fixture
def clock_of(pool: WorkerPool) -> Iterator[Made]:
    made: list[DueClock] = []

    def make(job: Job, *, hears_all: bool = True) -> DueClock:
        made.append(DueClock("test", pool, job.start_due, lambda: job.due, hears_all=lambda: hears_all))
        made[-1].tick()
        job.wait_for(1)
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_woken_clock_looks_at_once_and_an_idle_one_does_not_look(job: Job, clock_of: Made) -> None:
    due_clock = clock_of(job)
    assert job.looks_within(QUIET_S) <= 1  # the first tick may wake it once more
    due_clock.wake()
    job.wait_for(job.looks + 1)


def test_a_clock_looks_when_the_next_work_is_due(job: Job, clock_of: Made) -> None:
    due_clock = clock_of(job)
    job.due = clock.utc_now() + timedelta(seconds=1)
    due_clock.wake()
    while clock.utc_now() < job.due:
        time.sleep(0.01)
    seen = job.looks
    job.wait_for(seen + 1)


def test_a_clock_looks_when_a_task_has_ended(job: Job, clock_of: Made, pool: WorkerPool) -> None:
    clock_of(job)
    seen = job.looks + job.looks_within(QUIET_S)
    assert pool.start(Task("a", lambda: True))
    job.wait_for(seen + 1)


@pytest.mark.parametrize("state", ["held back", "due and not started", "failing", "deaf"])
def test_a_clock_never_spins(job: Job, clock_of: Made, state: str) -> None:
    job.held_back = state == "held back"
    job.due = clock.utc_now() - timedelta(hours=1) if state == "due and not started" else None
    job.error = ValueError() if state == "failing" else None
    due_clock = clock_of(job, hears_all=state != "deaf")
    due_clock.wake()
    assert job.looks_within(QUIET_S) <= 3
    # It goes on by itself all the same.
    job.wait_for(job.looks + 1)


def test_a_clock_that_is_woken_all_the_time_rests_as_long_as_it_works(job: Job, clock_of: Made) -> None:
    job.work_s = 0.02
    due_clock = clock_of(job)
    started, seen, worked_s = time.monotonic(), job.looks, job.worked_s
    while job.looks < seen + 10:
        due_clock.wake()
        time.sleep(0.001)
    assert job.worked_s - worked_s <= 0.6 * (time.monotonic() - started)


def test_a_clock_that_stopped_looks_no_more(job: Job, clock_of: Made) -> None:
    due_clock = clock_of(job)
    due_clock.stop()
    seen = job.looks
    due_clock.wake()
    due_clock.tick()
    assert job.looks_within(0.1) == 0
    assert job.looks == seen
