"""Requests that wait for the feed to grow: long polls and event streams.

While a request waits, it holds no thread and no database session. After a commit that appended events, one look at the feed
serves all of them, however many wait (`services.events.looking`). The same look finds out whose key, token or ticket has ended, so
there is one every few seconds too.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import structlog
from fastapi import FastAPI, Request

from app.errors import Unauthenticated
from app.gateway import Gateway
from app.services.events import looking
from app.services.events.looking import Look, Seen, Waiting
from app.wakeups import Topic

LOOK_EVERY_S = 0.2
"""While the commits of other processes are not heard."""
TICK_S = 5.0
"""Otherwise. A request that waits ends this soon after its key was revoked or its token has expired."""
REST_S = 0.25
"""After a look the watch rests for as long as it took, and at most so long: then looking takes half of a core at most."""

log = structlog.get_logger(__name__)


class _Place:
    """The place of one who waits."""

    __slots__ = ("is_looked_at", "seen", "waiting")

    def __init__(self, waiting: Waiting, seen: asyncio.Future[Seen]) -> None:
        self.waiting = waiting
        self.seen = seen
        self.is_looked_at = False

    def tell(self, seen: Seen) -> None:
        """Take in what a look has found."""
        self.is_looked_at = True
        if self.seen.done():
            return
        if seen.is_news:
            self.seen.set_result(seen)
        elif seen.position != self.waiting.position:
            self.waiting = replace(self.waiting, position=seen.position)


class FeedWatch:
    """Looks at the feed for the requests that wait, when it has grown, and from time to time. For one event loop."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._places: set[_Place] = set()
        self._looking: asyncio.Task[None] | None = None
        self._latest: Look | None = None
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        # One thread of its own: a look never waits for requests that hold the threads of the framework.
        self._thread = ThreadPoolExecutor(1, "feed-watch")
        self.is_closed = False
        self.looks = 0
        """How often it has looked."""
        gateway.db.wakeups.subscribe(Topic.EVENTS, self._wake_up)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._places)

    @property
    def marks(self) -> Mapping[int, str]:
        """The marks of the newest events, as the last look found them (`services.events.places`)."""
        return self._latest.marks if self._latest is not None else {}

    async def news(
        self, waiting: Waiting, timeout_s: float, *, unless: asyncio.Future[None] | None = None
    ) -> Seen | None:
        """What a look finds for one who waits, as soon as it finds something. If the time is over, the server stops, or `unless` is
        done first: nothing, and where to go on. None: nobody has looked in that time.

        Raises:
            Whatever the look has raised.
        """
        loop = asyncio.get_running_loop()
        place = _Place(waiting, loop.create_future())
        if self.is_closed:
            return None
        self._places.add(place)
        self._look_for(place, loop)
        try:
            awaited: list[asyncio.Future[Any]] = [place.seen] if unless is None else [place.seen, unless]
            await asyncio.wait(awaited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._places.discard(place)
            error = place.seen.exception() if place.seen.done() else None
        if error is not None:
            raise error
        if place.seen.done():
            return place.seen.result()
        return Seen(waiting.caller.principal, [], place.waiting.position) if place.is_looked_at else None

    def look_soon(self) -> None:
        """Look again, although nothing may have happened."""
        self._woken.set()

    def close(self) -> None:
        """Wake all requests. From now on none can wait."""
        self.is_closed = True
        self._woken.set()
        for place in list(self._places):
            if not place.seen.done():
                place.seen.set_result(Seen(place.waiting.caller.principal, [], place.waiting.position))
        self._thread.shutdown(wait=False)

    def _look_for(self, place: _Place, loop: asyncio.AbstractEventLoop) -> None:
        if self._looking is None or self._looking.done():
            self._loop = loop
            self._looking = loop.create_task(self._look_on(loop))
        elif self._latest is not None and place.waiting.position == self._latest.end:
            place.is_looked_at = True  # what has been committed since then will wake us
        else:
            self._woken.set()

    async def _look_on(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._places and not self.is_closed:
            self._woken.clear()
            began = loop.time()
            await self._look(loop)
            await asyncio.sleep(0)  # those who got something write it now
            await asyncio.sleep(min(loop.time() - began, REST_S))
            with contextlib.suppress(TimeoutError):
                hears_all = self._gateway.db.hears_others
                await asyncio.wait_for(self._woken.wait(), TICK_S if hears_all else LOOK_EVERY_S)
        self._latest = None

    async def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        asked = list(self._places)
        waiting = [place.waiting for place in asked]
        try:
            look = await loop.run_in_executor(self._thread, looking.look, self._gateway, waiting)
        except Exception as error:  # whatever it is: it becomes the answer to all who wait
            log.warning("look_failed", error=type(error).__name__)
            self._latest = None
            for place in asked:
                if not place.seen.done():
                    place.seen.set_exception(error)
            return
        self._latest = look
        self.looks += 1
        for place, seen in zip(asked, look.seen, strict=True):
            place.tell(seen)
        if any(each.waiting.position != look.end and not each.seen.done() for each in self._places):
            self._woken.set()  # they came while we looked

    def _wake_up(self) -> None:
        """Look now. From any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._woken.set)


def watch_of(app: FastAPI) -> FeedWatch:
    """The only watch of the application."""
    watch: FeedWatch | None = getattr(app.state, "feed_watch", None)
    if watch is None:
        watch = app.state.feed_watch = FeedWatch(app.state.gateway)
    return watch


async def news_for(request: Request, waiting: Waiting, until: float) -> Seen | None:
    """What a look finds for a long poll until that time of the event loop, or until the client has gone. None: as in
    `FeedWatch.news`.

    Raises:
        Unauthenticated: the key has been revoked, or the token has expired.
    """
    loop = asyncio.get_running_loop()
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        seen = await watch_of(request.app).news(waiting, max(until - loop.time(), 0), unless=gone)
    finally:
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
    if seen is not None and seen.principal is None:
        raise Unauthenticated
    return seen


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
