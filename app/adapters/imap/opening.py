"""Opens a session over IMAP, without a login: TCP, TLS, the greeting, STARTTLS."""

import time

from app.adapters.handshake import Secured, await_greeting, secure
from app.adapters.imap.answers import capability
from app.adapters.imap.connection import WiredIMAP4
from app.adapters.imap.errors import translating
from app.adapters.imap.session import ImapSession
from app.adapters.imap.values import ConnectionPolicy, ServerAddress
from app.adapters.imap.wire import Wire
from app.adapters.masking import Mask
from app.errors import CommandRefused, MailServerUnavailable, NoLoginMethod, StarttlsNotOffered
from app.states import Security

LOGGED_IN_ALREADY = "The mail server says that somebody is logged in already (PREAUTH), so it takes no user name and password."


def open_session(
    server: ServerAddress, access: ConnectionPolicy, mask: Mask
) -> tuple[WiredIMAP4, ImapSession]:
    """A session in which nobody has logged in.

    Raises:
        HostUnreachable, ConnectTimedOut, NoGreeting, ConnectionLost
        MailServerUnavailable: the server turns us away, or has no TLS at the moment.
        NotImap, NotTls, TlsExpected, StarttlsNotOffered, TlsTooOld, TlsFailed, CertificateRefused
    """
    imap = _greeted(server, access, mask)
    try:
        with translating("CONNECT"):
            # A server that greets with PREAUTH would keep us from STARTTLS (CVE-2021-39272), and takes no login.
            if imap.state != "NONAUTH":
                raise NoLoginMethod(LOGGED_IN_ALREADY, command="PREAUTH")
        if server.security == Security.STARTTLS:
            _start_tls(imap, server, access)
        session = ImapSession(imap, access.max_literal_octets)
        greeting = [imap.greeting] if imap.greeting is not None else []
        session.capabilities = capability.read_capabilities(greeting) or frozenset()
        session.refresh_capabilities()
    except BaseException:
        imap.shutdown()
        raise
    return imap, session


def _greeted(server: ServerAddress, access: ConnectionPolicy, mask: Mask) -> WiredIMAP4:
    # Plain text is allowed only in the allowed private networks, even if the name now resolves to another address.
    connection = access.network.connect(
        server.host,
        server.port,
        access.within(access.connect_timeout_s),
        private_only=server.security == Security.NONE,
    )
    timeout_s = access.within(access.command_timeout_s)
    began = time.monotonic()
    if server.security == Security.TLS:
        connection = secure(connection, Secured(access.tls, server.host, "imap"), timeout_s)
        left_s = access.within(access.command_timeout_s)
    else:
        try:
            await_greeting(connection, "imap", timeout_s)
        except BaseException:
            connection.close()
            raise
        left_s = max(0.1, timeout_s - (time.monotonic() - began))
    with translating("CONNECT"):
        return WiredIMAP4(
            Wire(connection, ends_at=access.ends_at),
            access.command_timeout_s,
            greeting_timeout_s=left_s,
            mask=mask,
        )


def _start_tls(imap: WiredIMAP4, server: ServerAddress, access: ConnectionPolicy) -> None:
    """Send STARTTLS even if the server does not offer it: an attacker who removes the offer must not get the password."""
    try:
        with translating("STARTTLS"):
            imap.start_tls(Secured(access.tls, server.host, "imap", after_starttls=True))
    except MailServerUnavailable:
        raise
    except CommandRefused as exc:
        raise StarttlsNotOffered(
            command="STARTTLS", server_line=exc.server_line, response_code=exc.response_code
        ) from exc
