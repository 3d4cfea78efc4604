"""Connecting and logging in: TCP, TLS, the greeting, the password. Gives a session, ended with its block."""

import contextlib
from collections.abc import Iterator

from app.adapters.imap.answers import capability
from app.adapters.imap.connection import WiredIMAP4, refused
from app.adapters.imap.errors import translating
from app.adapters.imap.session import ImapSession, quoted
from app.adapters.imap.values import ConnectionPolicy, ServerAddress
from app.adapters.imap.wire import Wire, open_wire
from app.errors import (
    CommandRefused,
    ConnectionLost,
    LoginRefused,
    MailServerError,
    MailServerTimeout,
    MailServerUnavailable,
    TooManyConnections,
)


@contextlib.contextmanager
def connect(server: ServerAddress, password: str, access: ConnectionPolicy) -> Iterator[ImapSession]:
    """A logged-in session, ended when the block ends.

    Raises:
        HostUnreachable, CertificateRefused, MailServerTimeout, ConnectionLost
        LoginRefused: user name or password are wrong, as far as the server says.
        TooManyConnections, Throttled, MailServerUnavailable: the server does not want us now.
    """
    try:
        imap, session = _open(server, access)
    except (MailServerUnavailable, MailServerTimeout) as exc:
        exc.turned_away = True
        raise
    try:
        _login(imap, session, server, password)
        session.refresh_capabilities()
        yield session
    except MailServerError as exc:
        exc.alert = session.alert
        raise
    finally:
        session.end()


def _open(server: ServerAddress, access: ConnectionPolicy) -> tuple[WiredIMAP4, ImapSession]:
    # Plain text is spoken only in the allowed private networks, whatever the name answers by now.
    def opened() -> Wire:
        return open_wire(
            lambda: access.network.connect(
                server.host,
                server.port,
                access.connect_timeout_s,
                private_only=server.security == "none",
            ),
            access.tls if server.security == "tls" else None,
            server.host,
        )

    with translating("CONNECT"):
        imap = WiredIMAP4(opened, access.command_timeout_s)
    try:
        with translating("CONNECT"):
            # A server that greets with PREAUTH would keep us from STARTTLS (CVE-2021-39272), and takes no login.
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


def _login(imap: WiredIMAP4, session: ImapSession, server: ServerAddress, password: str) -> None:
    if "LOGINDISABLED" in session.capabilities and "AUTH=PLAIN" not in session.capabilities:
        raise LoginRefused("The mail server allows no login with a password on this connection.")
    as_plain = not (server.username + password).isascii() or "LOGINDISABLED" in session.capabilities
    try:
        with translating("LOGIN"):
            if as_plain:  # LOGIN takes no UTF-8; SASL PLAIN does (RFC 4616)
                answer = imap.authenticate_plain(f"\0{server.username}\0{password}".encode())
                if answer.status != "OK":
                    raise refused("AUTHENTICATE", answer)
            else:
                answer = imap.run("LOGIN", quoted(server.username.encode()), quoted(password.encode()))
    except CommandRefused as exc:
        raise _login_error(exc) from exc
    except MailServerUnavailable as exc:
        # Of `[INUSE]` and the like the mailbox is the reason.
        exc.turned_away = exc.response_code == "UNAVAILABLE"
        raise
    imap.state = "AUTH"
    told = capability.read_capabilities(answer.responses, answer.text)
    session.capabilities = told or session.capabilities


def _login_error(refusal: CommandRefused) -> MailServerError:
    """What a refused login means (RFC 5530): only some of them are about the password."""
    told = {"command": "LOGIN", "server_line": refusal.server_line, "response_code": refusal.response_code}
    if refusal.response_code == "LIMIT":
        crowded = TooManyConnections(**told)
        crowded.turned_away = True
        return crowded
    if (refusal.server_line or "").startswith("BAD"):
        return refusal
    return LoginRefused(**told)
