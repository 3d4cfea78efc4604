"""A real SMTP server for tests: records what it was given, refuses what it is told to refuse.

It runs in a thread with an event loop of its own, so the code under test may block.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from app.states import Security
from tools.servers.certificates import Certificates
from tools.servers.process import ServerFailed


@dataclass(frozen=True)
class ReceivedMail:
    """One mail whose final dot the server has seen, whatever it answered then."""

    envelope_from: str
    envelope_recipients: tuple[str, ...]  # those that were accepted
    raw: bytes
    mail_options: tuple[str, ...]  # SIZE=…, BODY=8BITMIME, SMTPUTF8
    authenticated_as: str | None
    over_tls: bool
    answer: str | None  # None: the connection was dropped instead


@dataclass
class Behaviour:
    """The behaviour that a test sets. Replies are full SMTP lines ("550 5.1.1 No such user")."""

    sender_reply: str | None = None
    recipient_replies: dict[str, str] = field(default_factory=dict)
    recipient_limit: int | None = None  # in one transaction
    limit_reply: str = "452 4.5.3 Too many recipients"
    data_reply: str | None = None
    drop_after_dot: bool = False  # close without an answer: the client can't know whether it was taken
    data_delay_s: float = 0.0  # before the answer to the final dot


class SmtpServer:
    """An SMTP server on a free loopback port. Use as a context manager, or `start` and `stop`.

    With `user` and `password` it offers AUTH PLAIN and LOGIN; `auth_required` refuses MAIL without it.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        security: Security = Security.NONE,
        certificates: Certificates | None = None,
        user: str | None = None,
        password: str | None = None,
        auth_required: bool = False,
        data_size_limit: int = 33554432,
    ) -> None:
        if security != Security.NONE and certificates is None:
            raise ValueError(f"security {security!r} needs certificates")
        self.security = security
        self.certificates = certificates
        self.user = user
        self.password = password
        self.behaviour = Behaviour()
        self.port = 0
        self.login_attempts = 0
        self.connections = 0
        self._auth_required = auth_required
        self._data_size_limit = data_size_limit
        self._mails: list[ReceivedMail] = []
        self._arrived = threading.Condition()
        self._connections: set[SMTP] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp-server", daemon=True)

    def start(self) -> Self:
        """Start listening; `port` is set then."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def stop(self) -> None:
        """Stop listening and drop all connections."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What tests use

    @property
    def mails(self) -> list[ReceivedMail]:
        """What has arrived so far, oldest first."""
        with self._arrived:
            return list(self._mails)

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[ReceivedMail]:
        """The mails, once there are `count` of them; ServerFailed when there aren't in time."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._mails) >= count, timeout_s):
                raise ServerFailed(f"{len(self._mails)} mails after {timeout_s:g} s, not {count}")
            return list(self._mails)

    def reset(self) -> None:
        """Forget the mails and take everything again."""
        with self._arrived:
            self._mails.clear()
        self.behaviour = Behaviour()

    # aiosmtpd's hooks, called in the server's thread

    async def handle_MAIL(  # noqa: N802
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if self._auth_required and not session.authenticated:
            return "530 5.7.0 Authentication required"  # RFC 4954 section 6
        if self.behaviour.sender_reply is not None:
            return self.behaviour.sender_reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        reply = self.behaviour.recipient_replies.get(address)
        limit = self.behaviour.recipient_limit
        if limit is not None and len(envelope.rcpt_tos) >= limit:
            return self.behaviour.limit_reply
        if reply is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        behaviour = self.behaviour
        answer = behaviour.data_reply or "250 2.0.0 Queued"
        raw = envelope.original_content
        assert raw is not None
        mail = ReceivedMail(
            envelope_from=envelope.mail_from or "",
            envelope_recipients=tuple(address or "" for address in envelope.rcpt_tos),
            raw=raw,
            mail_options=tuple(envelope.mail_options),
            authenticated_as=session.auth_data if session.authenticated else None,
            over_tls=self.security == Security.TLS or session.ssl is not None,
            answer=None if behaviour.drop_after_dot else answer,
        )
        with self._arrived:
            self._mails.append(mail)
            self._arrived.notify_all()
        if behaviour.data_delay_s:
            await asyncio.sleep(behaviour.data_delay_s)
        if behaviour.drop_after_dot and server.transport is not None:
            server.transport.abort()  # type: ignore[attr-defined]
        return answer

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: object
    ) -> AuthResult:
        self.login_attempts += 1
        if isinstance(auth_data, LoginPassword) and self.user is not None and self.password is not None:
            user, password = auth_data.login.decode(), auth_data.password.decode()
            if (user, password) == (self.user, self.password):
                return AuthResult(success=True, auth_data=user)
        return AuthResult(success=False, handled=False)  # not handled: aiosmtpd answers 535

    # Starting and ending, in the server's thread

    def _connection(self, tls: ssl.SSLContext | None) -> SMTP:
        self.connections += 1
        return SMTP(
            self,
            hostname="smtp.firma.test",
            ident="ESMTP",
            enable_SMTPUTF8=True,
            data_size_limit=self._data_size_limit,
            tls_context=tls if self.security == Security.STARTTLS else None,
            authenticator=self._authenticate if self.user is not None else None,
            # Over implicit TLS aiosmtpd does not see the encryption, and would withhold AUTH.
            auth_require_tls=self.security == Security.STARTTLS,
            auth_exclude_mechanism=() if self.user is not None else ("LOGIN", "PLAIN"),
            loop=self._loop,
        )

    async def _listen(self) -> None:
        tls = self.certificates.server_context() if self.certificates else None
        accept: Callable[[], SMTP] = lambda: self._connection(tls)  # noqa: E731
        implicit = tls if self.security == Security.TLS else None
        self._server = await self._loop.create_server(accept, self.host, 0, ssl=implicit)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in others:  # each open connection is one task
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*others, return_exceptions=True)
