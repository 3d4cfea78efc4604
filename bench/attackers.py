"""What one hostile caller does over HTTP, in a process of its own. Each runs until it is cancelled, and calls `standing`
once each of its tasks has done what it wants to do: has connected and asked, and where it waits for an answer, waits."""

import asyncio
import contextlib
import itertools
import multiprocessing
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.synchronize import Event

from bench.ordinary import Connection, request

HANGING_CALLS = 45
BODY_OCTETS = 36_000_000
BODIES_AT_ONCE = 4
SLOW_HEADS = 200
SLOW_READERS = 60
SEARCHES_AT_ONCE = 8
WAITING = 40
"""More than a caller may have open."""
PAUSE_S = 0.1
STANDS_WITHIN_S = 120.0
LITTLE_OCTETS = 4096

Attack = Callable[[int, str, str, Callable[[], None]], Awaitable[None]]
"""Gets the port, a token, a path, and `standing`."""
Begun = Callable[[], None]


async def hanging_fetches(port: int, token: str, path: str, standing: Callable[[], None]) -> None:
    """45 requests that wait for a silent mail server; each is made again when it is answered."""

    async def call(begun: Begun) -> None:
        connection = await Connection.open(port)
        connection.writer.write(request("POST", path, token))
        begun()
        await connection.answer()
        connection.close()

    await _again_and_again(HANGING_CALLS, call, standing)


async def bodies_without_token(port: int, _token: str, _path: str, standing: Callable[[], None]) -> None:
    """Four bodies of 36 MB at once, without a token."""
    body = b'{"name": [' + b"1," * (BODY_OCTETS // 2) + b"1]}"

    async def call(begun: Begun) -> None:
        connection = await Connection.open(port)
        connection.writer.write(request("POST", "/connectors", "", len(body)))
        begun()
        for start in range(0, len(body), 65536):
            connection.writer.write(body[start : start + 65536])
            await connection.writer.drain()
        await connection.answer()
        connection.close()

    await _again_and_again(BODIES_AT_ONCE, call, standing)


async def slow_heads(port: int, _token: str, _path: str, standing: Callable[[], None]) -> None:
    """200 connections that send an octet of a head each second."""

    async def call(begun: Begun) -> None:
        connection = await Connection.open(port)
        connection.writer.write(b"GET /health/live HTTP/1.1\r\nX: ")
        begun()
        while True:
            await asyncio.sleep(1)
            connection.writer.write(b"x")
            await connection.writer.drain()

    await _again_and_again(SLOW_HEADS, call, standing)


async def slow_readers(port: int, token: str, path: str, standing: Callable[[], None]) -> None:
    """60 downloads of a large mail, of which a little is read each second."""
    loop = asyncio.get_running_loop()

    async def call(begun: Begun) -> None:
        with socket.socket() as reader:
            reader.setblocking(False)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE_OCTETS)
            await loop.sock_connect(reader, ("127.0.0.1", port))
            await loop.sock_sendall(reader, request("GET", path, token))
            while await loop.sock_recv(reader, LITTLE_OCTETS):
                begun()
                await asyncio.sleep(1)

    await _again_and_again(SLOW_READERS, call, standing)


async def long_searches(port: int, token: str, path: str, standing: Callable[[], None]) -> None:
    """Eight searches at once that find nothing; each is made again when it is answered."""

    async def call(begun: Begun) -> None:
        connection = await Connection.open(port)
        begun()
        await connection.get(f"{path}{random.randrange(10**9)}", token)
        connection.close()

    await _again_and_again(SEARCHES_AT_ONCE, call, standing)


async def streams_and_polls(port: int, token: str, path: str, standing: Callable[[], None]) -> None:
    """Event streams and long polls, as many as a caller may have, and ten more."""
    paths = itertools.cycle(["/events/stream", path])

    async def call(begun: Begun) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = request("GET", next(paths), token)
        writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        begun()
        while await reader.read(65536):
            pass
        writer.close()

    await _again_and_again(WAITING, call, standing)


async def _again_and_again(
    count: int, call: Callable[[Begun], Awaitable[None]], standing: Callable[[], None]
) -> None:
    """So many tasks that call, and begin anew when the call ends or the gateway hangs up. A call says when it has begun."""
    to_begin = set(range(count))

    def begun(number: int) -> None:
        if number in to_begin:
            to_begin.remove(number)
            if not to_begin:
                standing()

    async def repeat(number: int) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                await call(lambda: begun(number))
            await asyncio.sleep(PAUSE_S)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(repeat(number))


@contextlib.contextmanager
def attacking(attack: Attack, port: int, token: str, path: str) -> Iterator[None]:
    """The attack goes on in a process of its own while the block runs."""
    context = multiprocessing.get_context("spawn")
    stands = context.Event()
    process = context.Process(target=_run, args=(attack, port, token, path, stands))
    process.start()
    try:
        if not stands.wait(STANDS_WITHIN_S):
            raise TimeoutError(f"{attack.__name__} does not stand")
        yield
        if not process.is_alive():
            raise RuntimeError(f"{attack.__name__} ended by itself")
    finally:
        process.terminate()
        process.join()


def _run(attack: Attack, port: int, token: str, path: str, stands: Event) -> None:
    asyncio.run(_attack(attack, port, token, path, stands))


async def _attack(attack: Attack, port: int, token: str, path: str, stands: Event) -> None:
    await attack(port, token, path, stands.set)
