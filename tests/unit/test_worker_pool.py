"""The pool of keyed threads."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine

from app import clock
from app.worker_pool import REST_AFTER_ERROR, REST_AFTER_NOTHING, Task, WorkerPool

WAIT_S = 10.0


class Gate:
    """Tasks that run until it opens."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def task(self, key: str, *, owner: str = "", **groups: int) -> Task:
        return Task(key, lambda: assert_opened(self.opened), groups, owner)


def assert_opened(event: threading.Event) -> bool:
    assert event.wait(WAIT_S)
    return True


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def pool(gate: Gate) -> Iterator[WorkerPool]:
    made = WorkerPool("test", 4)
    yield made
    gate.opened.set()
    made.stop()


def test_one_key_runs_once_at_a_time_and_again_afterwards(pool: WorkerPool, gate: Gate) -> None:
    assert pool.start(gate.task("a"))
    assert not pool.start(gate.task("a"))
    assert pool.running() == ["a"]
    gate.opened.set()
    assert pool.wait(WAIT_S)
    assert pool.start(gate.task("a"))


def test_no_more_tasks_run_than_there_are_threads(pool: WorkerPool, gate: Gate) -> None:
    assert [pool.start(gate.task(key)) for key in "abcde"] == [True, True, True, True, False]
    assert pool.is_full()


def test_a_group_never_holds_more_threads_than_its_share(pool: WorkerPool, gate: Gate) -> None:
    started = [pool.start(gate.task(key, server=2)) for key in "abc"]
    assert started == [True, True, False]
    assert pool.count("server") == 2
    assert pool.start(gate.task("d", other=2))


def test_a_task_needs_room_in_each_of_its_groups(pool: WorkerPool, gate: Gate) -> None:
    assert pool.start(gate.task("a", server=2, failing=1))
    assert not pool.start(gate.task("b", server=2, failing=1))
    assert pool.start(gate.task("c", server=2))


def test_a_resting_key_is_not_started_before_its_time(pool: WorkerPool, gate: Gate) -> None:
    gate.opened.set()
    with time_machine.travel(clock.utc_now(), tick=False) as now:
        pool.rest("server", clock.utc_now() + timedelta(seconds=5))
        pool.rest("a", clock.utc_now() + timedelta(seconds=5))
        assert not pool.start(gate.task("a"))
        assert not pool.start(gate.task("b", server=2))
        assert pool.start(gate.task("c", other=2))
        now.shift(5)
        assert pool.resting() == []
        assert pool.start(gate.task("a"))
        assert pool.start(gate.task("b", server=2))


def test_a_task_that_fails_rests_and_stops_no_other(pool: WorkerPool, gate: Gate) -> None:
    def fail() -> bool:
        raise ValueError("the value must not reach the log")

    with time_machine.travel(clock.utc_now(), tick=False) as now:
        assert pool.start(Task("a", fail))
        assert pool.wait(WAIT_S)
        assert not pool.start(gate.task("a"))
        assert pool.start(gate.task("b"))
        now.shift(REST_AFTER_ERROR)
        assert pool.start(gate.task("a"))


def test_a_task_that_found_nothing_to_do_rests_for_a_moment(pool: WorkerPool) -> None:
    with time_machine.travel(clock.utc_now(), tick=False) as now:
        assert pool.start(Task("a", lambda: False))
        assert pool.wait(WAIT_S)
        assert not pool.start(Task("a", lambda: True))
        assert pool.next_rest_end() == clock.utc_now() + REST_AFTER_NOTHING
        now.shift(REST_AFTER_NOTHING)
        assert pool.next_rest_end() is None
        assert pool.start(Task("a", lambda: True))


def test_a_pool_tells_when_a_task_has_ended_and_has_room_by_then(pool: WorkerPool) -> None:
    ended = threading.Event()
    running: list[list[str]] = []

    def record() -> None:
        running.append(pool.running())
        ended.set()

    pool.when_ended(record)
    assert pool.start(Task("a", lambda: True))
    assert ended.wait(WAIT_S)
    assert running == [[]]


def test_a_pool_that_stops_waits_for_its_tasks_and_starts_no_other(gate: Gate) -> None:
    pool = WorkerPool("test", 2)
    seen = threading.Event()

    def until_stopping() -> bool:
        assert_opened(pool.stopping)
        seen.set()
        return True

    assert pool.start(Task("a", until_stopping))
    pool.stop()
    assert seen.is_set()
    assert not pool.start(gate.task("b"))


def test_an_owner_alone_gets_three_quarters_and_others_get_the_rest(gate: Gate) -> None:
    pool = WorkerPool("test", 8)
    started = [pool.start(gate.task(f"bob{number}", owner="bob")) for number in range(8)]
    assert started.count(True) == 6
    assert pool.start(gate.task("jana1", owner="jana"))
    # Of the reserve each owner gets one.
    assert not pool.start(gate.task("jana2", owner="jana"))
    assert pool.start(gate.task("eva1", owner="eva"))
    assert pool.is_full()
    gate.opened.set()
    pool.stop()


def test_a_group_has_a_reserve_too(gate: Gate) -> None:
    pool = WorkerPool("test", 16)
    started = [pool.start(gate.task(f"bob{number}", owner="bob", failing=4)) for number in range(5)]
    assert started.count(True) == 3
    assert pool.start(gate.task("jana", owner="jana", failing=4))
    assert not pool.start(gate.task("eva", owner="eva", failing=4))
    gate.opened.set()
    pool.stop()


def test_owners_have_their_turns_by_how_little_runs_of_them(pool: WorkerPool, gate: Gate) -> None:
    assert pool.start(gate.task("a", owner="bob"))
    offered = ["bob1", "bob2", "jana1", "jana2", "eva1"]
    assert pool.in_turn(offered, lambda key: key.rstrip("12")) == ["jana1", "eva1", "bob1", "jana2", "bob2"]


def test_one_thread_is_nobodys_reserve(gate: Gate) -> None:
    pool = WorkerPool("test", 1)
    assert pool.start(gate.task("a", owner="bob"))
    assert not pool.start(gate.task("b", owner="jana"))
    gate.opened.set()
    assert pool.wait(WAIT_S)
    assert pool.start(gate.task("c", owner="bob"))
    pool.stop()
