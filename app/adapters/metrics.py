"""Figures for Prometheus. One registry for each gateway, so that two in one process do not add up.

Labels come from fixed sets (statuses, outcomes, route templates). They hold no address, no id, and no text of a caller.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.process_collector import ProcessCollector

from app.mime.model import DefectCode

CONTENT_TYPE = CONTENT_TYPE_LATEST
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True)
class Figures:
    """The figures from the database at one moment."""

    connectors_by_status: Mapping[str, int]
    cycles_by_outcome: Mapping[str, int]
    """Cycles that finished within the last hour."""
    messages: int
    quarantined: int
    outbox_position: int
    pending_deliveries: int
    queued_submissions: int


class Metrics:
    """Counts what this process does, and shows these counts with the figures from the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "gateway_http_requests",
            "HTTP requests answered by this process.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._mails = Counter(
            "gateway_mails_stored", "Mails stored by this process.", registry=self._registry
        )
        self._defects = Counter(
            "gateway_mail_defects",
            "Mails stored by this process that have a defect, by its code.",
            ["code"],
            registry=self._registry,
        )
        for code in DefectCode:  # Prometheus cannot compute the rate of a counter that does not exist yet
            self._defects.labels(code.value)
        self._database_up = self._gauge("gateway_database_up", "1 if the database answered.")
        self._connectors = self._gauge("gateway_connectors", "Connectors by status.", "status")
        self._cycles = self._gauge(
            "gateway_cycles_1h", "Fetch cycles of the last hour by outcome.", "outcome"
        )
        self._messages = self._gauge("gateway_messages_stored", "Messages stored now.")
        self._quarantined = self._gauge("gateway_quarantined", "Mails in quarantine.")
        self._position = self._gauge("gateway_outbox_position", "Position of the last event.")
        self._deliveries = self._gauge("gateway_deliveries_pending", "Webhook deliveries that wait.")
        self._submissions = self._gauge("gateway_submissions_queued", "Submissions not yet sent.")

    def count_request(self, *, method: str, route: str | None, status: int) -> None:
        """Count one answered request. `route` is the template; None: no route matched."""
        known = method if method in KNOWN_METHODS else "OTHER"
        self._requests.labels(known, route or "unmatched", str(status)).inc()

    def count_mails(self, stored: int, defects: Mapping[str, int]) -> None:
        """Count stored mails, and for each defect the mails that have it."""
        self._mails.inc(stored)
        for code, mails in defects.items():
            self._defects.labels(code).inc(mails)

    def page(self, figures: Figures | None) -> bytes:
        """The page for the scraper. Without figures it shows the database as down."""
        with self._lock:
            self._database_up.set(0 if figures is None else 1)
            if figures is not None:
                _set_labelled(self._connectors, figures.connectors_by_status)
                _set_labelled(self._cycles, figures.cycles_by_outcome)
                self._messages.set(figures.messages)
                self._quarantined.set(figures.quarantined)
                self._position.set(figures.outbox_position)
                self._deliveries.set(figures.pending_deliveries)
                self._submissions.set(figures.queued_submissions)
            return generate_latest(self._registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self._registry)


class ShortMemory:
    """Keeps a value for some seconds, because the page is open to everybody and counting takes time."""

    def __init__(self, keep_s: float, now_s: Callable[[], float]) -> None:
        self._keep_s = keep_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._value: Figures | None = None
        self._made_at_s = 0.0

    def get(self, make: Callable[[], Figures]) -> Figures:
        """The kept value, or a new one from `make` if the kept one is too old."""
        with self._lock:
            now_s = self._now_s()
            if self._value is None or not 0 <= now_s - self._made_at_s < self._keep_s:
                self._value, self._made_at_s = make(), now_s
            return self._value


def _set_labelled(gauge: Gauge, values: Mapping[str, int]) -> None:
    gauge.clear()
    for label, value in values.items():
        gauge.labels(label).set(value)
