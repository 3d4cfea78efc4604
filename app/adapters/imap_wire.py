"""The bytes between us and an IMAP server: `imaplib` with a deadline, caps and a checked socket.

`imaplib` itself waits for ever, allocates whatever literal length a server announces, and stops at lines of
1 MB, which the answer to a search in a large folder exceeds. Its read timeout, where one is set, starts anew
with each byte: a server that sends one now and then would hold a thread for ever.
"""

import imaplib
import re
import socket
import ssl
import time
from collections.abc import Callable

from app.errors import CommandRefused, ConnectionLost, MailServerTimeout
from app.mime.text import clean_line

MAX_LINE_OCTETS = 16 * 1024 * 1024
MAX_UNTAGGED_RESPONSES = 200_000
CHUNK_OCTETS = 256 * 1024
OCTETS_PER_S = 100_000
"""A command's deadline is extended by a second for each of these received: large mails take their time."""

ALERT_MAX_CHARS = 500

_ALERT = re.compile(rb"\[ALERT\] *(.+)", re.IGNORECASE)
_RESPONSE_CODE = re.compile(rb"\[([A-Za-z0-9-]+)(?: ([^\]]*))?\]")


class Wire:
    """A socket read in lines and literals, each read bounded by the deadline of the command under way."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.max_literal_octets = MAX_LINE_OCTETS
        self.max_response_octets = 4 * MAX_LINE_OCTETS
        self._buffer = bytearray()
        self._deadline = time.monotonic() + 60.0
        self._received = 0

    def start_command(self, timeout_s: float) -> None:
        """Give what follows this many seconds, and one more for each 100 kB received."""
        self._deadline = time.monotonic() + timeout_s
        self._received = 0
        self.sock.settimeout(timeout_s)

    def readline(self) -> bytes:
        """A line with its end; less at the end of the stream."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_LINE_OCTETS:
                raise imaplib.IMAP4.abort("line too long")
            if not self._fill():
                break
        cut = end + 1 if end >= 0 else len(self._buffer)
        line = bytes(self._buffer[:cut])
        del self._buffer[:cut]
        return line

    def read(self, size: int) -> bytes:
        """Exactly this many octets, allocated as they come, not as they are announced."""
        if size > self.max_literal_octets:
            raise imaplib.IMAP4.abort("literal too long")
        while len(self._buffer) < size:
            if not self._fill():
                raise imaplib.IMAP4.abort("end of stream in a literal")
        octets = bytes(self._buffer[:size])
        del self._buffer[:size]
        return octets

    def has_unread(self) -> bool:
        """Whether something was received that nobody has read."""
        return bool(self._buffer)

    def _fill(self) -> bool:
        remaining = self._deadline + self._received / OCTETS_PER_S - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("deadline of the command is over")
        self.sock.settimeout(remaining)
        received = self.sock.recv(CHUNK_OCTETS)
        self._received += len(received)
        if self._received > self.max_response_octets:
            raise imaplib.IMAP4.abort("answer too long")
        self._buffer += received
        return bool(received)

    def close(self) -> None:
        self.sock.close()


class WiredIMAP4(imaplib.IMAP4):
    """`imaplib.IMAP4` over a `Wire`. The constructor reads the greeting."""

    def __init__(self, open_wire: Callable[[], Wire], timeout_s: float) -> None:
        self._open_wire = open_wire
        self.timeout_s = timeout_s
        self._untagged_count = 0
        self.alert: str | None = None
        super().__init__()

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        self.wire = self._open_wire()
        self.wire.start_command(self.timeout_s)
        self.sock = self.wire.sock

    def read(self, size: int) -> bytes:
        return self.wire.read(size)

    def readline(self) -> bytes:
        return self.wire.readline()

    def shutdown(self) -> None:
        self.wire.close()

    def _command(self, name, *args):  # type: ignore[no-untyped-def]
        self._untagged_count = 0
        return super()._command(name, *args)  # type: ignore[misc]

    def _append_untagged(self, typ, dat):  # type: ignore[no-untyped-def]
        self._untagged_count += 1
        if self._untagged_count > MAX_UNTAGGED_RESPONSES:
            raise self.abort("too many untagged responses")
        if isinstance(dat, bytes):
            self._note_alert(dat)
        super()._append_untagged(typ, dat)  # type: ignore[misc]

    def run(self, name: str, *args: str | bytes) -> list[bytes]:
        """One command, with its deadline; its tagged answer's text.

        Raises:
            CommandRefused: answered NO or BAD; `response_code` and `server_line` are filled.
            imaplib.IMAP4.abort, OSError: the connection is gone or out of step.
        """
        self.wire.start_command(self.timeout_s)
        # A code of an earlier answer must not be taken for this one's.
        for code in ("COPYUID", "APPENDUID", "TRYCREATE", "ALERT"):
            self.untagged_responses.pop(code, None)
        typ, data = self._simple_command(name, *args)
        self._note_alert(data[-1] if data else b"")
        if typ != "OK":
            raise refused(name, typ, data[-1] if data else b"")
        answer: list[bytes] = data
        return answer

    def _note_alert(self, line: bytes | None) -> None:
        """Keep what the server wants its user to see (RFC 9051 §7.1: clients MUST show it)."""
        found = _ALERT.search(line or b"")
        if found:
            self.alert = clean_line(found[1].decode("utf-8", "replace"), ALERT_MAX_CHARS)

    def authenticate_plain(self, answer: bytes) -> tuple[str, list[bytes]]:
        """AUTHENTICATE PLAIN without an initial response; the state stays as it is."""
        # imaplib sends what this gives, base64-encoded, at the continuation request.
        self.literal = imaplib._Authenticator(lambda _: answer).process  # type: ignore[assignment]
        typ, data = self._simple_command("AUTHENTICATE", "PLAIN")
        return typ, data

    def untagged(self, name: str) -> list[bytes]:
        """The untagged responses of this name since they were last asked for; literals are left out."""
        found = self.untagged_responses.pop(name, [])
        return [each for each in found if isinstance(each, bytes)]

    def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """STARTTLS (RFC 9051 §6.2.1); the capabilities told in plain text are forgotten.

        Raises:
            CommandRefused: not offered or refused. There is no falling back to plain text.
            ConnectionLost: the server sent more than its answer before TLS began: injected, perhaps.
        """
        self.run("STARTTLS")
        if self.wire.has_unread():
            raise ConnectionLost(command="STARTTLS")
        self.wire.sock = context.wrap_socket(self.wire.sock, server_hostname=server_name)
        self.sock = self.wire.sock
        self.untagged_responses.clear()


def refused(command: str, typ: str, line: bytes) -> CommandRefused:
    """The error of a NO or BAD."""
    return CommandRefused(
        command=command, server_line=f"{typ} {line.decode('utf-8', 'replace')}", response_code=code_in(line)
    )


def code_in(line: bytes) -> str | None:
    """The response code in a status line (RFC 9051 §7.1), in capitals."""
    found = _RESPONSE_CODE.match(line.strip())
    return found[1].decode("ascii").upper() if found else None


def open_wire(connect: Callable[[], socket.socket], tls: ssl.SSLContext | None, server_name: str) -> Wire:
    """A wire over a connection of its own, in TLS from the first byte where a context is given.

    Raises:
        MailServerTimeout: the TLS handshake was not done in time.
    """
    sock = connect()
    if tls is None:
        return Wire(sock)
    try:
        return Wire(tls.wrap_socket(sock, server_hostname=server_name))
    except TimeoutError as exc:
        sock.close()
        raise MailServerTimeout(command="TLS") from exc
    except BaseException:
        sock.close()
        raise
