"""Submits one mail over SMTP (RFC 5321, RFC 6409). Only this module imports smtplib.

One octet decides the outcome. Before the final dot of DATA the server must not deliver (RFC 5321 §4.1.1.4), so any trouble
is an error, and the mail may be tried again. Between the dot and the answer nobody knows the outcome: it is `UNCERTAIN`,
never an exception, and people must decide.

smtplib's own `data`, `login` and `starttls` are not used. The first does not distinguish before the dot from after it, the
second encodes a password as ASCII, the third wraps the socket in one step that no deadline can interrupt.
"""

import base64
import contextlib
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from app.adapters import login_refusals
from app.adapters.handshake import Secured, await_greeting, secure, wrong_service
from app.adapters.masking import Mask
from app.adapters.network import NetworkPolicy
from app.adapters.speech import Speech, recognised
from app.errors import (
    CertificateRefused,
    CommandRefused,
    ConnectionLost,
    LoginRefused,
    MailServerError,
    MailServerTimeout,
    MailServerUnavailable,
    NoGreeting,
    NoLoginMethod,
    StarttlsNotOffered,
    TooManyConnections,
)
from app.states import Security

# The server need not know the name or the address of this machine (Thunderbird sends the same).
EHLO_NAME = "[127.0.0.1]"
MAX_REPLY_LINES = 200
MAX_REPLY_LINE_OCTETS = 4096  # RFC 5321 §4.5.3.1.5 says 512; some banners are longer
QUIT_TIMEOUT_S = 5.0
WATCH_INTERVAL_S = 0.25

_REPLY_LINE = re.compile(rb"[2-5][0-9][0-9](?:[ -]|\r?\n)")
_ENHANCED_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_ENVELOPE_ADDRESS = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")  # printable ASCII without space, < and >


@dataclass(frozen=True)
class Server:
    """The server for submission. Without user name and password there is no login."""

    host: str
    port: int
    security: Security
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Envelope:
    """The SMTP envelope (RFC 5321 §2.3.1), separate from the headers. Addresses are ASCII."""

    sender: str
    recipients: Sequence[str]


@dataclass(frozen=True)
class Limits:
    """Time limits, by the wall clock."""

    connect_s: float = 10
    command_s: float = 60
    """The limit for one command or one wait for the network."""
    attempt_s: float = 900
    """The limit from before the connection to the final dot."""
    answer_s: float = 600
    """The limit for the answer to the final dot (RFC 5321 §4.5.3.2.6). To give up early makes a sent mail uncertain."""


class Outcome(StrEnum):
    """The outcome of a mail for one recipient."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    """4xx: the gateway may try again."""
    REFUSED = "refused"
    """5xx: final."""
    UNCERTAIN = "uncertain"
    """The connection was lost between the final dot and the answer."""


@dataclass(frozen=True)
class RecipientResult:
    address: str
    outcome: Outcome
    code: int | None = None
    enhanced_code: str | None = None
    """The enhanced status code (RFC 3463), if the server gave one."""


def submit(
    server: Server,
    envelope: Envelope,
    content: bytes,
    *,
    network: NetworkPolicy,
    tls: ssl.SSLContext,
    limits: Limits = Limits(),
    stopping: Callable[[], bool] = lambda: False,
) -> list[RecipientResult]:
    """Submit one mail. Returns the outcome for each recipient, in the order of the envelope.

    When `stopping` becomes true, the attempt is given up, unless the final dot has been sent.

    Raises:
        MailServerError: nothing was sent to anybody; `retryable` says whether a later attempt may succeed.
    """
    _check_envelope(envelope)
    content = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    with _logged_in(server, network, tls, limits, stopping) as (client, watch), _translated("DATA"):
        return _transact(client, envelope, content, watch, limits)


def check(server: Server, *, network: NetworkPolicy, tls: ssl.SSLContext, limits: Limits = Limits()) -> None:
    """Connect, log in, and leave. Nothing is sent.

    Raises:
        MailServerError
    """
    with _logged_in(server, network, tls, limits, lambda: False):
        pass


@contextlib.contextmanager
def _logged_in(
    server: Server,
    network: NetworkPolicy,
    tls: ssl.SSLContext,
    limits: Limits,
    stopping: Callable[[], bool],
) -> Iterator[tuple["_Client", "_Watch"]]:
    begun = time.monotonic()
    # Plain text, also for the password, is allowed only inside the allowed private networks.
    connection = network.connect(
        server.host, server.port, limits.connect_s, private_only=server.security == Security.NONE
    )
    with (
        _Watch(connection, begun + limits.attempt_s, stopping) as watch,
        contextlib.closing(_Client(connection)) as client,
    ):
        connection.settimeout(limits.command_s)
        try:
            with _translated("EHLO"):
                _greet(client, server, tls, limits)
            with _translated("AUTH"):
                _log_in(client, server)
            yield client, watch
        except MailServerError as exc:
            exc.mask(Mask(server.username, server.password).text)
            client.is_dead = isinstance(exc, MailServerTimeout | ConnectionLost)
            if watch.is_late:
                late = NoGreeting if exc.command == "CONNECT" else MailServerTimeout
                raise late(command=exc.command) from exc
            raise
        finally:
            client.leave()


class _Client(smtplib.SMTP):
    """smtplib over an existing connection, with bounded replies."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(local_hostname=EHLO_NAME)
        self.sock = connection
        self.file: Any = None
        self.is_dead = False
        """The peer has not answered in time, or the connection has ended."""

    def secure(self, how: Secured, timeout_s: float) -> None:
        """Speak TLS from here on; what was read in plain text before is forgotten (RFC 3207 §6)."""
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
        """Send QUIT if somebody may be listening. Its outcome does not matter."""
        if self.sock is None or self.is_dead:
            return
        with contextlib.suppress(OSError, ValueError, smtplib.SMTPException):
            self.sock.settimeout(QUIT_TIMEOUT_S)
            self.docmd("QUIT")


