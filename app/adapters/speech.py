"""Recognises the kind of service at a port by the first octets that it sends.

People enter the port of another service, or the wrong kind of encryption. Then the server sends something unexpected, or both
sides wait for each other. So a second connection to the same address tries the other way: TLS if the first used plain text, plain
text if it used TLS. The second connection sends no command that has an effect, and it is short.
"""

import contextlib
import re
import select
import socket
import ssl
import time
from enum import StrEnum

QUIET_S = 2.0
"""After this time without an octet from the server, a second connection tries the other way."""
LISTEN_S = 1.2
NUDGE = b"\r\n\r\n"
"""Makes a server answer that waits for lines: an HTTP server answers that this is no request."""
MAX_OCTETS = 4096


class Speech(StrEnum):
    """The kind of service. All but the last three are names that people use for such a server."""

    IMAP = "an IMAP server"
    SMTP = "an SMTP server"
    POP3 = "a POP3 server"
    HTTP = "a web server"
    SSH = "an SSH server"
    FTP = "an FTP server"
    TLS = "TLS"
    OTHER = "something else"
    SILENCE = "nothing"


_SIGNS = (
    (Speech.TLS, re.compile(rb"[\x15\x16]\x03[\x00-\x04]")),
    (Speech.IMAP, re.compile(rb"\* ?(?:OK|BYE|PREAUTH)\b", re.IGNORECASE)),
    (Speech.POP3, re.compile(rb"\+OK|-ERR")),
    (Speech.SSH, re.compile(rb"SSH-")),
    (Speech.HTTP, re.compile(rb"HTTP/|\s*+<(?:!doctype|html|\?xml)", re.IGNORECASE)),
    (Speech.FTP, re.compile(rb"220[ -][^\r\n]{0,200}ftp", re.IGNORECASE)),
    (Speech.SMTP, re.compile(rb"(?:220|421|554)[ -]")),
)


def recognised(first: bytes) -> Speech:
    """The kind of a service that begins with these octets."""
    if not first:
        return Speech.SILENCE
    return next((speech for speech, sign in _SIGNS if sign.match(first)), Speech.OTHER)


def is_readable(connection: socket.socket, wait_s: float) -> bool:
    """Whether octets, or the end of the connection, arrive within this time."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(max(0.0, wait_s) * 1000))


def answer_to_tls(beside: socket.socket) -> Speech:
    """The kind of service, by the answer to the beginning of TLS on a second connection to the same address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    try:
        with another(beside) as connection:
            connection.sendall(outgoing.read())
            return recognised(_heard(connection) or _heard_when_nudged(connection))
    except OSError:
        return Speech.SILENCE


def answer_in_plain(beside: socket.socket, *, asking: bytes = b"") -> tuple[Speech, bytes]:
    """The kind of service, by what it sends in plain text on a second connection to the same address; and all that it sent. If it
    greets like an IMAP or SMTP server, `asking` is sent, and its answer is included."""
    try:
        with another(beside) as connection:
            first = _heard(connection) or _heard_when_nudged(connection)
            speech = recognised(first)
            if asking and speech in {Speech.IMAP, Speech.SMTP}:
                connection.sendall(asking)
                first += _heard_to_the_end(connection)
            return speech, first
    except OSError:
        return Speech.SILENCE, b""


def another(beside: socket.socket) -> socket.socket:
    """Another connection to the address of this one, which has been checked already.

    Raises:
        OSError
    """
    return socket.create_connection(beside.getpeername()[:2], timeout=LISTEN_S)


def _heard(connection: socket.socket) -> bytes:
    return connection.recv(MAX_OCTETS) if is_readable(connection, LISTEN_S) else b""


def _heard_when_nudged(connection: socket.socket) -> bytes:
    connection.sendall(NUDGE)
    return _heard(connection)


def _heard_to_the_end(connection: socket.socket) -> bytes:
    """The octets until the server pauses or closes, up to a limit."""
    heard = b""
    deadline = time.monotonic() + LISTEN_S
    with contextlib.suppress(OSError):
        while len(heard) < MAX_OCTETS and is_readable(connection, deadline - time.monotonic()):
            received = connection.recv(MAX_OCTETS)
            if not received:
                break
            heard += received
    return heard
