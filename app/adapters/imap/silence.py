"""Remembers servers that announce ID but never answer it, or close the connection. So ID costs its time limit once, not at
each login."""

import threading
import time

FORGOTTEN_AFTER_S = 24 * 3600.0
MAX_SERVERS = 10_000


class SilentServers:
    """The servers that have not answered ID, by host and port, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, int], float] = {}

    def record(self, host: str, port: int) -> None:
        """This server gets no ID for a day."""
        with self._lock:
            if len(self._until) >= MAX_SERVERS:
                self._until.clear()
            self._until[host.lower(), port] = time.monotonic() + FORGOTTEN_AFTER_S

    def forget(self, host: str, port: int) -> None:
        """This server gets ID again: it has refused something, perhaps because it got no ID."""
        with self._lock:
            self._until.pop((host.lower(), port), None)

    def has(self, host: str, port: int) -> bool:
        with self._lock:
            return self._until.get((host.lower(), port), 0.0) > time.monotonic()