class _Watch:
    """Cuts a connection when its time is up. The timeout of a socket applies to each read, so a server that sends one octet a
    minute would never exceed it. The watch holds a descriptor of its own, so TLS on the connection does not matter."""

    def __init__(self, connection: socket.socket, deadline: float, stopping: Callable[[], bool]) -> None:
        self._line = connection.dup()
        self._deadline = deadline
        self._stopping = stopping
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="smtp-watch", daemon=True)
        self.is_late = False

    def final_dot(self, limit_s: float) -> None:
        """The dot is about to be sent: from now on only the time limit for the answer counts."""
        self._stopping = lambda: False
        self._deadline = time.monotonic() + limit_s

    def _watch(self) -> None:
        while not self._over.wait(WATCH_INTERVAL_S):
            self.is_late = time.monotonic() > self._deadline
            if self.is_late or self._stopping():
                with contextlib.suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)
                return

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        self._line.close()


def _check_envelope(envelope: Envelope) -> None:
    for address in (envelope.sender, *envelope.recipients):
        if not _ENVELOPE_ADDRESS.fullmatch(address):
            raise CommandRefused("One of the addresses cannot be used in an SMTP envelope.", command="MAIL")


def _greet(client: _Client, server: Server, tls: ssl.SSLContext, limits: Limits) -> None:
    if server.security == Security.TLS:
        client.secure(Secured(tls, server.host, "smtp"), limits.command_s)
    elif client.sock is not None:
        await_greeting(client.sock, "smtp", limits.command_s)
    _expect(client.get_greeting(), 220, "CONNECT")
    client.ehlo_or_helo_if_needed()
    if server.security == Security.STARTTLS:
        _start_tls(client, server, tls, limits)


def _start_tls(client: _Client, server: Server, tls: ssl.SSLContext, limits: Limits) -> None:
    """Also where it is not offered: whoever strips the offer must not get the password instead."""
    reply = client.docmd("STARTTLS")
    if reply[0] >= 500:
        raise StarttlsNotOffered(command="STARTTLS", server_line=_line(reply), response_code=_codes(reply))
    _expect(reply, 220, "STARTTLS")
    client.secure(Secured(tls, server.host, "smtp", after_starttls=True), limits.command_s)
    client.ehlo_or_helo_if_needed()


def _log_in(client: _Client, server: Server) -> None:
    """Log in (RFC 4954). A server that offers no mechanism either needs no login, or will refuse MAIL.

    If the server announces a mechanism and does not know it, the next one is tried. A refused password is not tried again.
    """
    offered = client.esmtp_features.get("auth", "").upper().split()
    if server.username is None or server.password is None or not offered:
        return
    user, password = server.username.encode(), server.password.encode()
    error: MailServerError = NoLoginMethod(command="AUTH")
    plain = _base64(b"\0".join((b"", user, password)))  # RFC 4616
    for command, replies in (
        (f"PLAIN {plain}", [plain]),
        ("LOGIN", [_base64(user), _base64(password)]),
    ):
        if command.split()[0] not in offered:
            continue
        reply = _authenticate(client, command, replies)
        if reply[0] in {235, 503}:  # 503: already authenticated
            return
        error = _login_error(reply, server.username)
        if not isinstance(error, NoLoginMethod):
            break
    raise error


def _authenticate(client: _Client, command: str, replies: Sequence[str]) -> tuple[int, bytes]:
    """Send AUTH. If the server asks for more, it gets the replies one after another, then `*`, which cancels (RFC 4954 §4)."""
    reply = client.docmd("AUTH", command)
    for answer in (*replies, "*"):
        if reply[0] != 334:
            break
        reply = client.docmd(answer)
    return reply


