"""Keeps connections while one mailbox has work. Providers count logins, and lock an account that logs in for each mail.

One thread of the sender has the connections during one turn of one connector, and closes them at its end.
"""

import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from app.adapters import smtp
from app.adapters.imap import ImapSession, ServerAddress
from app.adapters.smtp import Envelope, Limits, RecipientResult
from app.errors import MailServerError
from app.gateway import Gateway
from app.services import logins
from app.services.mailboxes import login_tries
from app.services.mailboxes.credentials import StoredSecret
from app.services.mailboxes.login_tries import Login


class Kept:
    """At most one connection for sending, and one for filing copies. Use as a context manager."""

    def __init__(self, gateway: Gateway, limits: Limits, stopping: Callable[[], bool]) -> None:
        self._gateway, self._limits, self._stopping = gateway, limits, stopping
        self._session: smtp.Session | None = None
        self._server: smtp.Server | None = None
        self._mailbox: ImapSession | None = None
        self._mailbox_of: tuple[ServerAddress, StoredSecret] | None = None
        self._open_mailbox = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_session()
        self.close_mailbox()

    def submit(
        self, server: smtp.Server, secret: StoredSecret, envelope: Envelope, content: bytes
    ) -> Sequence[RecipientResult]:
        """Submit over the kept connection, or over a new one if there is none to this server or it has ended.

        Raises:
            MailServerError: nothing was sent to anybody.
            TooManyRefusedLogins: the server was not asked.
        """
        if self._session is not None and self._server == server and self._session.is_usable:
            try:
                return self._session.submit(envelope, content)
            except MailServerError as exc:
                if not smtp.is_worn_out(exc):
                    raise
        self._close_session()
        with self._tries(server, secret):
            self._session = smtp.Session(
                server,
                network=self._gateway.mail_network,
                tls=self._gateway.tls,
                limits=self._limits,
                stopping=self._stopping,
                logging_in=lambda: logins.over_smtp(self._gateway, secret),
                ehlo_name=self._gateway.settings.ehlo_name,
            )
        self._server = server
        return self._session.submit(envelope, content)

    def in_mailbox(
        self, server: ServerAddress, secret: StoredSecret, work: Callable[[ImapSession], None]
    ) -> None:
        """Do work in the kept session of this mailbox, or in a new one. The work may be repeated. After an error no session is kept.

        Raises:
            SecretUnreadable, MailServerError
        """
        if self._mailbox is not None and self._mailbox_of == (server, secret):
            try:
                work(self._mailbox)
            except MailServerError:
                self.close_mailbox()  # servers end idle sessions
            else:
                return
        self.close_mailbox()
        self._mailbox = self._open_mailbox.enter_context(logins.logged_in(self._gateway, secret, server))
        self._mailbox_of = (server, secret)
        try:
            work(self._mailbox)
        except BaseException:
            self.close_mailbox()
            raise

    def close_mailbox(self) -> None:
        self._mailbox = self._mailbox_of = None
        with contextlib.suppress(MailServerError):
            self._open_mailbox.close()

    def _tries(self, server: smtp.Server, secret: StoredSecret) -> contextlib.AbstractContextManager[object]:
        if server.username is None:  # no login
            return contextlib.nullcontext()
        login = Login("smtp", server.host, server.port, server.username)
        return login_tries.taken(self._gateway, secret.tries, login)

    def _close_session(self) -> None:
        session, self._session, self._server = self._session, None, None
        if session is not None:
            session.close()
