"""The mail servers of the demo, in this process and in memory: pymap for IMAP, aiosmtpd as the sink for sent mail."""

import asyncio
import imaplib
import socket
import threading
import warnings
from argparse import ArgumentParser
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pymap.backend.dict import DictBackend
from pymap.imap import IMAPService
from pymap.user import Passwords, UserMetadata

from app import clock

HOST = "127.0.0.1"
TIMEOUT_S = 20.0

Result = TypeVar("Result")


@dataclass
class MailServers:
    """Both running servers. `sent` holds the mails that the sink has accepted."""

    imap_port: int
    smtp_port: int
    sent: list[bytes] = field(default_factory=list)

    def deliver(self, user: str, password: str, raw: bytes, folder: str = "INBOX") -> None:
        """Deliver a mail into a mailbox."""
        with self._mailbox(user, password) as mailbox:
            mailbox.append(f'"{folder}"', "", imaplib.Time2Internaldate(clock.utc_now()), raw)

    def create_folders(self, user: str, password: str, names: Sequence[str]) -> None:
        """Create folders, as people do in their mail program."""
        with self._mailbox(user, password) as mailbox:
            for name in names:
                mailbox.create(f'"{name}"')

    def counts(self, user: str, password: str, names: Sequence[str]) -> dict[str, int]:
        """The number of mails in each of the folders, seen by another client than the gateway."""
        with self._mailbox(user, password) as mailbox:
            return {name: _count(mailbox, name) for name in names}

    @contextmanager
    def _mailbox(self, user: str, password: str) -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4(HOST, self.imap_port, TIMEOUT_S) as mailbox:
            mailbox.login(user, password)
            yield mailbox


@contextmanager
def mail_servers(passwords: dict[str, str]) -> Iterator[MailServers]:
    """Servers with a mailbox for each user in `passwords`. They end with the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="demo-mail-servers", daemon=True)
    thread.start()
    servers = MailServers(imap_port=free_port(), smtp_port=free_port())
    stack = AsyncExitStack()
    try:
        _within(loop, _start_imap(servers.imap_port, passwords, stack))
        _within(loop, _start_smtp(servers, passwords, stack))
        yield servers
    finally:
        _within(loop, stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT_S)


def free_port(wanted: int = 0) -> int:
    """The wanted port if it is free, otherwise another one."""
    for port in (wanted, 0):
        try:
            with socket.create_server((HOST, port)) as probe:
                number: int = probe.getsockname()[1]
                return number
        except OSError:
            continue
    raise OSError("no free port")


def _within(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Result]) -> Result:
    future: Future[Result] = asyncio.run_coroutine_threadsafe(work, loop)
    return future.result(TIMEOUT_S)


async def _start_imap(port: int, passwords: dict[str, str], stack: AsyncExitStack) -> None:
    parser = ArgumentParser()
    DictBackend.add_subparser("dict", parser.add_subparsers())
    IMAPService.add_arguments(parser)
    arguments = parser.parse_args(["--host", HOST, "--port", str(port), "--no-tls", "dict"])
    arguments.debug = False
    arguments.passlib_cfg = None
    backend, config = await DictBackend.init(arguments, secure_auth=False, reject_dnsbl=False)
    config.apply_context()
    for user, password in passwords.items():
        hashed = await Passwords(config).hash_password(password)
        backend.login.users_dict[user] = UserMetadata(config, user, password=hashed)
    await backend.start(stack)
    await IMAPService(backend, config).start(stack)


async def _start_smtp(servers: MailServers, passwords: dict[str, str], stack: AsyncExitStack) -> None:
    class Sink:
        async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
            assert isinstance(envelope.content, bytes)  # the server was not asked to decode
            servers.sent.append(envelope.content)
            return "250 2.0.0 accepted"

    def authenticate(
        _server: object, _session: object, _envelope: object, _how: str, given: object
    ) -> AuthResult:
        if not isinstance(given, LoginPassword):
            return AuthResult(success=False)
        return AuthResult(success=passwords.get(given.login.decode()) == given.password.decode())

    def protocol() -> SMTP:
        # aiosmtpd warns of passwords in plain text; these belong to the demo and stay on this machine.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return _smtp()

    def _smtp() -> SMTP:
        return SMTP(Sink(), authenticator=authenticate, auth_required=True, auth_require_tls=False)

    server = await asyncio.get_running_loop().create_server(protocol, HOST, servers.smtp_port)
    stack.push_async_callback(server.wait_closed)
    stack.callback(server.close)


def _count(mailbox: imaplib.IMAP4, name: str) -> int:
    status, answer = mailbox.status(f'"{name}"', "(MESSAGES)")
    if status != "OK" or not isinstance(answer[0], bytes):
        return 0
    return int(answer[0].rstrip(b")").rsplit(b" ", 1)[1])
