"""`imaplib` below IMAPClient, with our own reader. The library makes tags, sends commands and literals, and keeps its state.
This module reads what the server says, a line at a time, with `answers`.

`imaplib` itself waits for ever, allocates any literal length that a server announces, refuses servers with IMAP4rev2 alone,
and treats the first line that it does not know as the end.
"""

import imaplib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

from app.adapters.handshake import Secured, secure, wrong_service
from app.adapters.imap.answers import status
from app.adapters.imap.answers.response import (
    STATUSES,
    Continuation,
    Line,
    Response,
    Tagged,
    literal_size,
    read_line,
    without_literal,
)
from app.adapters.imap.wire import Wire
from app.adapters.masking import NOTHING_MASKED, Mask
from app.adapters.speech import recognised
from app.errors import CommandRefused, ConnectionLost, MailServerError, MailServerUnavailable, NoGreeting

MAX_UNTAGGED_RESPONSES = 200_000
MAX_STATUS_RESPONSES = 1000
"""The largest number of responses that are kept of one answer."""
MAX_STATUS_OCTETS = 256 * 1024
MAX_LITERALS = 1000
"""The largest number in one response."""
GREETING_SIGN_OCTETS = 300
"""The part of a greeting of another protocol by which that protocol is recognised."""

_ALERT = re.compile(rb"\[ALERT\] *(.+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that came between a command and its end."""

    status: str
    """`OK`, `NO` or `BAD`; after `converse` also `BYE`."""
    text: bytes
    responses: Sequence[Response]
    """The responses of the requested kinds, and untagged statuses."""
    expunged: int = 0
    """The number of mails that left the selected folder, as the server reported (EXPUNGE; RFC 6851 §3.3: one for each
    move)."""
    dropped: int = 0
    """Lines that are not IMAP."""
    mask: Mask = NOTHING_MASKED
    """Masks the parts that go into an error."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The end of a command in which the server could ask for more data."""

    answer: Answer
    """Its status may be `BYE`: the server closed the connection."""
    replied: int
    """The number of replies that were sent."""


class WiredIMAP4(imaplib.IMAP4):
    """`imaplib.IMAP4` over a `Wire`. The constructor reads the greeting. If that fails, it closes the wire.

    Raises:
        NoGreeting, NotImap, TlsExpected, ConnectionLost
        MailServerUnavailable: the server greeted with BYE.
    """

    def __init__(
        self,
        wire: Wire,
        timeout_s: float,
        *,
        greeting_timeout_s: float | None = None,
        mask: Mask = NOTHING_MASKED,
    ) -> None:
        self.wire = wire
        self.timeout_s = timeout_s
        self._greeting_timeout_s = greeting_timeout_s or timeout_s
        self.mask = mask
        self.alert: str | None = None
        self.greeting: Response | None = None
        self._bye = b""
        self._start(())
        super().__init__()

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        self.wire.start_command(self._greeting_timeout_s)
        self.sock = self.wire.sock

    def shutdown(self) -> None:
        self.wire.close()

    def send(self, data: Any) -> None:
        self.wire.send(data)

    def _connect(self) -> None:
        """Read the greeting. The capabilities are requested later and are no reason to stop: `imaplib` does not know servers with
        IMAP4rev2 alone."""
        library: Any = self
        library.tagpre = imaplib.Int2AP(SystemRandom().randint(4096, 65535))
        self._our_tag = re.compile(re.escape(library.tagpre) + rb"\d++\Z")
        self.greeting = self._read_greeting()
        self._record_alert(self.greeting.texts[0])
        if self.greeting.kind == "BYE":
            raise MailServerUnavailable(
                "The mail server turned the connection away.",
                command="CONNECT",
                server_line="BYE " + self.greeting.texts[0].decode("utf-8", "replace"),
                response_code=self.mask.code(status.code_of(self.greeting.texts[0])),
            )
        self.state = "AUTH" if self.greeting.kind == "PREAUTH" else "NONAUTH"

    def _read_greeting(self) -> Response:
        """greeting = "*" SP (resp-cond-auth / resp-cond-bye) CRLF (RFC 9051 §9)."""
        try:
            text = self.wire.read_line()
        except TimeoutError as exc:
            raise self._not_greeted(
                self.wire.unread(GREETING_SIGN_OCTETS), NoGreeting(command="CONNECT")
            ) from exc
        except (ConnectionLost, OSError) as exc:
            lost = ConnectionLost(
                "The mail server closed the connection without a greeting.",
                command="CONNECT",
                server_line=type(exc).__name__,
            )
            raise self._not_greeted(self.wire.unread(GREETING_SIGN_OCTETS), lost) from exc
        line = read_line(text)
        if isinstance(line, Response) and line.kind in {"OK", "PREAUTH", "BYE"}:
            return line
        raise wrong_service("imap", recognised(text[:GREETING_SIGN_OCTETS]))

    def _not_greeted(self, said: bytes, otherwise: MailServerError) -> MailServerError:
        return wrong_service("imap", recognised(said)) if said else otherwise

    def run(self, name: str, *args: str | bytes, keep: Sequence[str] = ()) -> Answer:
        """Run one command with its time limit. Its answer holds the untagged responses of the kinds in `keep`.

        Raises:
            CommandRefused: the server answered NO or BAD; `response_code` and `server_line` are set.
            MailServerError, imaplib.IMAP4.abort, OSError: the connection is lost or out of step.
        """
        answer = self.ask(name, *args, keep=keep)
        if answer.status != "OK":
            raise refused(name, answer)
        return answer

    def ask(self, name: str, *args: str | bytes, keep: Sequence[str] = ()) -> Answer:
        """Like `run`, but returns any answer."""
        self.begin(keep)
        typ, data = self._command_complete(name, self._command(name, *args))
        return self.answer(typ, data[-1])

    def begin(self, keep: Sequence[str] = ()) -> None:
        """Begin another command: its time limit starts, and earlier answers do not count any more."""
        self.wire.start_command(self.timeout_s)
        self._start(keep)

    def answer(self, typ: str, text: bytes) -> Answer:
        """The answer to the command that has just ended."""
        return Answer(typ, text, tuple(self._responses), self._expunged, self._dropped, self.mask)

    def _start(self, keep: Sequence[str]) -> None:
        self._keep = frozenset(keep)
        self._responses: list[Response] = []
        self._statuses = 0
        self._count = 0
        self._expunged = 0
        self._dropped = 0

    # Methods that imaplib calls

    def _log(self, line: str) -> None:
        """Keep no command, because commands hold passwords."""

    def _command_complete(self, name: str, tag: bytes) -> tuple[str, list[bytes]]:
        is_logout = name == "LOGOUT"
        if not is_logout:
            self._check_bye()
        typ, data = self._get_tagged_response(tag, expect_bye=is_logout)
        if not is_logout:
            self._check_bye()
        return typ, data

    def _check_bye(self) -> None:
        if "BYE" in self.untagged_responses:
            line = "BYE " + self._bye.decode("utf-8", "replace")
            raise ConnectionLost(server_line=line, response_code=self.mask.code(status.code_of(self._bye)))

    def _get_response(self, start_timeout: object = False) -> Line | None:
        """Read a response and store it. None: the server asks for more data."""
        library: Any = self
        line = read_line(text := self.wire.read_line())
        if isinstance(line, Continuation):
            library.continuation_response = line.text
            return None
        if isinstance(line, Tagged):
            self._end(line)
        elif isinstance(line, Response):
            self._file(line, text)
        else:
            # An empty line is no sign of a wrong length: the bracket after the literal would be left over as well.
            self._dropped += bool(text.strip())
            self._count_one()
        return line

    def _end(self, line: Tagged) -> None:
        self._record_alert(line.text)
        pending: dict[bytes, Any] = self.tagged_commands
        if line.tag in pending:
            pending[line.tag] = (line.status, [line.text])
        elif self._our_tag.match(line.tag):
            self._dropped += 1  # a second end of an earlier command
            self._count_one()
        else:
            raise ConnectionLost(server_line="an answer to an unknown command")

    def _file(self, response: Response, line: bytes) -> None:
        self._count_one()
        if response.kind in STATUSES:
            self._file_status(response)
            return
        is_kept = response.kind in self._keep
        size = literal_size(line)
        if size is not None:
            response = self._with_literals(response, size, is_kept=is_kept)
        self._expunged += response.kind == "EXPUNGE"
        if is_kept:
            self._responses.append(response)

    def _file_status(self, response: Response) -> None:
        self._record_alert(response.texts[0])
        if response.kind == "BYE":
            self._bye = response.texts[0]
            self.untagged_responses["BYE"] = [self._bye]
        self._statuses += 1
        if self._statuses <= MAX_STATUS_RESPONSES and len(response.texts[0]) <= MAX_STATUS_OCTETS:
            self._responses.append(response)

    def _with_literals(self, response: Response, size: int | None, *, is_kept: bool) -> Response:
        texts = [without_literal(response.texts[0])]
        literals: list[bytes] = []
        while size is not None:
            if len(literals) == MAX_LITERALS:
                raise ConnectionLost(server_line="too many literals")
            octets = self.wire.read(size)
            literals.append(octets if is_kept else b"")
            line = self.wire.read_line()
            size = literal_size(line)
            texts.append(line if size is None else without_literal(line))
        return Response(response.kind, response.number, tuple(texts), tuple(literals))

    def _count_one(self) -> None:
        self._count += 1
        if self._count > MAX_UNTAGGED_RESPONSES:
            raise ConnectionLost(server_line="too many untagged responses")

    def _record_alert(self, line: bytes) -> None:
        """Keep the text that the server wants its user to see (RFC 9051 §7.1: clients MUST show it)."""
        found = _ALERT.search(line[:MAX_STATUS_OCTETS])
        if found:
            self.alert = self.mask.text(found[1].decode("utf-8", "replace"))

    # Before and during the login

    def converse(self, command: bytes, replies: Sequence[bytes] = ()) -> "Conversation":
        """Run a command in which the server may ask for more data. Each continuation request gets the next reply (RFC 9051
        §6.2.2, §4.3). If there is no reply left, it gets `*`, which cancels the command. The state does not change.

        Unlike other commands, it may also end with the connection, if the server has said BYE: its text counts.

        Raises:
            ConnectionLost, OSError: the connection ended without a BYE, or is out of step.
        """
        self.begin(["CAPABILITY"])
        tag = self._new_tag()
        self.send(tag + b" " + command + b"\r\n")
        asked = 0
        while self.tagged_commands[tag] is None:
            try:
                line = self._get_response()
            except (ConnectionLost, OSError):
                if "BYE" in self.untagged_responses:
                    return Conversation(self.answer("BYE", self._bye), min(asked, len(replies)))
                raise
            if line is None:
                if asked > len(replies):
                    raise ConnectionLost(server_line="the server asks for more data again and again")
                self.send((replies[asked] if asked < len(replies) else b"*") + b"\r\n")
                asked += 1
        ended: Any = self.tagged_commands.pop(tag)
        return Conversation(self.answer(ended[0], ended[1][-1]), min(asked, len(replies)))

    def start_tls(self, how: Secured) -> None:
        """STARTTLS (RFC 9051 §6.2.1). The capabilities that were announced in plain text are forgotten.

        Raises:
            CommandRefused: the server does not offer it, or refuses it. The connection never falls back to plain text.
            ConnectionLost: the server sent more than its answer before TLS began; an attacker may have injected it.
            CertificateRefused, TlsTooOld, TlsFailed, NoGreeting
        """
        self.run("STARTTLS")
        if self.wire.has_unread():
            raise ConnectionLost(command="STARTTLS")
        self.wire.sock = secure(self.wire.sock, how, self.timeout_s)
        self.sock = self.wire.sock
        self.untagged_responses.clear()
        self.greeting = None


def refused(command: str, answer: Answer) -> CommandRefused:
    """The error of a NO or BAD. If its text is empty or has no code, an untagged NO, BAD or BYE may have one."""
    line = answer.text
    code = status.code_of(line)
    if code is None:
        told = [each.texts[0] for each in answer.responses if each.kind in {"NO", "BAD", "BYE"}]
        code = next((found for each in told if (found := status.code_of(each)) is not None), None)
    text = f"{answer.status} {line.decode('utf-8', 'replace')}"
    return CommandRefused(command=command, server_line=text, response_code=answer.mask.code(code))
