"""`make bench ARGS=abuse`: one hostile caller, or hostile servers, beside 20 ordinary callers.

Each kind has a gateway of its own (`imap-gateway serve` on SQLite). Each round measures the ordinary callers alone, then
beside the abuse. The ratio of the two 99th percentiles counts; the table shows the median of the rounds. For mail servers
that hang it also shows how long another owner's mail takes. Gateway, callers and abuser share one machine.
"""

import argparse
import asyncio
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app import clock
from bench.attackers import (
    Attack,
    attacking,
    bodies_without_token,
    hanging_fetches,
    long_searches,
    slow_heads,
    slow_readers,
    streams_and_polls,
)
from bench.ordinary import Load, call_for, median_ratio
from bench.served import ABUSER, OWNER, Server, World, prepare, seconds_until, served_copy
from tools.servers.dovecot import Dovecot
from tools.servers.silent import SilentServer
from tools.servers.smtp import SmtpServer

TARGET = 2.0
"""The largest allowed ratio."""
SILENT_SUBMISSIONS = 24
SILENT_SERVERS = 3
HANGING_MAILBOXES = 100
MAIL_S = 120.0
SETTLED_S = 2.0
"""A hostile server gets no further connection for so long: everything that may hang hangs."""
QUIET_S = 2.0
"""After the abuse, before the next phase alone."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Kind:
    """A kind of abuse: it stands while the block of `abuse` runs. `mail` measures another owner's mail, in seconds."""

    abuse: Callable[[World], contextlib.AbstractContextManager[None]]
    mail: Callable[[World], float] | None = None


@dataclass(frozen=True)
class Phase:
    """One phase of a round; times in seconds."""

    p99_s: float
    requests: int
    failed: int
    mail_s: float | None


@dataclass(frozen=True)
class Round:
    """Alone, then beside the abuse."""

    alone: Phase
    beside: Phase


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench abuse", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each phase; a round has two")
    parser.add_argument("--kind", action="append", choices=KINDS, help="this kind alone; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all rounds")
    arguments = parser.parse_args(argv)
    console = Console()
    measured: dict[str, list[Round]] = {}
    with Dovecot() as dovecot, SmtpServer() as smtp, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        console.print("filling a database …")
        world = prepare(dovecot, smtp, Path(folder))
        for name in arguments.kind or KINDS:
            with served_copy(world, "copy") as running:
                measured[name] = _rounds(console, name, running, arguments.rounds, arguments.seconds)
    _print(console, measured)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(_as_json(measured), indent=1) + "\n")


def _rounds(console: Console, name: str, world: World, count: int, seconds: float) -> list[Round]:
    kind = KINDS[name]
    _phase(world, kind, 1)  # so that what happens only once is not measured
    rounds = []
    for number in range(1, count + 1):
        alone = _phase(world, kind, seconds)
        with kind.abuse(world):
            beside = _phase(world, kind, seconds)
        time.sleep(QUIET_S)
        rounds.append(Round(alone, beside))
        console.print(
            f"{name}, round {number}: p99 {alone.p99_s * 1000:.0f} ms alone, {beside.p99_s * 1000:.0f} ms beside"
        )
    return rounds


def _phase(world: World, kind: Kind, seconds: float) -> Phase:
    callers = world.callers()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        mail = pool.submit(kind.mail, world) if kind.mail is not None else None
        load: Load = asyncio.run(call_for(world.port, callers, seconds))
        mail_s = mail.result() if mail is not None else None
    return Phase(load.p99, len(load.seconds), load.failed, mail_s)


# Kinds of abuse


def _over_http(attack: Attack, path: Callable[[World], str]) -> Kind:
    def abuse(world: World) -> contextlib.AbstractContextManager[None]:
        return attacking(attack, world.port, world.token(ABUSER), path(world))

    return Kind(abuse)


@contextlib.contextmanager
def _hanging_fetches(world: World) -> Iterator[None]:
    with _mailboxes(world, 1, poll_interval_s=3600) as ids:
        path = f"/connectors/{ids[0]}/fetch"
        with attacking(hanging_fetches, world.port, world.token(ABUSER), path):
            yield


@contextlib.contextmanager
def _hanging_mailboxes(world: World) -> Iterator[None]:
    with _mailboxes(world, HANGING_MAILBOXES, poll_interval_s=1):
        yield


@contextlib.contextmanager
def _mailboxes(world: World, count: int, *, poll_interval_s: int) -> Iterator[list[str]]:
    """The abuser's mailboxes on a server that greets and is silent then."""
    with SilentServer(b"* OK ready\r\n") as silent:
        servers = [Server(silent.host, silent.port, f"m{next(_numbers)}@evil.test") for _ in range(count)]
        ids = [world.connector(ABUSER, server, poll_interval_s=poll_interval_s) for server in servers]
        _wait_until_settled([silent])
        yield ids
    for each in ids:
        _remove(world, each)


