"""A real HTTP receiver for tests of webhooks. It records requests and gives the answers that a test sets."""

import ssl
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tools.servers.process import ServerFailed


@dataclass(frozen=True)
class ReceivedRequest:
    """One request, complete with its body."""

    method: str
    path: str  # with the query
    headers: dict[str, str]  # names in lower case; of a repeated name the last
    body: bytes
    arrived_s: float  # time.monotonic()
    answered: int  # the status of the answer, also of one that was not sent


@dataclass(frozen=True)
class Answer:
    """One answer; `delay_s` passes before its first octet."""

    status: int = 204
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    drop: bool = False  # close without an answer


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may die at any moment."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class HttpReceiver:
    """An HTTP server on a free loopback port. Use as a context manager, or `start` and `stop`.

    `answer_with(503, 503, 204)` gives these in turn and stays with the last; at first that is 204.
    """

    host = "127.0.0.1"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: speak HTTPS."""
        self._requests: list[ReceivedRequest] = []
        self._arrived = threading.Condition()
        self._answers: deque[Answer] = deque([Answer()])
        self._stopping = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                receiver._take(self)

            do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass  # the requests are kept, so nothing needs printing

        self._server = _Server((self.host, 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._server.block_on_close = False  # a keep-alive connection must not hold up the end of a run
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="http-receiver",
            daemon=True,
        )
        self.port = int(self._server.server_address[1])
        self.url = f"http{'s' if tls is not None else ''}://{self.host}:{self.port}"

    def start(self) -> Self:
        """Start answering."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering; delayed answers are given up."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What tests use

    def answer_with(self, *answers: int | Answer) -> None:
        """Give these answers in turn, then always the last one. A number is a status."""
        with self._arrived:
            self._answers = deque(Answer(each) if isinstance(each, int) else each for each in answers)

    def redirect_to(self, url: str, status: int = 307) -> None:
        """Answer everything with a redirect."""
        self.answer_with(Answer(status, headers=(("Location", url),)))

    @property
    def requests(self) -> list[ReceivedRequest]:
        """What has arrived so far, oldest first."""
        with self._arrived:
            return list(self._requests)

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[ReceivedRequest]:
        """The requests, once there are `count` of them; ServerFailed when there aren't in time."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._requests) >= count, timeout_s):
                raise ServerFailed(f"{len(self._requests)} requests after {timeout_s:g} s, not {count}")
            return list(self._requests)

    def reset(self) -> None:
        """Forget the requests and answer 204 again."""
        with self._arrived:
            self._requests.clear()
            self._answers = deque([Answer()])

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(size)
        if len(body) < size:  # the client died in the middle of its request
            handler.close_connection = True
            return
        headers = {name.lower(): value for name, value in handler.headers.items()}
        arrived_s = time.monotonic()
        with self._arrived:
            answer = self._answers[0] if len(self._answers) == 1 else self._answers.popleft()
            self._requests.append(
                ReceivedRequest(handler.command, handler.path, headers, body, arrived_s, answer.status)
            )
            self._arrived.notify_all()
        if answer.drop or (answer.delay_s and self._stopping.wait(answer.delay_s)):
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value)
        if answer.status >= 200 and answer.status not in (204, 304):
            handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        if answer.status not in (204, 304):
            handler.wfile.write(answer.body)
