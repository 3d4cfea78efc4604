"""The sweep: starts the fetch cycles of the connectors that are due, in a fixed number of threads.

A mailbox that hangs holds a thread until its deadlines. So that such mailboxes never hold all of them, those that
fail get at most half of the threads, and those of one server never the last quarter. A server that asked for a
pause, or has just refused a login, is left alone for a while, whichever of its mailboxes it said it to; one that
turns everybody away is left alone ever longer (`app/server_cooldown.py`). A fetch by command asks none of this.
"""

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlmodel import col

from app import clock
from app.errors import LoginRefused, Throttled
from app.gateway import Gateway
from app.models import Connector, Cycle
from app.server_cooldown import server_name
from app.services.fetching import fetch_cycle

log = structlog.get_logger(__name__)

PAUSE_AFTER_REFUSED_LOGIN = timedelta(seconds=5)
"""Servers ban addresses by the rate of refused logins; others of the server only wait this long."""
PAUSE_AFTER_THROTTLE = timedelta(minutes=1)
PAUSE_AFTER_BREAKDOWN = timedelta(seconds=30)
"""Of a connector whose cycle could not even be recorded."""


@dataclass(frozen=True, slots=True)
class _Due:
    connector_id: str
    server: str
    """Host, port and how it is spoken to."""
    mailbox: str
    is_failing: bool


class Sweeper:
    """`sweep` is the job; it starts what is due and never waits."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._threads = gateway.settings.fetch_threads
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="fetch")
        self._lock = threading.Lock()
        self._running: dict[str, _Due] = {}
        self._resting: dict[str, datetime] = {}
        """Servers and connectors that are left alone until then."""
        self._stopping = threading.Event()

    def sweep(self) -> None:
        """Start the connectors that are due, as far as there are threads for them."""
        now = clock.utc_now()
        with self._lock:
            self._resting = {name: until for name, until in self._resting.items() if until > now}
            free = self._threads - len(self._running)
        if free <= 0:
            return
        for due in self._due(now):
            self._start(due)

    def stop(self) -> None:
        """Start nothing more; the cycles that run end after the batch in hand."""
        self._stopping.set()
        self._pool.shutdown(wait=True)

    def _due(self, now: datetime) -> list[_Due]:
        """What is due, the longest waiting first, those last that their server has just turned away."""
        with self._lock:
            running = list(self._running)
        statement = (
            select(
                col(Connector.id),
                col(Connector.imap_host),
                col(Connector.imap_port),
                col(Connector.imap_security),
                col(Connector.imap_username),
                col(Connector.status),
            )
            .where(
                col(Connector.status).in_(fetch_cycle.RUNNABLE),
                col(Connector.next_fetch_at) <= now,
                col(Connector.id).not_in(running),
            )
            .order_by(col(Connector.next_fetch_at), col(Connector.id))
        )
        with self._gateway.db.reading() as session:
            found = [
                _Due(connector_id, server_name(host, port, security), username, status == "failing")
                for connector_id, host, port, security, username, status in session.execute(statement)
            ]
        cooldown = self._gateway.server_cooldown
        return sorted(found, key=lambda due: cooldown.was_turned_away(due.server, due.mailbox))

    def _start(self, due: _Due) -> None:
        for_failing = max(1, self._threads // 2)
        for_one_server = max(1, self._threads - max(1, self._threads // 4))
        with self._lock:
            servers = Counter(each.server for each in self._running.values())
            failing = sum(each.is_failing for each in self._running.values())
            if (
                self._stopping.is_set()
                or len(self._running) >= self._threads
                or due.connector_id in self._running
                or due.server in self._resting
                or due.connector_id in self._resting
                or not self._gateway.server_cooldown.may_connect(due.server, connected=servers[due.server])
                or servers[due.server] >= for_one_server
                or (due.is_failing and failing >= for_failing)
            ):
                return
            self._running[due.connector_id] = due
            future = self._pool.submit(
                fetch_cycle.run, self._gateway, due.connector_id, stopping=self._stopping.is_set
            )
        future.add_done_callback(lambda done: self._ended(due, done))

    def _next_fetch_at(self, due: _Due) -> datetime | None:
        """When the server has said it wants to be asked again."""
        with self._gateway.db.reading() as session:
            connector = session.get(Connector, due.connector_id)
        return connector.next_fetch_at if connector is not None else None

    def _ended(self, due: _Due, done: Future[Cycle | None]) -> None:
        now = clock.utc_now()
        with self._lock:
            del self._running[due.connector_id]
            error = done.exception()
            if error is not None:
                log.error("cycle_not_recorded", connector_id=due.connector_id, error=type(error).__name__)
                self._resting[due.connector_id] = now + PAUSE_AFTER_BREAKDOWN
                return
            cycle = done.result()
            if cycle is None:
                return
            if cycle.error_code == LoginRefused.code:
                self._resting[due.server] = now + PAUSE_AFTER_REFUSED_LOGIN
            elif cycle.error_code == Throttled.code:
                self._resting[due.server] = self._next_fetch_at(due) or now + PAUSE_AFTER_THROTTLE
