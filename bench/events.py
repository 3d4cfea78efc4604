"""`make bench ARGS=events`: how long an event takes from its commit to whoever waits for it, on PostgreSQL.

1. To webhooks, at 200 events a second, while the gateway fetches mail. Beside it a *bare push* carries the same events: LISTEN, and
   a POST for each notification, without a queue, an order, a signature or a row. The ratio of the two counts.
2. To 500 event streams and 500 long polls at one process. The gateway's CPU time for an event is compared with that for one
   stream.

The events are committed by this process, as another instance would. It also receives them, so there is one clock. Everything
shares one machine.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from app import clock, http_protocol, logs, migrations
from app.adapters.identity import development_token
from app.config import Settings
from app.events import EventType, NewEvent
from app.gateway import Gateway
from app.ids import new_id
from app.services.events import outbox
from bench.listeners import Heard, Listeners
from bench.mailbox import mailbox
from bench.mails import mails
from bench.ordinary import percentile
from bench.served import Process, serve
from tools.servers.dovecot import Dovecot
from tools.servers.postgres import Postgres
from tools.servers.process import ServerFailed, wait_until

CHANNEL = "bench_bare"
GROUP = "listeners"
BATCH = 300
"""Mails of each fetch."""
OPENING_S = 600.0
WAIT_S = 120.0
LISTENERS_OF_A_USER = 25
EVENT = EventType.CONNECTOR_RECOVERED


@dataclass(frozen=True)
class Latency:
    """From the commit to the receiver, in seconds."""

    p50_s: float
    p99_s: float
    received: int
    lost: int
    """Not received when the waiting ended."""


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench events", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each phase")
    parser.add_argument("--rate", type=float, default=200, help="events a second to webhooks")
    parser.add_argument("--webhooks", type=int, default=4, help="the events are divided among them")
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--polls", type=int, default=500)
    parser.add_argument(
        "--listened-rate", type=float, default=1, help="events a second to streams and long polls"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    arguments = parser.parse_args(argv)
    logs.configure(level=40)
    http_protocol.raise_descriptor_limit()
    console = Console()
    settings = Settings(
        secret_keys=secrets.token_urlsafe(32),
        jwt_secret=secrets.token_urlsafe(32),
        allowed_private_networks="127.0.0.0/8",
    )
    with (
        Postgres() as postgres,
        Dovecot() as dovecot,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        url = postgres.new_database()
        migrations.upgrade(url)
        settings = settings.model_copy(update={"database_url": url})
        with (
            contextlib.closing(Gateway.from_settings(settings)) as store,
            serve(Path(folder), url, settings) as process,
        ):
            bench = Bench(console, settings, store, process, dovecot)
            webhook, bare, fetched = bench.webhooks(arguments.webhooks, arguments.rate, arguments.seconds)
            one = bench.listeners(1, 0, arguments.listened_rate, arguments.seconds)
            many = bench.listeners(
                arguments.streams, arguments.polls, arguments.listened_rate, arguments.seconds
            )
    figures = {
        "machine": machine(),
        "arguments": {name: value for name, value in vars(arguments).items() if name != "json"},
        "mails_fetched_meanwhile": fetched,
        "webhooks": dataclasses.asdict(webhook),
        "bare_push": dataclasses.asdict(bare),
        "one_stream": dataclasses.asdict(one),
        "listeners": dataclasses.asdict(many),
    }
    show(console, webhook, bare, one, many)
    console.print(f"{fetched} mails fetched meanwhile. {machine()}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


@dataclass(frozen=True)
class Listened:
    """What listeners got of some events, and the gateway's CPU time for each event, beyond what it takes idle."""

    streams: Latency | None
    polls: Latency | None
    cpu_s: float


