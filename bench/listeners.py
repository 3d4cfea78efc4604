"""Many listeners at the feed of one gateway: event streams, and long polls that poll again at once.

They share one thread, and read no more of HTTP than they must, so that measuring takes little of the machine.
"""

import asyncio
import contextlib
import json
import threading
import time
from dataclasses import dataclass, field

from bench.ordinary import request

OPENING = 10
"""So many listeners open their connections at once."""


@dataclass
class Heard:
    """When each listener got each event, by the event's subject."""

    streams: dict[str, list[float]] = field(default_factory=dict)
    polls: dict[str, list[float]] = field(default_factory=dict)
    waiting: int = 0
    """How many listen."""


class Listeners:
    """Listeners in a thread of their own, until the block ends. They take the tokens in turn."""

    def __init__(self, port: int, tokens: list[str], *, streams: int, polls: int) -> None:
        self.heard = Heard()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._listening = _listen(port, tokens, streams, polls, self.heard)

    def __enter__(self) -> Heard:
        self._thread.start()
        self._task = asyncio.run_coroutine_threadsafe(self._run(), self._loop).result()
        return self.heard

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._listening)

    async def _end(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


async def _listen(port: int, tokens: list[str], streams: int, polls: int, heard: Heard) -> None:
    door = asyncio.Semaphore(OPENING)
    async with asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(_stream(port, tokens[number % len(tokens)], heard, door))
        for number in range(polls):
            group.create_task(_poll(port, tokens[(streams + number) % len(tokens)], heard, door))


async def _stream(port: int, token: str, heard: Heard, door: asyncio.Semaphore) -> None:
    async with door:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/events/stream?after=latest", token))
        head = await reader.readuntil(b"\r\n\r\n")
    with contextlib.closing(writer):
        assert head.startswith(b"HTTP/1.1 200"), head
        heard.waiting += 1
        while line := await reader.readline():
            if line.startswith(b"data: "):
                _note(heard.streams, json.loads(line.removeprefix(b"data: ")))


async def _poll(port: int, token: str, heard: Heard, door: asyncio.Semaphore) -> None:
    async with door:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/events?after=latest", token))
        after = json.loads(await _answer(reader))["next_cursor"]
    heard.waiting += 1
    with contextlib.closing(writer):
        while True:
            writer.write(request("GET", f"/events?after={after}&wait_s=30", token))
            page = json.loads(await _answer(reader))
            for event in page["data"]:
                _note(heard.polls, event)
            after = page["next_cursor"]


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return await reader.readexactly(int(lengths[0].partition(b":")[2]))


def _note(times: dict[str, list[float]], event: dict[str, str]) -> None:
    times.setdefault(event["subject"], []).append(time.perf_counter())
