"""The sweep: starts the fetch cycles of the connectors that are due, in a fixed number of threads.

A mailbox that hangs holds a thread until its time limits. Such mailboxes must never hold all threads, so failing ones get at
most half of them, and those of one server never get the last quarter. If a server asked for a pause, or has just refused a
login, all its mailboxes wait for a while. A server that turns all mailboxes away gets a cooldown (`app/server_cooldown.py`).
None of this applies to a fetch by command.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlmodel import col

from app import clock
from app.errors import REFUSED_LOGIN_CODES, Throttled, TooManyRefusedLogins
from app.gateway import Gateway
from app.models import Connector
from app.server_cooldown import server_name
from app.services.fetching import fetch_cycle, outcomes
from app.services.mailboxes import shares
from app.states import ConnectorStatus
from app.worker_pool import Task, WorkerPool

PAUSE_AFTER_REFUSED_LOGIN = timedelta(seconds=5)
"""Servers ban addresses by the rate of refused logins, so the other mailboxes of the server wait this long."""
PAUSE_AFTER_THROTTLE = timedelta(minutes=1)
LIST_AGAIN_S = 1.0
"""Due connectors that found no thread are kept this long before they are listed again, so that the end of a cycle starts the
next one without a query."""
FAILING = "failing"
"""The group of the connectors whose last cycle failed."""


@dataclass(frozen=True, slots=True)
class _Due:
    connector_id: str
    server: str
    """Host, port and security."""
    mailbox: str
    is_failing: bool
    owner: str
    """Whose share of the threads it uses: that of the owner, or, for a shared connector, that of the server."""


class Sweeper:
    """`sweep` is the job; it starts the cycles that are due and never waits."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        threads = gateway.settings.fetch_threads
        self._for_failing = max(1, threads // 2)
        self._for_one_server = max(1, threads - max(1, threads // 4))
        self.pool = WorkerPool("fetch", threads)
        self._waiting: list[_Due] = []
        self._listed_s = 0.0

    def sweep(self) -> bool:
        """Start the due cycles, as long as there are free threads. Returns whether some could not start now."""
        if self.pool.is_full():
            return True
        now_s = time.monotonic()
        if not self._waiting or now_s - self._listed_s >= LIST_AGAIN_S:
            self._waiting, self._listed_s = self._due(clock.utc_now()), now_s
        self._waiting = [
            each for each in self.pool.in_turn(self._waiting, lambda due: due.owner) if not self._start(each)
        ]
        return bool(self._waiting)

    def next_due(self) -> datetime | None:
        """The next time at which a cycle becomes due. None: there is none."""
        due_at = col(Connector.next_fetch_at)
        statement = (
            select(due_at)
            .where(col(Connector.status).in_(fetch_cycle.RUNNABLE), due_at > clock.utc_now())
            .order_by(due_at)
            .limit(1)
        )
        with self._gateway.db.reading() as session:
            return session.execute(statement).scalar_one_or_none()

    def stop(self) -> None:
        """Start no more cycles. Running cycles end after their present batch."""
        self.pool.stop()

    def _due(self, now: datetime) -> list[_Due]:
        """The connectors that are due; the one that has waited longest comes first. Mailboxes that their server has just turned
        away come last."""
        statement = (
            select(
                col(Connector.id),
                col(Connector.imap_host),
                col(Connector.imap_port),
                col(Connector.imap_security),
                col(Connector.imap_username),
                col(Connector.status),
                col(Connector.owner),
            )
            .where(
                col(Connector.status).in_(fetch_cycle.RUNNABLE),
                col(Connector.next_fetch_at) <= now,
                col(Connector.id).not_in(self.pool.running()),
            )
            .order_by(col(Connector.next_fetch_at), col(Connector.id))
        )
        with self._gateway.db.reading() as session:
            found = [
                _Due(
                    connector_id,
                    server,
                    username,
                    status == ConnectorStatus.FAILING,
                    shares.holder(owner, server),
                )
                for connector_id, host, port, security, username, status, owner in session.execute(statement)
                for server in [server_name(host, port, security)]
            ]
        cooldown = self._gateway.server_cooldown
        return sorted(found, key=lambda due: cooldown.was_turned_away(due.server, due.mailbox))

    def _start(self, due: _Due) -> bool:
        connected = self.pool.count(due.server)
        if not self._gateway.server_cooldown.may_connect(due.server, connected=connected):
            return False
        groups = {due.server: self._for_one_server}
        if due.is_failing:
            groups[FAILING] = self._for_failing
        return self.pool.start(Task(due.connector_id, lambda: self._fetch(due), groups, due.owner))

    def _fetch(self, due: _Due) -> bool:
        """Run a cycle. Returns whether it ran: another instance may be fetching from the mailbox."""
        try:
            cycle = fetch_cycle.run(self._gateway, due.connector_id, stopping=self.pool.stopping.is_set)
        except TooManyRefusedLogins as exc:
            outcomes.wait(self._gateway, due.connector_id, exc)
            return False
        now = clock.utc_now()
        if cycle is None:
            return False
        if cycle.error_code in REFUSED_LOGIN_CODES:
            self.pool.rest(due.server, now + PAUSE_AFTER_REFUSED_LOGIN)
        elif cycle.error_code == Throttled.code:
            self.pool.rest(due.server, self._next_fetch_at(due) or now + PAUSE_AFTER_THROTTLE)
        return True

    def _next_fetch_at(self, due: _Due) -> datetime | None:
        """The time from which the server accepts requests again, if it asked for a pause."""
        with self._gateway.db.reading() as session:
            connector = session.get(Connector, due.connector_id)
        return connector.next_fetch_at if connector is not None else None
