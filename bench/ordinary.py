"""Ordinary callers: each asks about ten times a second, over one connection, what a web page would ask.

One answer is waited for before the next request. Times are from sending a request to the last octet of its answer.
"""

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

CALLERS = 20
EVERY_S = 0.1
ANSWER_S = 30.0
"""A request that is not answered by then has failed, and counts with this time."""


@dataclass
class Load:
    """What callers saw in one phase."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    """Answers that were not 200, and requests without an answer."""

    @property
    def p99(self) -> float:
        return percentile(self.seconds, 99)


@dataclass(frozen=True)
class Caller:
    """A caller's token, and what it asks for in turn."""

    token: str
    paths: tuple[str, ...]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that is not exceeded by so many percent of them. There must be one."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def median_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """The median over rounds of what was measured beside the abuse, in multiples of what was measured alone."""
    return statistics.median(beside / alone for alone, beside in pairs)


async def call_for(port: int, callers: Sequence[Caller], seconds: float) -> Load:
    """Let the callers ask for so long. They begin spread over the first tenth of a second."""
    load = Load()
    ends_at = time.perf_counter() + seconds
    async with asyncio.TaskGroup() as group:
        for number, caller in enumerate(callers):
            group.create_task(_ask(port, caller, EVERY_S * number / len(callers), ends_at, load))
    return load


async def _ask(port: int, caller: Caller, delay_s: float, ends_at: float, load: Load) -> None:
    await asyncio.sleep(delay_s)
    connection: Connection | None = None
    for path in itertools.cycle(caller.paths):
        started = time.perf_counter()
        if started >= ends_at:
            break
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = connection or await Connection.open(port)
                status = await connection.get(path, caller.token)
        except (OSError, EOFError, TimeoutError):
            status = 0
            if connection is not None:
                connection.close()
            connection = None
        took = time.perf_counter() - started
        load.seconds.append(took if status else ANSWER_S)
        load.failed += status != 200
        await asyncio.sleep(max(0.0, EVERY_S - took))
    if connection is not None:
        connection.close()


class Connection:
    """One HTTP/1.1 connection that is kept; cheap, so that measuring takes little of the machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to the gateway on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def get(self, path: str, token: str) -> int:
        """Ask, and read the answer to its end; the status. OSError or EOFError where the connection ends."""
        self.writer.write(request("GET", path, token))
        return await self.answer()

    async def answer(self) -> int:
        """Read one answer; the status."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        await self._reader.readexactly(length)
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Close it, without waiting."""
        self.writer.close()


def request(method: str, path: str, token: str, length: int = 0) -> bytes:
    """The head of a request; without a token it has no Authorization."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}"]
    lines += ["Content-Type: application/json"] if length else []
    lines += [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, "", ""]).encode()
