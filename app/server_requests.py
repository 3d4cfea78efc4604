"""Runs requests that wait for another party's server: a mail server, or a receiver of webhooks.

Such a server may take a minute for each answer. In the framework's pool of 40 threads, 45 requests of this kind stop
everything else. So they have threads of their own. One caller gets only a few of these, and so does one server. A request
that gets no thread is refused at once: nothing is queued.
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
    """The threads. `stopping` is set when they end; long calls check it."""

    def __init__(self, *, threads: int, per_caller: int, per_server: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="server-request")
        self._callers = Places(per_caller, total=threads)
        self._servers = Places(per_server, is_callers=False)
        self.stopping = threading.Event()

    async def run(self, caller: str, call: Callable[[], Result]) -> Result:
        """Run a call in a thread of this pool. If the caller stops waiting, the call still runs to its end.

        Raises:
            TooManyRequests: this caller already has the largest number of calls.
            Overloaded: all threads are in use.
        """
        self._callers.take(caller)
        try:
            future = self._pool.submit(contextvars.copy_context().run, call)
        except BaseException:
            self._callers.give_back(caller)
            raise
        # Not when the caller stops waiting: the thread is in use until the call has ended.
        future.add_done_callback(lambda _: self._callers.give_back(caller))
        return await asyncio.wrap_future(future)

    def waiting_for(self, server: str) -> contextlib.AbstractContextManager[None]:
        """A block in which a call waits for this server. The name may be any that identifies the server.

        Raises:
            Overloaded: the largest number of calls already wait for this server.
        """
        return self._servers.taken(server)

    def close(self) -> None:
        """Start no more calls. Those that run end by themselves."""
        self.stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
