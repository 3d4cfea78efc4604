"""A loopback port whose connections are served in a thread each: the base of servers and proxies that are written here."""

import socket
import threading
from types import TracebackType
from typing import Self


class Front:
    """Listens on a free loopback port while the block runs. A subclass says in `serve` what happens on a connection."""

    host = "127.0.0.1"

    def serve(self, client: socket.socket) -> None:
        """Serve one client, in a thread of its own. It closes the connection."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="front", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()
