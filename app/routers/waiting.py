"""Requests that wait for the feed to grow: long polls and event streams.

While a request waits, it holds no thread and no database session. After a commit that appended events, one query of the
last position of the feed is made for all waiting requests together. A request that is woken checks itself whether it has something
to return.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from fastapi import FastAPI, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app.errors import StoreUnavailable
from app.gateway import Gateway
from app.services.access.callers import Caller, identify_again
from app.services.access.rules import Principal
from app.services.events import feed
from app.services.pages import Slice
from app.wakeups import Topic

LOOK_EVERY_S = 0.2
"""How often to look while the commits of other processes are not noticed."""
TICK_S = 5.0
"""How often to look otherwise, in case a wake-up was lost."""
IDENTIFY_EVERY_S = 5.0
"""A request that waits ends this soon after its key was revoked or its token has expired."""

Item = TypeVar("Item")


class FeedWatch:
    """Wakes the requests that wait when the feed has grown, or when the server stops. For one event loop."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._looking: asyncio.Task[None] | None = None
        self._position = 0
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_closed = False
        gateway.db.wakeups.subscribe(Topic.EVENTS, self._wake_up)

    async def last_position(self) -> int:
        """The position at the end of the feed."""
        return await run_in_threadpool(feed.last_position, self._gateway)

    async def grown(
        self, beyond: int, timeout_s: float, *, unless: asyncio.Future[None] | None = None
    ) -> bool:
        """Wait until the feed has grown beyond a position. False: the time is over, the server stops, or `unless` was done
        first."""
        if self.is_closed:
            return False
        if self._position > beyond:
            return True
        grown: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[grown] = beyond
        if self._looking is None or self._looking.done():
            self._loop = asyncio.get_running_loop()
            self._looking = asyncio.create_task(self._look())
        try:
            awaited = [grown] if unless is None else [grown, unless]
            await asyncio.wait(awaited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waiting[grown]
        return grown.done() and not self.is_closed

    def close(self) -> None:
        """Wake all requests. From now on none can wait."""
        self.is_closed = True
        self._woken.set()
        self._wake(list(self._waiting))

    async def _look(self) -> None:
        while self._waiting:
            self._woken.clear()
            try:
                position = await self.last_position()
            except (SQLAlchemyError, StoreUnavailable):
                # Each request then makes its own query, and its error becomes its answer.
                self._wake(list(self._waiting))
            else:
                self._position = position
                self._wake([grown for grown, beyond in self._waiting.items() if position > beyond])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._woken.wait(), TICK_S if self._gateway.db.hears_others else LOOK_EVERY_S
                )

    def _wake_up(self) -> None:
        """Look now. May be called from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._woken.set)

    @staticmethod
    def _wake(waiting: list[asyncio.Future[None]]) -> None:
        for grown in waiting:
            if not grown.done():
                grown.set_result(None)


def watch_of(app: FastAPI) -> FeedWatch:
    """The only watch of the application."""
    watch: FeedWatch | None = getattr(app.state, "feed_watch", None)
    if watch is None:
        watch = app.state.feed_watch = FeedWatch(app.state.gateway)
    return watch


async def until_filled(
    request: Request,
    caller: Caller,
    look: Callable[[Principal, str | None], Slice[Item]],
    after: str | None,
    wait_s: float,
) -> Slice[Item]:
    """The first page that is not empty, or that says that there is more. If there is none, the empty page after `wait_s`, or when the
    client has gone. Each look continues where the last one ended.

    While the request waits, the gateway identifies the caller again every few seconds and before each look.

    Raises:
        Unauthenticated: the key has been revoked, or the token has expired.
        TooManyRequests: the caller has the largest number of streams and long polls open.
    """
    page = await run_in_threadpool(look, caller.principal, after)
    if page.data or page.has_more or wait_s <= 0:
        return page
    gateway: Gateway = request.app.state.gateway
    with gateway.waiting.taken(caller.principal.name):
        return await _until_filled(request, caller, look, page, wait_s)


async def _until_filled(
    request: Request,
    caller: Caller,
    look: Callable[[Principal, str | None], Slice[Item]],
    page: Slice[Item],
    wait_s: float,
) -> Slice[Item]:
    gateway, watch = request.app.state.gateway, watch_of(request.app)
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        while True:
            seen = await watch.last_position()
            principal = await run_in_threadpool(identify_again, gateway, caller)
            page = await run_in_threadpool(look, principal, page.next_after)
            if page.data or page.has_more:
                return page
            while not await watch.grown(seen, min(end - loop.time(), IDENTIFY_EVERY_S), unless=gone):
                if loop.time() >= end or gone.done() or watch.is_closed:
                    return page
                await run_in_threadpool(identify_again, gateway, caller)
    finally:
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
