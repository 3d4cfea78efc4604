"""Requests that wait for a server of somebody else's: a mail server, a receiver of webhooks.

Such a server may take a minute for each answer. In the framework's pool of 40 threads 45 requests of this kind stop
everything else, so they have threads of their own; of those one caller gets a few, and so does one server. Who gets
none is told so at once: nothing is queued.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.places import Places

Result = TypeVar("Result")


class ServerRequests:
    """The threads. `stopping` is set when they end; long calls look at it."""

    def __init__(self, *, threads: int, per_caller: int, per_server: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="server-request")
        self._callers = Places(per_caller, total=threads)
        self._servers = Places(per_server, is_callers=False)
        self.stopping = threading.Event()

    async def run(self, caller: str, call: Callable[[], Result]) -> Result:
        """Run a call in a thread of this pool. It goes on to its end where whoever waits for it gives up.

        Raises:
            TooManyRequests: as many of this caller's run already as one may have.
            Overloaded: all threads are taken.
        """
        self._callers.take(caller)
        try:
            future = self._pool.submit(contextvars.copy_context().run, call)
        except BaseException:
            self._callers.give_back(caller)
            raise
        # Not when the waiting ends: the thread is taken until the call has ended.
        future.add_done_callback(lambda _: self._callers.give_back(caller))
        return await asyncio.wrap_future(future)

    def waiting_for(self, server: str) -> contextlib.AbstractContextManager[None]:
        """A block in which a call waits for this server, by whichever name it is known.

        Raises:
            Overloaded: as many calls wait for it as may.
        """
        return self._servers.taken(server)

    def close(self) -> None:
        """Start nothing more; calls that run end by themselves."""
        self.stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