@contextlib.contextmanager
def _silent_submissions(world: World) -> Iterator[None]:
    """The abuser sends from two dozen mailboxes by servers that greet and are silent then. The mailboxes themselves are well, and
    have been fetched from before."""
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(SilentServer(b"220 ready\r\n")) for _ in range(SILENT_SERVERS)]
        ids = []
        for number in range(SILENT_SUBMISSIONS):
            user = world.dovecot.new_user()
            imap = Server(world.dovecot.host, world.dovecot.port, user)
            smtp = Server(silent[number % SILENT_SERVERS].host, silent[number % SILENT_SERVERS].port, user)
            ids.append(world.connector(ABUSER, imap, smtp, poll_interval_s=3600))

        def are_fetched() -> bool:
            shown = [world.call("GET", f"/connectors/{each}", ABUSER) for each in ids]
            return all(each["last_success_at"] for each in shown)

        seconds_until(are_fetched, MAIL_S, "the first cycles of the abuser's mailboxes")
        for each in ids:
            _submit(world, ABUSER, each, "silence")
        _wait_until_settled(silent)
        yield
    for each in ids:
        _remove(world, each)


def _remove(world: World, connector_id: str) -> None:
    """Delete a connector of the abuser's, when what hung at its server has ended."""

    def is_gone() -> bool:
        with contextlib.suppress(RuntimeError):  # a mail is being sent
            world.call("DELETE", f"/connectors/{connector_id}?messages=delete&submissions=cancel", ABUSER)
            return True
        return False

    seconds_until(is_gone, MAIL_S, "the end of what hung")


def _wait_until_settled(servers: Sequence[SilentServer]) -> None:
    """Wait until servers have connections, and get no more."""
    counted, since_s = 0, time.monotonic()

    def is_settled() -> bool:
        nonlocal counted, since_s
        now_s = time.monotonic()
        if (accepted := sum(each.accepted for each in servers)) != counted:
            counted, since_s = accepted, now_s
        return counted > 0 and now_s - since_s >= SETTLED_S

    seconds_until(is_settled, MAIL_S, "the connections to the silent servers")


# What another owner's mail takes


def _mail_out(world: World) -> float:
    """From the submission until the owner's server has the mail."""
    before = len(world.smtp.mails)
    _submit(world, OWNER, world.connector_id, "an answer")
    return seconds_until(lambda: len(world.smtp.mails) > before, MAIL_S, "the owner's mail to go out")


def _mail_in(world: World) -> float:
    """From the delivery to the owner's mailbox until the message is readable."""
    subject = f"number-{next(_numbers)}"
    world.dovecot.deliver(world.user, f"Subject: {subject}\r\nFrom: a@firma.test\r\n\r\nHello\r\n".encode())
    path = f"/messages?connector_id={world.connector_id}&subject={subject}"
    return seconds_until(
        lambda: world.call("GET", path, OWNER)["data"], MAIL_S, "the owner's mail to come in"
    )


def _submit(world: World, owner: str, connector_id: str, subject: str) -> None:
    body = {"connector_id": connector_id, "to": ["x@firma.test"], "subject": subject, "text": "Hello"}
    world.call("POST", "/submissions", owner, body)


KINDS = {
    "45 hanging fetches": Kind(_hanging_fetches),
    "36 MB bodies without a token": _over_http(bodies_without_token, lambda _: ""),
    "200 slow heads": _over_http(slow_heads, lambda _: ""),
    "60 slow readers of 30 MB": _over_http(slow_readers, lambda world: f"/messages/{world.large_id}/source"),
    "long searches": _over_http(long_searches, lambda _: "/messages?q=nowhere"),
    "streams and long polls": _over_http(
        streams_and_polls, lambda world: f"/messages?after={world.end_cursor}&wait_s=30"
    ),
    "24 silent submissions": Kind(_silent_submissions, _mail_out),
    "100 hanging mailboxes": Kind(_hanging_mailboxes, _mail_in),
}


# What is shown


def _print(console: Console, measured: dict[str, list[Round]]) -> None:
    table = Table(title="Ordinary callers beside abuse, medians of the rounds", title_justify="left")
    for name in ("", "p99 alone ms", "beside ms", "ratio", "failed", "their mail alone s", "beside s"):
        table.add_column(name, justify="right")
    for name, rounds in measured.items():
        table.add_row(name, *_figures(rounds))
    console.print(table)
    console.print(f"The ratio is to be at most {TARGET:g}. failed: answers other than 200, in all rounds.")
    console.print(_machine())


def _figures(rounds: Sequence[Round]) -> list[str]:
    alone = statistics.median(each.alone.p99_s for each in rounds)
    beside = statistics.median(each.beside.p99_s for each in rounds)
    failed = sum(each.alone.failed + each.beside.failed for each in rounds)
    mails = [(each.alone.mail_s, each.beside.mail_s) for each in rounds]
    pairs = [(one, other) for one, other in mails if one is not None and other is not None]
    return [
        f"{alone * 1000:.0f}",
        f"{beside * 1000:.0f}",
        f"{ratio(rounds):.1f}",
        str(failed),
        *(f"{statistics.median(times):.1f}" for times in zip(*pairs, strict=True)),
    ]


def ratio(rounds: Sequence[Round]) -> float:
    """The median over rounds of the 99th percentile beside the abuse, in multiples of the one alone."""
    return median_ratio([(each.alone.p99_s, each.beside.p99_s) for each in rounds])


def _machine() -> str:
    load = os.getloadavg()[0]
    return (
        f"{clock.utc_now():%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, load average {load:.1f}"
    )


def _as_json(measured: dict[str, list[Round]]) -> dict[str, object]:
    kinds = {
        name: {"ratio": ratio(rounds), "rounds": [dataclasses.asdict(each) for each in rounds]}
        for name, rounds in measured.items()
    }
    return {"machine": _machine(), "target": TARGET, "kinds": kinds}
