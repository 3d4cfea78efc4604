"""Calls wait for their turn without a thread, and one caller leaves threads to others."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from app import turns
from app.errors import Overloaded, TooManyRequests
from app.turns import Turns

WAIT_S = 60.0


@pytest.fixture
def four() -> Iterator[Turns]:
    made = Turns(threads=4, per_caller=2)
    yield made
    made.close()


class Gate:
    """Calls that run until it opens."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun: list[str] = []

    def call(self, name: str) -> Callable[[], str]:
        def run() -> str:
            self.begun.append(name)
            assert self.opened.wait(WAIT_S)
            return name

        return run

    async def until_begun(self, number: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.begun) < number:
                await asyncio.sleep(0.01)


def test_a_caller_runs_a_few_and_the_others_of_theirs_wait(four: Turns) -> None:
    async def check() -> None:
        gate = Gate()
        bobs = [asyncio.create_task(four.run("bob", gate.call("bob"))) for _ in range(20)]
        await gate.until_begun(2)
        assert await asyncio.wait_for(four.run("jana", lambda: "jana"), WAIT_S) == "jana"
        assert gate.begun == ["bob", "bob"]
        gate.opened.set()
        assert await asyncio.gather(*bobs) == ["bob"] * 20

    asyncio.run(check())


def test_who_has_waited_longest_is_next(four: Turns) -> None:
    async def check() -> None:
        gate = Gate()
        first = [asyncio.create_task(four.run(name, gate.call(name))) for name in "aabb"]
        await gate.until_begun(4)
        later = [asyncio.create_task(four.run(name, gate.call(name))) for name in "cdef"]
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(*first, *later)
        assert sorted(gate.begun[:4]) == ["a", "a", "b", "b"]
        assert sorted(gate.begun[4:]) == ["c", "d", "e", "f"]

    asyncio.run(check())


def test_a_turn_that_does_not_come_in_time_is_refused_and_leaves_nothing(
    four: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.05)

    async def check() -> None:
        gate = Gate()
        running = [asyncio.create_task(four.run("bob", gate.call("bob"))) for _ in range(2)]
        await gate.until_begun(2)
        with pytest.raises(Overloaded):
            await four.run("bob", gate.call("late"))
        gate.opened.set()
        await asyncio.gather(*running)
        assert await four.run("bob", lambda: "again") == "again"
        assert "late" not in gate.begun

    asyncio.run(check())


def test_a_caller_who_gives_up_keeps_the_thread_until_the_call_ends(four: Turns) -> None:
    async def check() -> None:
        gate = Gate()
        running = [asyncio.create_task(four.run("bob", gate.call("bob"))) for _ in range(2)]
        await gate.until_begun(2)
        waiting = [asyncio.create_task(four.run("bob", gate.call("waiting"))) for _ in range(5)]
        await asyncio.sleep(0)
        for task in (*running, *waiting):
            task.cancel()
        await asyncio.gather(*running, *waiting, return_exceptions=True)
        next_one = asyncio.create_task(four.run("bob", gate.call("next")))
        await asyncio.wait_for(four.run("jana", lambda: "jana"), WAIT_S)
        assert gate.begun == ["bob", "bob"]
        gate.opened.set()
        assert await asyncio.wait_for(next_one, WAIT_S) == "next"
        assert gate.begun == ["bob", "bob", "next"]

    asyncio.run(check())


def test_no_more_than_so_many_wait(four: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAITING_PER_CALLER", 3)
    few = Turns(threads=1, per_caller=1)

    async def check() -> None:
        gate = Gate()
        tasks = [asyncio.create_task(few.run("bob", gate.call("bob"))) for _ in range(3)]
        await gate.until_begun(1)
        with pytest.raises(TooManyRequests):
            await few.run("bob", gate.call("bob"))
        gate.opened.set()
        await asyncio.gather(*tasks)

    asyncio.run(check())
    few.close()


def test_a_call_that_fails_gives_its_turn_back(four: Turns) -> None:
    async def check() -> None:
        for _ in range(10):
            with pytest.raises(ZeroDivisionError):
                await four.run("bob", lambda: 1 // 0)

    asyncio.run(check())
