"""A port that somebody listens on: counts who connects, and may greet them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self


class Listener:
    """Accepts on a loopback port, says its greeting and hangs up."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, greeting: bytes = b"") -> None:
        self.host = host
        self._socket = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self.port: int = self._socket.getsockname()[1]
        self.accepted = 0
        self._greeting = greeting
        self._thread = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            with connection:
                connection.sendall(self._greeting)


TRIES = 20


@contextmanager
def on_one_port(first: str, second: str) -> Iterator[tuple[Listener, Listener]]:
    """Listeners at two addresses and one port: the kernel gives a port that is free at one of them only."""
    one, two = _bound(first, second)
    with one, two:
        yield one, two


def _bound(first: str, second: str) -> tuple[Listener, Listener]:
    for _ in range(TRIES):
        one = Listener(first)
        try:
            return one, Listener(second, one.port)
        except OSError:
            one.close()
    raise OSError(f"no port is free both at {first} and at {second}")
