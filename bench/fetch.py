"""`make bench`: compares the fetch cycle with *draining*, which fetches and moves the same mails in the same batches, but
keeps nothing.

Each round drains one mailbox and fetches from another with the same mails, on one Dovecot. It measures wall time and CPU
time (of this process with its children, not of the mail server). The ratio within a round counts; the table shows the
median of the rounds.
"""

import argparse
import contextlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imapclient
from rich.console import Console
from rich.table import Table

from app import logs, migrations
from app.config import Settings
from app.gateway import Gateway
from bench.mailbox import Mailbox, mailbox
from bench.mails import mails
from tools.servers.dovecot import Dovecot
from tools.servers.postgres import Postgres

BATCH_MAILS = 50


@dataclass(frozen=True)
class Cost:
    """The cost of one run."""

    wall_s: float
    cpu_s: float
    memory_octets: int
    """The growth of this process's largest memory use."""


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench fetch", description=__doc__)
    parser.add_argument("--mails", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgresql", action="store_true", help="store in PostgreSQL instead of SQLite")
    arguments = parser.parse_args(argv)
    logs.configure(level=40)
    console = Console()
    raws = list(mails(arguments.mails))
    octets = sum(map(len, raws))
    console.print(f"{len(raws)} mails, {octets / 1e6:.0f} MB, {arguments.rounds} rounds")
    drained: list[Cost] = []
    fetched: list[Cost] = []
    with Dovecot() as server, _database(postgresql=arguments.postgresql) as url:
        migrations.upgrade(url)
        with contextlib.closing(_gateway(url)) as gateway:
            _warm_up(gateway, server)
            for number in range(1, arguments.rounds + 1):
                console.print(f"round {number}: filling two mailboxes …")
                box, user = mailbox(gateway, server), server.new_user()
                server.deliver_all(box.user, raws)
                server.deliver_all(user, raws)
                drained.append(_measured(lambda user=user: _drain(server, user)))  # type: ignore[misc]
                fetched.append(_measured(lambda box=box: _fetch(box, len(raws))))  # type: ignore[misc]
    _print(console, "PostgreSQL" if arguments.postgresql else "SQLite", drained, fetched, len(raws), octets)


def _warm_up(gateway: Gateway, server: Dovecot) -> None:
    """Start everything that starts only once: parser processes, pools, the server's caches."""
    box = mailbox(gateway, server)
    server.deliver_all(box.user, list(mails(100)))
    _fetch(box, 100)


def _fetch(box: Mailbox, count: int) -> None:
    cycle = box.fetch()
    assert (cycle.stored, cycle.moved) == (count, count), "the cycle did not do its work"


def _drain(server: Dovecot, user: str) -> None:
    client = imapclient.IMAPClient(server.host, server.port, ssl=False, timeout=60)
    client._imap.debug = 0  # otherwise it formats every literal for a log that nobody reads
    client.login(user, server.password)
    client.select_folder("INBOX")
    uids = client.search("UNDELETED")
    for start in range(0, len(uids), BATCH_MAILS):
        batch = uids[start : start + BATCH_MAILS]
        found = client.fetch(batch, ["BODY.PEEK[]", "INTERNALDATE"])
        assert len(found) == len(batch)
        client.move(batch, "Trash")
    client.logout()


def _measured(work: Callable[[], None]) -> Cost:
    cpu_before, memory_before = _cpu_s(), _peak_octets()
    started = time.perf_counter()
    work()
    wall_s = time.perf_counter() - started
    return Cost(wall_s, _cpu_s() - cpu_before, _peak_octets() - memory_before)


def _cpu_s() -> float:
    """CPU time of this process and of its living children: the parser processes do not end between runs."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + _children_cpu_s()


def _children_cpu_s() -> float:
    """CPU time of the direct children that run this Python, from /proc, without the servers."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            is_parser = b"app.mime.worker" in (stat.parent / "cmdline").read_bytes()
            if is_parser and int(fields[1]) == _own_pid():
                ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def _own_pid() -> int:
    return int(Path("/proc/self").readlink().name)


def _peak_octets() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def _database(*, postgresql: bool) -> Iterator[str]:
    if postgresql:
        with Postgres() as server:
            yield server.new_database()
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield f"sqlite:///{folder}/gateway.db"


def _gateway(url: str) -> Gateway:
    return Gateway.from_settings(
        Settings(
            database_url=url,
            secret_keys="the benchmark's own secret key and long enough",
            allowed_private_networks="127.0.0.0/8",
            fetch_threads=2,
        )
    )


def _print(
    console: Console, database: str, drained: list[Cost], fetched: list[Cost], count: int, octets: int
) -> None:
    table = Table(title=f"Fetch cycle on {database}, medians of {len(fetched)} rounds", title_justify="left")
    for name in ("", "wall s", "CPU s", "mails/s", "MB/s", "× drain, wall", "× drain, CPU", "memory +MB"):
        table.add_column(name, justify="right")
    for name, costs in (("drain", drained), ("fetch cycle", fetched)):
        wall_s = statistics.median(cost.wall_s for cost in costs)
        pairs = list(zip(costs, drained, strict=True))
        table.add_row(
            name,
            f"{wall_s:.2f}",
            f"{statistics.median(cost.cpu_s for cost in costs):.2f}",
            f"{count / wall_s:.0f}",
            f"{octets / wall_s / 1e6:.0f}",
            f"{statistics.median(cost.wall_s / drain.wall_s for cost, drain in pairs):.2f}",
            f"{statistics.median(cost.cpu_s / drain.cpu_s for cost, drain in pairs):.2f}",
            f"{max(cost.memory_octets for cost in costs) / 1e6:.0f}",
        )
    console.print(table)