@dataclass(frozen=True)
class Bench:
    """A running gateway, and a second one in this process that commits events."""

    console: Console
    settings: Settings
    store: Gateway
    process: Process
    dovecot: Dovecot

    def webhooks(self, count: int, rate: float, seconds: float) -> tuple[Latency, Latency, int]:
        """To webhooks, and by the bare push; and how many mails were fetched meanwhile."""
        self.console.print(f"webhooks: {rate:g} events a second for {seconds:g} s, beside a fetch …")
        boxes = [mailbox(self.store, self.dovecot) for _ in range(count)]
        with receiver() as (address, received), self._bare_push(f"{address}/bare"):
            for box in boxes:
                body = {
                    "url": f"{address}/webhook",
                    "types": [EVENT.full],
                    "connector_ids": [box.connector_id],
                }
                self._call("POST", "/webhooks", body)
            with self._fetching() as fetched:
                wait_until(lambda: fetched != [], WAIT_S, "the fetch to begin")
                committed = self._commit([box.connector_id for box in boxes], rate, seconds)
                before = len(fetched)
            for path in ("/webhook", "/bare"):
                with contextlib.suppress(ServerFailed):  # what is lost is told
                    wait_until(lambda path=path: len(received[path]) >= len(committed), WAIT_S, path)  # type: ignore[misc]
        webhook, bare = (latency(committed, received[path], 1) for path in ("/webhook", "/bare"))
        return webhook, bare, sum(fetched[:before])

    def listeners(self, streams: int, polls: int, rate: float, seconds: float) -> Listened:
        """To event streams and long polls."""
        self.console.print(
            f"{streams} streams, {polls} long polls: {rate:g} events a second for {seconds:g} s …"
        )
        box = mailbox(self.store, self.dovecot)
        self._call("POST", "/group-bindings", {"connector_id": box.connector_id, "group": GROUP})
        users = range((streams + polls) // LISTENERS_OF_A_USER + 1)
        tokens = [self._token(f"user{number}", groups=[GROUP]) for number in users]
        with Listeners(self.process.port, tokens, streams=streams, polls=polls) as heard:
            wait_until(lambda: heard.waiting >= streams + polls, OPENING_S, "all listeners to listen")
            idle = self._idle_cpu_s(seconds)
            before_s, began = cpu_s(self.process.pid), time.perf_counter()
            committed = self._commit([box.connector_id], rate, seconds)
            with contextlib.suppress(ServerFailed):
                wait_until(lambda: _all_have(committed, heard, streams, polls), WAIT_S, "all to have heard")
            spent_s = cpu_s(self.process.pid) - before_s - idle * (time.perf_counter() - began)
        return Listened(
            latency(committed, heard.streams, streams) if streams else None,
            latency(committed, heard.polls, polls) if polls else None,
            max(spent_s, 0.0) / len(committed),
        )

    def _idle_cpu_s(self, seconds: float) -> float:
        """The gateway's CPU time for each second in which nothing happens."""
        before_s, began = cpu_s(self.process.pid), time.perf_counter()
        time.sleep(seconds)
        return (cpu_s(self.process.pid) - before_s) / (time.perf_counter() - began)

    def _commit(self, connector_ids: Sequence[str], rate: float, seconds: float) -> dict[str, float]:
        """Commit so many events a second, about the connectors in turn: when each was committed, by its subject."""
        committed: dict[str, float] = {}
        began = time.perf_counter()
        for number in range(max(1, int(rate * seconds))):
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            subject = f"connectors/{new_id()}"
            told = NewEvent(EVENT, connector_ids[number % len(connector_ids)], subject, {})
            with self.store.db.unit_of_work() as session:
                outbox.append(session, [told])
                session.execute(select(func.pg_notify(CHANNEL, json.dumps({"subject": subject}))))
            committed[subject] = time.perf_counter()
        return committed

    @contextlib.contextmanager
    def _fetching(self) -> Iterator[list[int]]:
        """The gateway fetches one batch of mails after the other; how many in each."""
        box, fetched, is_over = mailbox(self.store, self.dovecot), [], threading.Event()
        raws = list(mails(BATCH))

        def fetch() -> None:
            while not is_over.is_set():
                self.dovecot.deliver_all(box.user, raws)
                fetched.append(self._call("POST", f"/connectors/{box.connector_id}/fetch")["stored"])

        thread = threading.Thread(target=fetch)
        thread.start()
        try:
            yield fetched
        finally:
            is_over.set()
            thread.join()

    @contextlib.contextmanager
    def _bare_push(self, address: str) -> Iterator[None]:
        command = [sys.executable, "-m", "bench.pusher", self.settings.database_url, CHANNEL, address]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as pusher:
            assert pusher.stdin is not None
            assert pusher.stdout is not None
            assert pusher.stdout.readline() == b"listening\n", "the bare push did not start"
            yield
            pusher.stdin.close()

    def _call(self, method: str, path: str, body: object = None) -> Any:
        token = self._token("administrator", roles=["admin"])
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.process.client.request(method, path, json=body, headers=headers)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def _token(self, user: str, **claims: list[str]) -> str:
        return development_token(self.settings, claims={"sub": user, **claims}, ttl_s=7200)


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, dict[str, dict[str, list[float]]]]]:
    """A receiver of webhooks: its address, and when what was received, by path and subject."""
    received: dict[str, dict[str, list[float]]] = {"/webhook": {}, "/bare": {}}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received[self.path].setdefault(body["subject"], []).append(time.perf_counter())
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        server.server_close()


def _all_have(committed: dict[str, float], heard: Heard, streams: int, polls: int) -> bool:
    return all(
        len(heard.streams.get(subject, ())) >= streams and len(heard.polls.get(subject, ())) >= polls
        for subject in committed
    )


def latency(committed: dict[str, float], received: dict[str, list[float]], receivers: int) -> Latency:
    """Of the first `receivers` times that each event came: what comes again is not lost."""
    took = [
        max(0.0, at - committed[subject])
        for subject in committed
        for at in sorted(received.get(subject, ()))[:receivers]
    ]
    lost = len(committed) * receivers - len(took)
    return Latency(percentile(took, 50), percentile(took, 99), len(took), lost)


def cpu_s(pid: int) -> float:
    """The CPU time of a process so far, with that of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(console: Console, webhook: Latency, bare: Latency, one: Listened, many: Listened) -> None:
    """Print the tables."""
    table = Table(title="From the commit to the receiver", title_justify="left")
    for name in ("", "p50 ms", "p99 ms", "received", "lost"):
        table.add_column(name, justify="right")
    rows = {
        "webhooks": webhook,
        "bare push": bare,
        "one stream": one.streams,
        "streams": many.streams,
        "long polls": many.polls,
    }
    for name, latency in rows.items():
        if latency is not None:
            figures = (f"{latency.p50_s * 1000:.1f}", f"{latency.p99_s * 1000:.1f}")
            table.add_row(name, *figures, str(latency.received), str(latency.lost))
    console.print(table)
    console.print(
        f"webhooks / bare push: p50 × {webhook.p50_s / bare.p50_s:.1f}, p99 × {webhook.p99_s / bare.p99_s:.1f}"
    )
    console.print(
        f"CPU for an event: {one.cpu_s * 1000:.1f} ms with one stream, {many.cpu_s * 1000:.1f} ms with all"
        f" (× {many.cpu_s / max(one.cpu_s, 0.001):.1f})"
    )


def machine() -> str:
    """The machine, and its load."""
    load = os.getloadavg()[0]
    return (
        f"{clock.utc_now():%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, load average {load:.1f}"
    )
