"""Runs calls that take a moment as a rule, and long if somebody wants that: the parser takes an attachment out of a mail.

They have a few threads of their own, and one caller gets only a part of these. Other calls wait for their turn. They
hold no thread while they wait, so a page with many images gets all of them, one after the other.
"""

import asyncio
import contextlib
import contextvars
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.errors import Overloaded
from app.places import Places

Result = TypeVar("Result")

WAITING, WAITING_PER_CALLER = 1000, 200
PATIENCE_S = 30.0


class Turns:
    """The threads, and who waits for one. All methods but `close` belong to one event loop."""

    def __init__(self, *, threads: int, per_caller: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="turn")
        self._free = threads
        self._per_caller = per_caller
        self._running: Counter[str] = Counter()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._callers = Places(WAITING_PER_CALLER, total=WAITING)

    async def run(self, caller: str, call: Callable[[], Result]) -> Result:
        """Run a call in a thread when it is its turn. If the caller stops waiting, a call that has begun runs to its end.

        Raises:
            TooManyRequests: as many calls of this caller wait as may.
            Overloaded: as many wait as may, or the turn did not come in time.
        """
        with self._callers.taken(caller):
            await self._turn(caller)
            loop = asyncio.get_running_loop()
            try:
                future = self._pool.submit(contextvars.copy_context().run, call)
            except BaseException:
                self._end(caller)
                raise
            # Not when the caller stops waiting: the thread is in use until the call has ended.
            future.add_done_callback(lambda _: _in_loop(loop, lambda: self._end(caller)))
            return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Start no more calls. Those that run end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, caller: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((caller, turn))
        self._give_turns()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled():
                self._end(caller)
            else:
                self._waiting.remove((caller, turn))
            if isinstance(exc, TimeoutError):
                raise Overloaded from exc
            raise

    def _end(self, caller: str) -> None:
        self._free += 1
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]
        self._give_turns()

    def _give_turns(self) -> None:
        """Let those run who have waited longest, but for callers who run as much as they may."""
        if not self._free:
            return
        for entry in list(self._waiting):
            caller, turn = entry
            if self._free and self._running[caller] < self._per_caller and not turn.cancelled():
                self._waiting.remove(entry)
                self._free -= 1
                self._running[caller] += 1
                turn.set_result(None)


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
        loop.call_soon_threadsafe(call)
