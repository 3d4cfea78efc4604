"""The HTTP server's connections: how many there may be, and how long a client may take.

This module does not look at requests. A connection costs a file descriptor, and a client can open one without a token. So the
number of connections stays below the limit of the process, and fetching, sending and the database keep the descriptors that they
need.
"""

import asyncio
import resource
import socket
import struct
from collections.abc import Callable

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

log = structlog.get_logger(__name__)

HEAD_S = 10.0
"""The time within which the head of a request must arrive: from the beginning of the connection, or from the first octet of a
later request. The rest of a body that was already answered counts, too."""
STALL_LOOK_S = 15.0
STALL_OCTETS = 64 * 1024
"""A client that takes less than this of its answer within `STALL_LOOK_S` is cut off, because its answer is kept in memory."""
REFUSALS_LOGGED_EVERY_S = 10.0
DESCRIPTORS_FOR_ONE_FETCH = 8
"""For one fetching thread: the connection to the mail server, the pipes of the parser, files."""
DESCRIPTORS_FOR_ONE_SESSION = 3
"""For one database session: on SQLite the database file, its write-ahead log and its index."""
DESCRIPTORS_OTHERWISE = 64
BACKLOG = 100
"""How many connections the event loop accepts in one round. A refused connection keeps its descriptor for the few rounds until
it is closed."""
ROUNDS_TO_REFUSE = 4
CLOSE_AT_ONCE = struct.pack("ii", 1, 0)
"""struct linger: on, for no time."""
FEWEST_CONNECTIONS = 16


def raise_descriptor_limit() -> None:
    """Raise the process's limit of open files to the highest that the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def protocol_class(
    *, fetch_threads: int, database_sessions: int, stopping: Callable[[], None] = lambda: None
) -> type[H11Protocol]:
    """The protocol for uvicorn. It reserves descriptors for this number of fetching threads and database sessions. `stopping` is
    called when the server begins to stop, for each connection that is open then, in the thread of the event loop."""
    reserve = (
        DESCRIPTORS_OTHERWISE
        + BACKLOG * ROUNDS_TO_REFUSE
        + fetch_threads * DESCRIPTORS_FOR_ONE_FETCH
        + database_sessions * DESCRIPTORS_FOR_ONE_SESSION
    )
    return type(
        "GatewayProtocol",
        (_Protocol,),
        {"reserve": reserve, "refusals": _Refusals(), "stopping": staticmethod(stopping)},
    )


class _Refusals:
    """Counts refused connections and logs them now and then: a line for each would fill the disk."""

    def __init__(self) -> None:
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def count(self, loop: asyncio.AbstractEventLoop) -> None:
        self._count += 1
        if self._timer is None:
            self._log()
            self._timer = loop.call_later(REFUSALS_LOGGED_EVERY_S, self._end_of_period)

    def _end_of_period(self) -> None:
        self._timer = None
        if self._count:
            self._log()

    def _log(self) -> None:
        log.warning("connections_refused", refused=self._count)
        self._count = 0


class _Protocol(H11Protocol):
    reserve: int
    refusals: _Refusals
    stopping: Callable[[], None]
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Asked each time: an operator may change the limit of a running process.
        limit = max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - self.reserve, FEWEST_CONNECTIONS)
        if len(self.connections) > limit:
            self.refusals.count(self.loop)
            transport.abort()
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        if self._head_timer is None and not self._is_at_work():
            self._wait_for_head()
        super().data_received(data)
        if self._is_at_work():
            self._stop_waiting_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting_for_head()
        self._stop_watching_answer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_at_work():  # the next request has already arrived
            self._stop_waiting_for_head()

    def shutdown(self) -> None:
        type(self).stopping()
        super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._watch_answer(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_watching_answer()
        super().resume_writing()

    def _is_at_work(self) -> bool:
        """Whether a request has arrived, with its head, that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_waiting_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch_answer(self, waiting_octets: int) -> None:
        self._stall_timer = self.loop.call_later(STALL_LOOK_S, self._look_at_answer, waiting_octets)

    def _look_at_answer(self, before: int) -> None:
        waiting = self.transport.get_write_buffer_size()
        if before - waiting < STALL_OCTETS:
            self._give_up()
        else:
            self._watch_answer(waiting)

    def _stop_watching_answer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _give_up(self) -> None:
        # Without this the kernel would keep what it has not sent yet, for minutes.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_AT_ONCE)
        self.transport.abort()
