"""smtplib over a connection of ours, with bounded replies, and a watch that cuts the connection when its time is up."""

import contextlib
import ipaddress
import re
import smtplib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from app.adapters.handshake import Secured, secure, wrong_service
from app.adapters.masking import Mask
from app.adapters.smtp.values import Server
from app.adapters.speech import Speech, recognised
from app.errors import ConnectionLost, MailServerError, NoGreeting

MAX_REPLY_LINES = 200
MAX_REPLY_LINE_OCTETS = 4096  # RFC 5321 §4.5.3.1.5 says 512; some banners are longer
QUIT_TIMEOUT_S = 5.0
WATCH_INTERVAL_S = 0.25

_REPLY_LINE = re.compile(rb"[2-5][0-9][0-9](?:[ -]|\r?\n)")


class Client(smtplib.SMTP):
    """smtplib over an existing connection, with bounded replies."""

    def __init__(self, connection: socket.socket, ehlo_name: str | None = None) -> None:
        super().__init__(local_hostname=ehlo_name or address_literal(connection))
        self.sock = connection
        self.file: Any = None
        self.is_dead = False
        """The peer has not answered in time, or the connection has ended."""

    def greet(self) -> None:
        """EHLO. HELO only if the server does not know EHLO or refuses it for good (RFC 5321 §4.1.4): after a 4xx, HELO would
        hide the reason.

        Raises:
            SMTPHeloError: with the reply to EHLO, or with that to HELO if the server does not know EHLO.
        """
        code, said = self.ehlo()
        if 200 <= code < 300:
            return
        if code >= 500:
            helo_code, helo_said = self.helo()
            if 200 <= helo_code < 300:
                return
            if code in {500, 502}:
                code, said = helo_code, helo_said
        raise smtplib.SMTPHeloError(code, said)

    def mask_error(self, error: MailServerError, server: Server) -> None:
        """Mask our credentials in what the server said."""
        error.mask(Mask(server.username, server.password).text)

    def secure(self, how: Secured, timeout_s: float) -> None:
        """Begin TLS, and forget what was received in plain text before (RFC 3207 §6)."""
        assert self.sock is not None
        self.sock = secure(self.sock, how, timeout_s)
        self.sock.settimeout(timeout_s)
        self.file = None
        self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    def getreply(self) -> tuple[int, bytes]:
        # smtplib's own method reads for ever from a server that never stops, and hides the kind of error.
        return self._rest_of_reply(self._read_line())

    def _rest_of_reply(self, line: bytes) -> tuple[int, bytes]:
        lines: list[bytes] = []
        while len(lines) < MAX_REPLY_LINES:
            if not line.endswith(b"\n"):
                raise smtplib.SMTPServerDisconnected("a reply was cut off or too long")
            if not _REPLY_LINE.match(line):
                raise smtplib.SMTPServerDisconnected("not an SMTP reply")
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)
            line = self._read_line()
        raise smtplib.SMTPServerDisconnected("a reply that does not end")

    def _read_line(self) -> bytes:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("not connected")
        if self.file is None:
            self.file = self.sock.makefile("rb")
        line: bytes = self.file.readline(MAX_REPLY_LINE_OCTETS)
        return line

    def get_greeting(self) -> tuple[int, bytes]:
        """The first reply (RFC 5321 §4.3.1).

        Raises:
            NotSmtp, TlsExpected, NoGreeting, ConnectionLost
        """
        try:
            line = self._read_line()
        except TimeoutError as exc:
            raise NoGreeting(command="CONNECT") from exc
        if not line:
            raise ConnectionLost(
                "The mail server closed the connection without a greeting.", command="CONNECT"
            )
        found = recognised(line)
        if found not in {Speech.SMTP, Speech.OTHER} or not _REPLY_LINE.match(line):
            raise wrong_service("smtp", found)
        return self._rest_of_reply(line)

    def leave(self) -> None:
        """Send QUIT, unless the connection is dead. Its outcome does not matter."""
        if self.sock is None or self.is_dead:
            return
        with contextlib.suppress(OSError, ValueError, smtplib.SMTPException):
            self.sock.settimeout(QUIT_TIMEOUT_S)
            self.docmd("QUIT")


def address_literal(connection: socket.socket) -> str:
    """The address of our end of the connection, in the form that EHLO takes instead of a name (RFC 5321 §4.1.3)."""
    address = ipaddress.ip_address(connection.getsockname()[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return f"[{address.ipv4_mapped}]" if address.ipv4_mapped else f"[IPv6:{address}]"
    return f"[{address}]"


class Watch:
    """Cuts a connection when its time is up. The timeout of a socket applies to each read, so a server that sends one octet a
    minute would never exceed it. The watch holds a descriptor of its own, so TLS on the connection does not matter."""

    def __init__(self, connection: socket.socket, deadline: float, stopping: Callable[[], bool]) -> None:
        self._line = connection.dup()
        self._deadline = self._attempt_ends = deadline
        self._stopping = self._asked_to_stop = stopping
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="smtp-watch", daemon=True)
        self.is_late = False

    def final_dot(self, limit_s: float) -> None:
        """Call this before the final dot is sent: from now on, only the time limit for the answer counts."""
        self._stopping = lambda: False
        self._deadline = time.monotonic() + limit_s

    def begin(self, limit_s: float) -> None:
        """Begin the time limit of another attempt on the same connection."""
        self._attempt_ends = time.monotonic() + limit_s
        self.resume()

    def resume(self) -> bool:
        """Call this after the answer to the dot: the time limit of the attempt counts again. Returns whether time is left."""
        self._deadline = max(self._attempt_ends, time.monotonic())
        self._stopping = self._asked_to_stop
        return not self._stopping() and time.monotonic() < self._attempt_ends

    def _watch(self) -> None:
        while not self._over.wait(WATCH_INTERVAL_S):
            self.is_late = time.monotonic() > self._deadline
            if self.is_late or self._stopping():
                with contextlib.suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)
                return

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        self._line.close()
