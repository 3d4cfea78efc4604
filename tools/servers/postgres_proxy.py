"""A proxy before PostgreSQL that carries a COMMIT out and swallows its answer: who sent it cannot know."""

import contextlib
import socket
import threading

from tools.servers.front import Front

CHUNK_OCTETS = 65536
TIMEOUT_S = 30.0


class PostgresProxy(Front):
    """Listens on a free loopback port. `swallow_answer_of(b"…")` cuts the connection after the server has carried
    out the next commit of a transaction in which these octets were sent."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._lock = threading.Lock()
        self._marker: bytes | None = None
        self.swallowed = 0

    def swallow_answer_of(self, marker: bytes) -> None:
        """Once, for a transaction that holds the marker in one of its statements."""
        self._marker = marker

    def serve(self, client: socket.socket) -> None:
        server = socket.create_connection(self._server, timeout=TIMEOUT_S)
        server.settimeout(None)
        link = _Link(self, client, server)
        threading.Thread(target=link.upwards, daemon=True).start()
        link.downwards()

    def is_marked(self, octets: bytes) -> bool:
        """Whether the marker is in what a client sends."""
        return self._marker is not None and self._marker in octets

    def claim(self) -> bool:
        """Whether to swallow the answer to this commit."""
        with self._lock:
            if self._marker is None:
                return False
            self._marker = None
            self.swallowed += 1
            return True


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: PostgresProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._marked = False
        self._swallowing = False

    def upwards(self) -> None:
        with contextlib.suppress(OSError):
            while octets := self._client.recv(CHUNK_OCTETS):
                self._marked = self._marked or self._proxy.is_marked(octets)
                if b"COMMIT" in octets:
                    self._swallowing = self._marked and self._proxy.claim()
                    self._marked = False
                self._server.sendall(octets)
        self._close()

    def downwards(self) -> None:
        with contextlib.suppress(OSError):
            while octets := self._server.recv(CHUNK_OCTETS):
                if self._swallowing:
                    break
                self._client.sendall(octets)
        self._close()

    def _close(self) -> None:
        for each in (self._client, self._server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
