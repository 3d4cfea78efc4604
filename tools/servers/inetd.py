"""Real IMAP servers that are made to be started for one connection each, as inetd did: the front here takes the
connection and the login, then the server itself speaks.

A further server of this kind is one small file: its package, its environment or configuration, and how it is told
who has logged in (`courier.py`, `mailutils.py`).
"""

import contextlib
import itertools
import re
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from imapclient import IMAPClient

from tools.servers.dovecot import StoredMessage
from tools.servers.front import Front
from tools.servers.process import server_account, work_folder

TIMEOUT_S = 30.0
GRACE_S = 5.0
CHUNK_OCTETS = 65536
_LOGIN = re.compile(rb'^(\S+) LOGIN "?([^" ]*)"? "?([^" ]*)"?\r?\n$', re.IGNORECASE)


@dataclass(frozen=True)
class Program:
    """How the server is started for one user."""

    command: Sequence[str | Path]
    environment: dict[str, str]
    greets: bool
    """It begins with a greeting of its own, which the client must not see a second time."""


class InetdImapServer(Front):
    """A server on a free loopback port. Use as a context manager. Any user name logs in with `password`."""

    password = "correct-horse"
    trash = "Trash"
    """The name of the trash on this server."""
    capabilities = "IMAP4rev1"
    """What the front announces before the login."""

    def __init__(self) -> None:
        self._users = itertools.count(1)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def locate(self) -> None:
        """Find the programs. Raises ServerMissing if they are not available."""
        raise NotImplementedError

    def program_for(self, user: str, tag: str) -> Program:
        """How the server is started for a user, whose login command had this tag."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.folder = work_folder("imap-", server_account())
        try:
            self.locate()
            return super().__enter__()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, value, trace)
        with self._lock:
            running = list(self._running)
        for process in running:
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What tests use

    def new_user(self) -> str:
        """A user name that has an empty mailbox and belongs to the caller."""
        user = f"user{next(self._users)}-{secrets.token_hex(4)}"
        with self.client(user) as client:
            client.create_folder(self.trash)
        return user

    @contextlib.contextmanager
    def client(self, user: str) -> Iterator[IMAPClient]:
        """A second client, logged in, independent of the code under test; dates come aware."""
        connection = IMAPClient(self.host, self.port, ssl=False, timeout=TIMEOUT_S)
        connection.normalise_times = False
        try:
            connection.login(user, self.password)
            yield connection
        finally:
            with contextlib.suppress(OSError, connection.Error):
                connection.logout()

    def deliver_all(
        self, user: str, raws: Sequence[bytes], folder: str = "INBOX", *, flags: Sequence[str] = ()
    ) -> None:
        """Append the mails."""
        with self.client(user) as client:
            for raw in raws:
                client.append(folder, raw, flags)

    def deliver(self, user: str, raw: bytes, folder: str = "INBOX", *, flags: Sequence[str] = ()) -> None:
        """Append one mail."""
        self.deliver_all(user, [raw], folder, flags=flags)

    def messages(self, user: str, folder: str = "INBOX") -> list[StoredMessage]:
        """All mails of the folder in UID order, read without setting \\Seen."""
        with self.client(user) as client:
            client.select_folder(folder, readonly=True)
            found = client.fetch(client.search("ALL"), ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"])
        return [
            StoredMessage(
                uid=uid,
                flags=frozenset(flag.decode() for flag in data[b"FLAGS"] if flag != b"\\Recent"),
                internal_date=data[b"INTERNALDATE"],
                raw=data[b"BODY[]"],
            )
            for uid, data in sorted(found.items())
        ]

    # The front

    def serve(self, client: socket.socket) -> None:
        client.settimeout(TIMEOUT_S)
        with contextlib.suppress(OSError), client:
            client.sendall(b"* OK ready\r\n")
            # Unbuffered: what follows the login is the server's.
            lines = client.makefile("rb", buffering=0)
            logged_in = self._log_in(client, lines)
            if logged_in is not None:
                self._hand_over(client, *logged_in)

    def _log_in(self, client: socket.socket, lines: socket.SocketIO) -> tuple[str, str] | None:
        while line := lines.readline():
            tag = line.split(b" ", 1)[0]
            login = _LOGIN.match(line)
            if login is not None and login[3].decode() == self.password:
                return login[2].decode(), tag.decode()
            if login is not None:
                client.sendall(tag + b" NO Login failed.\r\n")
            elif b"CAPABILITY" in line.upper():
                client.sendall(f"* CAPABILITY {self.capabilities}\r\n".encode() + tag + b" OK done\r\n")
            elif b"LOGOUT" in line.upper():
                client.sendall(b"* BYE\r\n" + tag + b" OK done\r\n")
                return None
            else:
                client.sendall(tag + b" BAD Log in first.\r\n")
        return None

    def _hand_over(self, client: socket.socket, user: str, tag: str) -> None:
        program = self.program_for(user, tag)
        process = subprocess.Popen(
            [str(word) for word in program.command],
            env=program.environment,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with self._lock:
            self._running.add(process)
        try:
            if program.greets:
                _read_line(process.stdout)
                client.sendall(tag.encode() + b" OK logged in\r\n")
            upwards = threading.Thread(target=_relay, args=(client, process.stdin), daemon=True)
            upwards.start()
            while octets := process.stdout.read(CHUNK_OCTETS):
                client.sendall(octets)
        finally:
            # Ended as by a connection that is gone: what is killed leaves its locks behind.
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
            with self._lock:
                self._running.discard(process)


def _relay(client: socket.socket, server: IO[bytes]) -> None:
    client.settimeout(None)
    with contextlib.suppress(OSError, ValueError):
        while octets := client.recv(CHUNK_OCTETS):
            server.write(octets)
    with contextlib.suppress(OSError):
        server.close()


def _read_line(stream: IO[bytes]) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (octet := stream.read(1)):
        line += octet
    return line
