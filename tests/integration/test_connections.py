"""Connections to the served gateway: too many, without a request, with one that comes slowly, with an answer that nobody
reads. By the protocol that `serve` gives to uvicorn."""

import http.client
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs

from app import http_protocol
from tools.servers.process import free_port, wait_until

LARGE = b"x" * (64 * 1024 * 1024)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers `/large` with more than the kernel's buffers hold, everything else with two octets."""
    if scope["type"] != "http":
        return
    body = LARGE if scope["path"] == "/large" else b"ok"
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def served(*, fetch_threads: int = 1) -> Iterator[int]:
    """The port of a server with our protocol."""
    port = free_port()
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=port,
        http=http_protocol.protocol_class(fetch_threads=fetch_threads, database_sessions=1),
        ws="none",
        lifespan="off",
        log_config=None,
        backlog=http_protocol.BACKLOG,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, 60, "uvicorn")
        yield port
    finally:
        server.should_exit = True
        thread.join(60)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def status(line: socket.socket, path: str = "/") -> int:
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
    answer = http.client.HTTPResponse(line)
    answer.begin()
    answer.read()
    return answer.status


def is_closed(line: socket.socket) -> bool:
    """Whether the server closes the connection, before a minute is over."""
    try:
        return line.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-a: "])
def test_a_connection_without_a_whole_head_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.5)
    with served() as port, connect(port) as line:
        line.sendall(sent)
        assert is_closed(line)


def test_a_head_that_comes_octet_by_octet_gets_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.5)
    with served() as port, connect(port) as line:
        line.settimeout(0.1)
        line.sendall(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(600):
            try:
                line.sendall(b"x")
                if line.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("it is still open")


def test_the_second_head_of_a_connection_has_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.5)
    with served() as port, connect(port) as line:
        assert status(line) == 200
        line.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert is_closed(line)


def test_a_kept_connection_serves_many_requests() -> None:
    with served() as port, connect(port) as line:
        assert [status(line) for _ in range(5)] == [200] * 5


def test_connections_beyond_the_limit_are_refused_and_logged_once() -> None:
    with capture_logs() as logs, served(fetch_threads=10**9) as port, ExitStack() as stack:
        lines = [stack.enter_context(connect(port)) for _ in range(http_protocol.FEWEST_CONNECTIONS)]
        assert {status(line) for line in lines} == {200}
        for _ in range(20):
            with connect(port) as refused:
                assert is_closed(refused)
        lines[0].close()
        wait_until(lambda: is_served(port), 60, "the place that has become free")
    assert [entry["event"] for entry in logs].count("connections_refused") <= 2


def test_the_soft_limit_of_open_files_becomes_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
    try:
        http_protocol.raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def is_served(port: int) -> bool:
    with connect(port) as line:
        try:
            return status(line) == 200
        except (ConnectionError, http.client.HTTPException):
            return False


def test_a_client_that_does_not_read_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "STALL_LOOK_S", 0.5)
    with served() as port, connect(port) as line:
        line.sendall(b"GET /large HTTP/1.1\r\nHost: gateway\r\n\r\n")
        wait_until(lambda: is_reset(line), 60, "the server to give up")


def is_reset(line: socket.socket) -> bool:
    return line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b"\x01"  # 1: established


def test_a_client_that_reads_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "STALL_LOOK_S", 2.0)
    with served() as port, connect(port) as line:
        line.sendall(b"GET /large HTTP/1.1\r\nHost: gateway\r\n\r\n")
        read, pauses = 0, threading.Event()
        while read < len(LARGE):
            part = line.recv(4 * 1024 * 1024)
            assert part, f"cut off after {read} octets"
            read += len(part)
            pauses.wait(0.05)
