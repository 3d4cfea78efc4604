"""The jobs that run in this process beside the HTTP interface. Each makes one call of a service.

The scheduler runs jobs at fixed intervals. Fetching, sending and delivering start when work is due: each has a `DueClock`, which
commits wake. The scheduler only makes the clock look from time to time.

By default APScheduler 3 drops a run that starts a second late. So every job here has a long grace time. A job never runs
twice at the same time, and one run makes up for all missed runs.
"""

from collections.abc import Callable

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from app import clock, database_files
from app.due_clock import TICK_S, DueClock
from app.gateway import Gateway
from app.services.access import audit, stream_tickets
from app.services.connectors import credential_links
from app.services.events import deliveries, feed
from app.services.fetching import sweep
from app.services.messages import retention
from app.services.sending import ending, sender
from app.wakeups import Topic

log = structlog.get_logger(__name__)

MISFIRE_GRACE_S = 3600


Worker = sweep.Sweeper | sender.Sender | deliveries.Deliverer


class Jobs:
    """The scheduler and the worker threads for fetching and sending. The lifespan starts and stops them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._sweeper = sweep.Sweeper(gateway)
        self._sender = sender.Sender(gateway)
        self._deliverer = deliveries.Deliverer(gateway)
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(8)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": MISFIRE_GRACE_S},
        )
        self._clocks: list[DueClock] = []
        self._add_clock("sweep", Topic.FETCHING, self._sweeper, self._sweeper.sweep)
        self._add_clock("submissions", Topic.SENDING, self._sender, self._sender.send_due)
        self._add_clock("webhooks", Topic.EVENTS, self._deliverer, self._deliverer.deliver_due)
        self._add("retention", lambda: retention.delete_due(gateway), seconds=60)
        self._add(
            "checkpoint", lambda: database_files.forget_deleted(gateway.settings.database_url), seconds=15
        )
        self._add("submission_retention", lambda: ending.delete_old(gateway), seconds=60)
        self._add("event_retention", lambda: feed.delete_old(gateway), seconds=3600)
        self._add("audit_retention", lambda: audit.delete_old(gateway), seconds=3600)
        self._add("credential_links", lambda: credential_links.delete_expired(gateway), seconds=3600)
        self._add("stream_tickets", lambda: stream_tickets.delete_expired(gateway), seconds=600)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Start no more work, and wait until the running work has ended."""
        for due_clock in self._clocks:
            due_clock.stop()
        self._sweeper.stop()
        self._sender.stop()
        self._deliverer.stop()
        self._scheduler.shutdown(wait=True)

    def _add_clock(self, name: str, topic: Topic, worker: Worker, start_due: Callable[[], bool]) -> None:
        due_clock = DueClock(
            name,
            worker.pool,
            start_due,
            worker.next_due,
            succeeded=lambda: self._record_success(name),
            hears_all=lambda: self._gateway.db.hears_others,
        )
        self._gateway.db.wakeups.subscribe(topic, due_clock.wake)
        self._clocks.append(due_clock)
        self._schedule(name, due_clock.tick, seconds=TICK_S)

    def _record_success(self, name: str) -> None:
        self._gateway.last_runs[name] = clock.utc_now()

    def _add(self, name: str, call: Callable[[], object], *, seconds: float) -> None:
        self._schedule(name, lambda: _run(self._gateway, name, call), seconds=seconds)

    def _schedule(self, name: str, call: Callable[[], None], *, seconds: float) -> None:
        self._scheduler.add_job(
            call,
            "interval",
            seconds=seconds,
            id=name,
            next_run_time=clock.utc_now(),
        )


def _run(gateway: Gateway, name: str, call: Callable[[], object]) -> None:
    try:
        call()
        gateway.last_runs[name] = clock.utc_now()
    except Exception as exc:
        # The job runs again at its next time. The log names the error without its text, which may hold values.
        log.error("job_failed", job=name, error=type(exc).__name__)
        raise
