"""Reads lines and literals from the socket of an IMAP server, with time limits and size limits.

The timeout of a socket begins again with each byte: a server that sends a byte now and then would hold a thread for ever. A
literal is taken directly from the received bytes and copied once. A large literal is put together piece by piece, so memory
grows with the received bytes, not with the announced length.
"""

import math
import socket
import time

from app.errors import ConnectionLost

MAX_LINE_OCTETS = 16 * 1024 * 1024
CHUNK_OCTETS = 256 * 1024
OCTETS_PER_S = 100_000
"""For each block of this size, the time limit of a command grows by a second, because large mails take longer."""


class Wire:
    """A connection. The time limit of the present command bounds each read."""

    def __init__(self, sock: socket.socket, *, ends_at: float = math.inf) -> None:
        """`ends_at`: the time by which all commands together must have ended, by `time.monotonic`."""
        self.sock = sock
        self._ends_at = ends_at
        self.max_literal_octets = MAX_LINE_OCTETS
        self.max_response_octets = 4 * MAX_LINE_OCTETS
        self._buffer = bytearray()
        self._position = 0
        self._deadline = time.monotonic() + 60.0
        self._received = 0
        self.is_dead = False
        """The peer has not answered in time, or the connection has ended. Nothing more is sent on it."""

    def start_command(self, timeout_s: float) -> None:
        """Start a time limit of this many seconds, plus one second for each 100 kB received."""
        now = time.monotonic()
        self._deadline = now + timeout_s
        self._received = 0
        # Not 0, which would mean not to wait at all.
        self.sock.settimeout(max(min(timeout_s, self._ends_at - now), 0.001))

    def read_line(self) -> bytes:
        """A line without its line end, which is CRLF, or LF alone.

        Raises:
            ConnectionLost: the stream has ended, or the line is too long.
            TimeoutError, OSError
        """
        searched = self._position
        while (end := self._buffer.find(b"\n", searched)) < 0:
            pending = len(self._buffer) - self._position
            if pending > MAX_LINE_OCTETS:
                raise ConnectionLost(server_line="line too long")
            self._make_room()
            self._buffer += self._receive()
            searched = self._position + pending
        line = bytes(memoryview(self._buffer)[self._position : end])
        self._position = end + 1
        return line.removesuffix(b"\r")

    def read(self, size: int) -> bytes:
        """Exactly this many octets.

        Raises:
            ConnectionLost: the stream has ended, or this is more than the limit.
            TimeoutError, OSError
        """
        if size > self.max_literal_octets:
            raise ConnectionLost(server_line="literal too long")
        end = self._position + size
        if end <= len(self._buffer):
            octets = bytes(memoryview(self._buffer)[self._position : end])
            self._position = end
            return octets
        chunks = [bytes(memoryview(self._buffer)[self._position :])]
        missing = size - len(chunks[0])
        self._buffer.clear()
        self._position = 0
        while missing > 0:
            chunk = self._receive()
            if len(chunk) > missing:
                self._buffer += memoryview(chunk)[missing:]
                chunk = chunk[:missing]
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def has_unread(self) -> bool:
        """Whether there are received bytes that nobody has read."""
        return self._position < len(self._buffer)

    def unread(self, size: int) -> bytes:
        """At most `size` received bytes that nobody has read. They stay unread."""
        return bytes(self._buffer[self._position : self._position + size])

    def send(self, octets: bytes) -> None:
        """Send all of it.

        Raises:
            TimeoutError, OSError: the connection is dead.
        """
        try:
            self.sock.sendall(octets)
        except OSError:
            self.is_dead = True
            raise

    def _make_room(self) -> None:
        del self._buffer[: self._position]
        self._position = 0

    def _receive(self) -> bytes:
        deadline = self._deadline + self._received / OCTETS_PER_S
        remaining = min(deadline, self._ends_at) - time.monotonic()
        try:
            if remaining <= 0:
                raise TimeoutError("deadline of the command is over")
            self.sock.settimeout(remaining)
            received = self.sock.recv(CHUNK_OCTETS)
        except OSError:
            self.is_dead = True
            raise
        if not received:
            self.is_dead = True
            raise ConnectionLost(server_line="end of stream")
        self._received += len(received)
        if self._received > self.max_response_octets:
            raise ConnectionLost(server_line="answer too long")
        return received

    def close(self) -> None:
        self.sock.close()
