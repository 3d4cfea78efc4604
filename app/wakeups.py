"""Wakes the workers when a commit brings work that is due now, so that they need not look again and again.

`Database.unit_of_work` records, at each flush, which work the transaction brings (`work_of`). After the commit it wakes the
subscribers. On PostgreSQL it also sends NOTIFY in the same transaction, and `adapters.commits_elsewhere` in the other processes
receives it. A wake-up is only a hint: it may come twice or for nothing, and it may be lost. So each worker also looks for work from
time to time.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Session, UOWTransaction

from app import clock
from app.models import Connector, Event, Submission, Webhook

CHANNEL = "imap_gateway"
"""The channel of NOTIFY on PostgreSQL. Each database has its own channels."""
SOON = timedelta(seconds=5)
"""Work that is due later than this wakes no worker, because each worker looks sooner by itself (`due_clock.TICK_S`)."""
_INFO = "wakeups"


class Topic(StrEnum):
    """The kinds of work that a commit brings."""

    EVENTS = "events"
    """The feed has grown, or there is something to deliver to a webhook."""
    FETCHING = "fetching"
    SENDING = "sending"


WATCHED: Mapping[type, Mapping[str, Topic]] = {
    Event: {"position": Topic.EVENTS},
    Webhook: {"active": Topic.EVENTS, "resting_until": Topic.EVENTS},
    Connector: {
        "next_fetch_at": Topic.FETCHING,
        "sending_status": Topic.SENDING,
        "sending_next_attempt_at": Topic.SENDING,
    },
    Submission: {"next_attempt_at": Topic.SENDING},
}
"""The columns whose change may bring work. A time later than `SOON` brings none."""


class Wakeups:
    """The subscribers of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[Topic, list[Callable[[], None]]] = {topic: [] for topic in Topic}
        self._own = secrets.token_hex(8)

    def subscribe(self, topic: Topic, call: Callable[[], None]) -> None:
        """Call this after each commit that brings such work, from any thread. It must be quick and must not raise."""
        with self._lock:
            self._calls[topic].append(call)

    def wake(self, topics: Iterable[Topic]) -> None:
        """Wake the subscribers of these topics."""
        with self._lock:
            calls = [call for topic in topics for call in self._calls[topic]]
        for call in calls:
            call()

    def told(self, topics: Iterable[Topic]) -> str:
        """The text of the message to the other processes."""
        return " ".join([self._own, *sorted(topics)])

    def hear(self, told: str) -> None:
        """Wake the subscribers for a message from another process. A message from this process does nothing."""
        source, *names = told.split(" ")
        if source != self._own:
            self.wake(topic for topic in Topic if topic.value in names)


def require(session: Session, topic: Topic) -> None:
    """Wake the subscribers after the commit of this session. For changes by an SQL statement, which a flush does not show."""
    session.info.setdefault(_INFO, set()).add(topic)


def work_of(session: Session) -> set[Topic]:
    """The topics that the session has brought work for so far."""
    topics: set[Topic] = session.info.get(_INFO, set())
    return topics


def record_work(session: Session, _context: UOWTransaction) -> None:
    """Record the work that a flush brings. A listener of SQLAlchemy's `after_flush`."""
    soon = clock.utc_now() + SOON
    for row in [*session.new, *session.dirty]:
        for name, topic in WATCHED.get(type(row), {}).items():
            if _brings_work(row, name, soon):
                require(session, topic)


def _brings_work(row: Any, name: str, soon: datetime) -> bool:
    if not inspect(row).attrs[name].history.has_changes():
        return False
    value = getattr(row, name)
    return not isinstance(value, datetime) or value <= soon
