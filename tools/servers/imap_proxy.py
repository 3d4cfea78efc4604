"""A proxy between the gateway and a real IMAP server that makes the server worse: it hides capabilities (a server's
own configuration only stops announcing them) and breaks chosen commands.

It speaks plain text and knows lines and literals of the server's answers; of the client it knows lines.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

from tools.servers.front import Front

HIDDEN_COMMANDS = {
    b"MOVE": rb"UID MOVE ",
    b"UIDPLUS": rb"UID EXPUNGE ",
    b"NAMESPACE": rb"NAMESPACE",
    b"UNSELECT": rb"UNSELECT",
}
"""What a server without the capability does not know."""
_TAG = re.compile(rb"^(\S+) (.*)$", re.DOTALL)
_LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n$")
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Exchange:
    """A command on its way: what a fault may do with it."""

    tag: bytes
    command: bytes
    pass_on: Callable[[], list[bytes]]
    """Send it to the server; the answer's lines, the tagged one last, none of them passed to the client."""


Fault = Callable[[Exchange], list[bytes] | None]
"""Gives the lines that the client gets, or None to cut the connection."""


def cut_before(exchange: Exchange) -> None:
    """The command never reaches the server."""


def cut_after(exchange: Exchange) -> None:
    """The server carries the command out, the answer never reaches the client."""
    exchange.pass_on()


def answer(text: str) -> Fault:
    """Answer in the server's stead, as `NO [OVERQUOTA] full`."""
    return lambda exchange: [exchange.tag + b" " + text.encode() + b"\r\n"]


def answer_after(text: str) -> Fault:
    """The server carries the command out; the client gets another answer, without untagged responses."""

    def fault(exchange: Exchange) -> list[bytes]:
        exchange.pass_on()
        return [exchange.tag + b" " + text.encode() + b"\r\n"]

    return fault


def rewritten(pattern: bytes, replacement: bytes) -> Fault:
    """The server's answer, with everything that matches replaced."""
    return lambda exchange: [re.sub(pattern, replacement, line) for line in exchange.pass_on()]


def without_copyuid(exchange: Exchange) -> list[bytes]:
    """The server does not report the new UIDs of the mails."""
    return [re.sub(rb"\[COPYUID [^\]]*\] ?", b"", line) for line in exchange.pass_on()]


class ImapProxy(Front):
    """Listens on a free loopback port for as long as the block lasts. `commands` is what clients have sent, LOGIN
    and AUTHENTICATE by their names alone."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._hidden: frozenset[bytes] = frozenset()
        self._faults: list[tuple[re.Pattern[bytes], Fault, list[int]]] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.commands: list[str] = []
        self.octets_sent = 0
        """To clients, so far."""
        self.connections = 0
        self._cut_at: int | None = None
        self._turning_away: bytes | None = None

    def cut_at(self, octets: int) -> None:
        """Cut the connection once, after this many octets to clients, wherever in an answer that is."""
        self._cut_at = octets

    def turn_away(self, octets: bytes | None) -> None:
        """Close each new connection after these octets, as `* BYE too busy`; None: let them in again."""
        self._turning_away = octets

    def hide(self, *capabilities: str) -> None:
        """Let the server seem to lack these, and refuse their commands."""
        self._hidden = frozenset(name.encode() for name in capabilities)

    def break_on(self, pattern: str, fault: Fault, *, times: int = 1, skip: int = 0) -> None:
        """Apply a fault to the next commands that match, as `UID MOVE`; after `skip` that pass."""
        with self._lock:
            self._faults.append((re.compile(pattern.encode(), re.IGNORECASE), fault, [skip, times]))

    def sent(self, pattern: str) -> list[str]:
        """The commands that match."""
        return [command for command in self.commands if re.match(pattern, command, re.IGNORECASE)]

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, value, trace)
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            _close(each)

    def serve(self, client: socket.socket) -> None:
        self.connections += 1
        if self._turning_away is not None:
            with contextlib.suppress(OSError):
                client.sendall(self._turning_away)
            _close(client)
            return
        server = socket.create_connection((self.host, self._server_port), timeout=TIMEOUT_S)
        client.settimeout(TIMEOUT_S)
        with self._lock:
            self._sockets |= {client, server}
        try:
            with contextlib.suppress(OSError):
                self._converse(client, server)
        finally:
            _close(client)
            _close(server)
            with self._lock:
                self._sockets -= {client, server}

    def _converse(self, client: socket.socket, server: socket.socket) -> None:
        from_client, from_server = client.makefile("rb"), server.makefile("rb")
        self._send(client, self._without_hidden(_response(from_server)))
        while line := from_client.readline():
            parts = _TAG.match(line)
            assert parts is not None, line
            tag, command = parts[1], parts[2].rstrip(b"\r\n")
            self._record(command)

            def pass_on(tag: bytes = tag, line: bytes = line) -> list[bytes]:
                server.sendall(line)
                return [self._without_hidden(each) for each in _answer(from_server, tag)]

            answered = self._answer(Exchange(tag, command, pass_on))
            if answered is None:
                return
            self._send(client, b"".join(answered))
            while answered and answered[-1].startswith(b"+"):
                more = from_client.readline()
                answered = pass_on(line=more)
                self._send(client, b"".join(answered))

    def _send(self, client: socket.socket, octets: bytes) -> None:
        with self._lock:
            room = None if self._cut_at is None else self._cut_at - self.octets_sent
            if room is not None and len(octets) >= room:
                self._cut_at = None
                octets = octets[:room]
            else:
                room = None
            self.octets_sent += len(octets)
        client.sendall(octets)
        if room is not None:
            raise ConnectionResetError("cut here")

    def _answer(self, exchange: Exchange) -> list[bytes] | None:
        for capability in self._hidden:
            pattern = HIDDEN_COMMANDS.get(capability)
            if pattern is not None and re.match(pattern, exchange.command, re.IGNORECASE):
                return [exchange.tag + b" BAD Unknown command\r\n"]
        fault = self._fault_for(exchange.command)
        return exchange.pass_on() if fault is None else fault(exchange)

    def _fault_for(self, command: bytes) -> Fault | None:
        with self._lock:
            for pattern, fault, left in self._faults:
                if pattern.match(command):
                    if left[0] > 0:
                        left[0] -= 1
                    elif left[1] > 0:
                        left[1] -= 1
                        return fault
        return None

    def _record(self, command: bytes) -> None:
        text = command.decode("utf-8", "replace")
        self.commands.append(text.split()[0] if text.upper().startswith(("LOGIN", "AUTH")) else text)

    def _without_hidden(self, line: bytes) -> bytes:
        if self._hidden and b"CAPABILITY" in line[:200]:
            for capability in self._hidden:
                line = re.sub(rb" " + capability + rb"(?=[ \]\r])", b"", line)
        if b"UIDPLUS" in self._hidden:
            line = re.sub(rb"\[(COPYUID|APPENDUID) [^\]]*\] ?", b"", line)
        return line


def _answer(stream: BinaryIO, tag: bytes) -> list[bytes]:
    """The responses up to the tagged one, or to a continuation request."""
    lines = []
    while True:
        lines.append(_response(stream))
        if lines[-1].startswith((tag + b" ", b"+")):
            return lines


def _response(stream: BinaryIO) -> bytes:
    """One response, with its literals."""
    response = b""
    while True:
        line = stream.readline()
        if not line:
            raise ConnectionResetError("the server has hung up")
        response += line
        literal = _LITERAL.search(line)
        if literal is None:
            return response
        response += stream.read(int(literal[1]))


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
