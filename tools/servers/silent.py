"""A server that takes connections, greets where it is told to, and never says anything more; or gives an octet now and
then, which never makes a line."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class SilentServer:
    """Loopback; `accepted` counts who connected. When it ends, all connections are closed."""

    def __init__(self, greeting: bytes = b"", *, drips: bool = False) -> None:
        self.host = "127.0.0.1"
        self._greeting = greeting
        self._ended = threading.Event()
        self._listener = socket.create_server((self.host, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._taken: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="silent-server", daemon=True)]
        if drips:
            self._threads.append(threading.Thread(target=self._drip, name="dripping-server", daemon=True))

    @property
    def accepted(self) -> int:
        return len(self._taken)

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        self.hang_up()

    def hang_up(self) -> None:
        """Close all connections; new ones are taken."""
        for each in self._taken:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.sendall(self._greeting)
                self._taken.append(connection)

    def _drip(self) -> None:
        while not self._ended.wait(0.05):
            for each in list(self._taken):
                with contextlib.suppress(OSError):
                    each.sendall(b" ")