def _login_error(reply: tuple[int, bytes], username: str) -> MailServerError:
    """What a refused AUTH means. RFC 4954 §6: 4xx is temporary; 5xx is about the user name and password, where its
    codes and words say nothing else."""
    meant = login_refusals.by_smtp_codes(_codes(reply).split(), _line(reply), username=username)
    if meant is None or (reply[0] < 500 and meant is LoginRefused):
        meant = LoginRefused if reply[0] >= 500 else MailServerUnavailable
    if reply[0] == 421 and meant is MailServerUnavailable:  # RFC 5321 §3.8: also "too many connections"
        meant = TooManyConnections
    return meant(command="AUTH", server_line=_line(reply), response_code=_codes(reply))


def _transact(
    client: _Client, envelope: Envelope, content: bytes, watch: _Watch, limits: Limits
) -> list[RecipientResult]:
    options = [f"SIZE={len(content)}"] if client.has_extn("size") else []
    if not content.isascii() and client.has_extn("8bitmime"):
        options.append("BODY=8BITMIME")
    reply = client.docmd("MAIL", " ".join([f"FROM:<{envelope.sender}>", *options]))
    _expect(reply, 250, "MAIL")
    results: dict[str, RecipientResult] = {}
    for address in envelope.recipients:
        reply = client.docmd("RCPT", f"TO:<{address}>")
        results[address] = _result(address, reply)
        if reply[0] == 421:  # the server is closing the connection
            _refuse(reply, "RCPT")
    accepted = [address for address, result in results.items() if result.outcome is Outcome.ACCEPTED]
    if accepted:
        results |= {result.address: result for result in _send(client, accepted, content, watch, limits)}
    return [results[address] for address in envelope.recipients]


def _send(
    client: _Client, accepted: Sequence[str], content: bytes, watch: _Watch, limits: Limits
) -> Iterator[RecipientResult]:
    reply = client.docmd("DATA")
    if reply[0] == 354:
        client.send(re.sub(rb"(?m)^\.", b"..", content))  # RFC 5321 §4.5.2
        assert client.sock is not None
        client.sock.settimeout(limits.answer_s)
        watch.final_dot(limits.answer_s)
        try:
            client.send(b".\r\n")
            reply = client.getreply()
        except (OSError, smtplib.SMTPException):
            yield from (RecipientResult(address, Outcome.UNCERTAIN) for address in accepted)
            return
    elif reply[0] < 400:
        raise CommandRefused(command="DATA", server_line=_line(reply), response_code=_codes(reply))
    yield from (_result(address, reply) for address in accepted)


def _result(address: str, reply: tuple[int, bytes]) -> RecipientResult:
    code = reply[0]
    outcome = Outcome.ACCEPTED if code < 300 else Outcome.REFUSED if code >= 500 else Outcome.DEFERRED
    enhanced = _ENHANCED_CODE.match(reply[1].decode("ascii", "replace"))
    return RecipientResult(address, outcome, code, enhanced[0] if enhanced else None)


def _expect(reply: tuple[int, bytes], code: int, command: str) -> None:
    if reply[0] != code:
        _refuse(reply, command)


def _refuse(reply: tuple[int, bytes], command: str) -> NoReturn:
    if reply[0] == 421:  # RFC 5321 §3.8: also "too many connections"
        raise TooManyConnections(command=command, server_line=_line(reply), response_code=_codes(reply))
    kind = MailServerUnavailable if 400 <= reply[0] < 500 else CommandRefused
    raise kind(command=command, server_line=_line(reply), response_code=_codes(reply))


def _line(reply: tuple[int, bytes]) -> str:
    return f"{reply[0]} {reply[1][:500].decode('utf-8', 'replace')}"


def _codes(reply: tuple[int, bytes]) -> str:
    enhanced = _ENHANCED_CODE.match(reply[1].decode("ascii", "replace"))
    return f"{reply[0]} {enhanced[0]}" if enhanced else str(reply[0])


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@contextlib.contextmanager
def _translated(command: str) -> Iterator[None]:
    """Translate the library's errors into ours. `command` is the command during which they happened, as far as known."""
    try:
        yield
    except smtplib.SMTPResponseException as exc:  # EHLO and HELO
        reply = (exc.smtp_code, exc.smtp_error if isinstance(exc.smtp_error, bytes) else b"")
        try:
            _refuse(reply, command)
        except MailServerError as translated:
            raise translated from exc
    except smtplib.SMTPException as exc:
        raise ConnectionLost(command=command) from exc
    except ssl.SSLCertVerificationError as exc:
        raise CertificateRefused(command=command) from exc
    except TimeoutError as exc:
        raise MailServerTimeout(command=command) from exc
    except OSError as exc:
        raise ConnectionLost(command=command) from exc
