"""Connects and logs in: TCP, TLS, the greeting, the password. Gives a session that ends with its block."""

import contextlib
from collections.abc import Callable, Iterator

from app.adapters import login_refusals
from app.adapters.imap.authentication import log_in
from app.adapters.imap.opening import open_session
from app.adapters.imap.session import ImapSession
from app.adapters.imap.values import ConnectionPolicy, ServerAddress
from app.adapters.masking import Mask
from app.errors import (
    CommandRefused,
    ConnectionLost,
    ImapSwitchedOff,
    MailServerError,
    MailServerRejected,
    MailServerTimeout,
    MailServerUnavailable,
)


@contextlib.contextmanager
def connect(
    server: ServerAddress,
    password: str,
    access: ConnectionPolicy,
    *,
    logging_in: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> Iterator[ImapSession]:
    """A logged-in session. It ends when the block ends. `logging_in` returns a context manager that surrounds the login; it gets
    the error of the login in its final form.

    Raises:
        MailServerError: the errors of `open_session` and `log_in`.
    """
    mask = Mask(server.username, password)
    try:
        imap, session = open_session(server, access, mask)
    except MailServerError as exc:
        exc.turned_away = isinstance(exc, MailServerUnavailable | MailServerTimeout)
        exc.mask(mask.text)
        raise
    try:
        with logging_in(), _masking(session, mask):
            log_in(imap, session, server, password, silent_at_id=access.silent_at_id)
        try:
            with _masking(session, mask), _explained_by_alert(session, server.username):
                yield session
        except MailServerRejected as exc:
            if exc.command == "SELECT":  # 163.com wants an ID before
                access.silent_at_id.forget(server.host, server.port)
            raise
    finally:
        session.end()


def capabilities(server: ServerAddress, access: ConnectionPolicy) -> frozenset[str]:
    """What a server offers before anybody has logged in. Nothing is tried.

    Raises:
        MailServerError: the errors of `open_session`.
    """
    _, session = open_session(server, access, Mask(server.username, None))
    try:
        return session.capabilities
    finally:
        session.end()


@contextlib.contextmanager
def _explained_by_alert(session: ImapSession, username: str) -> Iterator[None]:
    """Some servers let a user in for whom IMAP is switched off, say so in an ALERT, and then refuse every command, or answer
    none (poczta.interia.pl)."""
    try:
        yield
    except (CommandRefused, ConnectionLost, MailServerTimeout) as exc:
        if login_refusals.by_words(session.alert or "", username=username) is ImapSwitchedOff:
            raise ImapSwitchedOff(command=exc.command, server_line=exc.server_line) from exc
        raise


@contextlib.contextmanager
def _masking(session: ImapSession, mask: Mask) -> Iterator[None]:
    try:
        yield
    except MailServerError as exc:
        exc.alert = session.alert
        exc.mask(mask.text)
        raise
