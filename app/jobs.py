"""The jobs that run beside the HTTP interface, in this process: each is one call of a service.

APScheduler 3 drops a run that starts a second late unless told otherwise: every job here has a generous
grace, runs once at a time, and makes up for missed runs by one.
"""

from collections.abc import Callable

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from app import clock, database_files
from app.gateway import Gateway
from app.services.access import audit
from app.services.connectors import credential_links
from app.services.events import deliveries, feed
from app.services.fetching import sweep
from app.services.messages import retention
from app.services.sending import sender

log = structlog.get_logger(__name__)

MISFIRE_GRACE_S = 3600


class Jobs:
    """The scheduler and the worker threads of fetching and sending; started and stopped by the lifespan."""

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
        self._add("sweep", self._sweeper.sweep, seconds=1)
        self._add("submissions", self._sender.send_due, seconds=1)
        self._add("webhooks", self._deliverer.deliver_due, seconds=1)
        self._add("retention", lambda: retention.delete_due(gateway), seconds=60)
        self._add(
            "checkpoint", lambda: database_files.forget_deleted(gateway.settings.database_url), seconds=15
        )
        self._add("event_retention", lambda: feed.delete_old(gateway), seconds=3600)
        self._add("audit_retention", lambda: audit.delete_old(gateway), seconds=3600)
        self._add("credential_links", lambda: credential_links.delete_expired(gateway), seconds=3600)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Start nothing more, wait for what runs."""
        self._sweeper.stop()
        self._sender.stop()
        self._deliverer.stop()
        self._scheduler.shutdown(wait=True)

    def _add(self, name: str, call: Callable[[], object], *, seconds: int) -> None:
        self._scheduler.add_job(
            lambda: _run(self._gateway, name, call),
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
        # A job is tried again at its next turn; the log says what happened, without the values in the text.
        log.error("job_failed", job=name, error=type(exc).__name__)
        raise
