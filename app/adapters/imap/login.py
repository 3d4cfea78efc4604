"""Connects and logs in: TCP, TLS, the greeting, the password. Gives a session that ends with its block."""

import contextlib
from collections.abc import Iterator

from app.adapters.imap.answers import capability
from app.adapters.imap.authentication import log_in
from app.adapters.imap.connection import WiredIMAP4
from app.adapters.imap.errors import translating
from app.adapters.imap.session import ImapSession
from app.adapters.imap.values import ConnectionPolicy, ServerAddress
from app.adapters.imap.wire import Wire, open_wire
from app.errors import ConnectionLost, MailServerError, MailServerTimeout, MailServerUnavailable


@contextlib.contextmanager
def connect(server: ServerAddress, password: str, access: ConnectionPolicy) -> Iterator[ImapSession]:
    """A logged-in session. It ends when the block ends.

    Raises:
        HostUnreachable, CertificateRefused, MailServerTimeout, ConnectionLost
        LoginRefused, and the other errors of `log_in`.
    """
    try:
        imap, session = _open(server, access)
    except (MailServerUnavailable, MailServerTimeout) as exc:
        exc.turned_away = True
        raise
    try:
        log_in(imap, session, server, password)
        yield session
    except MailServerError as exc:
        exc.alert = session.alert
        raise
    finally:
        session.end()


def _open(server: ServerAddress, access: ConnectionPolicy) -> tuple[WiredIMAP4, ImapSession]:
    # Plain text is used only in the allowed private networks, whatever the name resolves to now.
    def opened() -> Wire:
        return open_wire(
            lambda: access.network.connect(
                server.host,
                server.port,
                access.within(access.connect_timeout_s),
                private_only=server.security == "none",
            ),
            access.tls if server.security == "tls" else None,
            server.host,
            ends_at=access.ends_at,
        )

    with translating("CONNECT"):
        imap = WiredIMAP4(opened, access.command_timeout_s)
    try:
        with translating("CONNECT"):
            # A server that greets with PREAUTH would prevent STARTTLS (CVE-2021-39272), and accepts no login.
            if imap.state != "NONAUTH":
                raise ConnectionLost(command="PREAUTH")
            if server.security == "starttls":
                imap.start_tls(access.tls, server.host)
        session = ImapSession(imap, access.max_literal_octets)
        greeting = [imap.greeting] if imap.greeting is not None else []
        session.capabilities = capability.read_capabilities(greeting) or frozenset()
        session.refresh_capabilities()
    except BaseException:
        imap.shutdown()
        raise
    return imap, session
