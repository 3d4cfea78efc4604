"""Opens a session over SMTP: TCP, TLS, the greeting, EHLO, STARTTLS, the login."""

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator

from app.adapters.handshake import Secured, await_greeting
from app.adapters.network import NetworkPolicy
from app.adapters.smtp.connection import Client, Watch
from app.adapters.smtp.login import log_in
from app.adapters.smtp.replies import codes_of, expect, line_of, translated_errors
from app.adapters.smtp.values import Limits, LoggingIn, Server
from app.errors import (
    ConnectionLost,
    MailServerError,
    MailServerTimeout,
    NoGreeting,
    StarttlsNotOffered,
)
from app.states import Security


@contextlib.contextmanager
def logged_in(
    server: Server,
    network: NetworkPolicy,
    tls: ssl.SSLContext,
    limits: Limits,
    *,
    stopping: Callable[[], bool] = lambda: False,
    logging_in: LoggingIn,
    ehlo_name: str | None = None,
) -> Iterator[tuple[Client, Watch]]:
    """A session that has logged in, and the watch that ends it.

    Raises:
        MailServerError
    """
    with _greeted(server, network, tls, limits, stopping=stopping, ehlo_name=ehlo_name) as (client, watch):
        with logging_in(), told_in_full(server, client, watch), translated_errors("AUTH"):
            log_in(client, server)
        yield client, watch


def extensions(
    server: Server,
    network: NetworkPolicy,
    tls: ssl.SSLContext,
    limits: Limits,
    *,
    ehlo_name: str | None = None,
) -> dict[str, str]:
    """The extensions that a server offers before anybody has logged in (RFC 5321 §4.1.1.1), with their parameters. Names are
    in small letters. Nothing is tried.

    Raises:
        MailServerError
    """
    with _greeted(server, network, tls, limits, ehlo_name=ehlo_name) as (client, _):
        return dict(client.esmtp_features)


@contextlib.contextmanager
def _greeted(
    server: Server,
    network: NetworkPolicy,
    tls: ssl.SSLContext,
    limits: Limits,
    *,
    stopping: Callable[[], bool] = lambda: False,
    ehlo_name: str | None,
) -> Iterator[tuple[Client, Watch]]:
    """A session in which nobody has logged in."""
    begun = time.monotonic()
    # Plain text, also for the password, is allowed only inside the allowed private networks.
    connection = network.connect(
        server.host, server.port, limits.connect_s, private_only=server.security == Security.NONE
    )
    with (
        Watch(connection, begun + limits.attempt_s, stopping) as watch,
        contextlib.closing(Client(connection, ehlo_name)) as client,
    ):
        connection.settimeout(limits.command_s)
        try:
            with told_in_full(server, client, watch), translated_errors("EHLO"):
                _greet(client, server, tls, limits)
            yield client, watch
        finally:
            client.leave()


@contextlib.contextmanager
def told_in_full(server: Server, client: Client, watch: Watch) -> Iterator[None]:
    """Mask our credentials in errors. If the watch has cut the connection, raise the error about the time limit instead."""
    try:
        yield
    except MailServerError as exc:
        client.mask_error(exc, server)
        client.is_dead = isinstance(exc, MailServerTimeout | ConnectionLost)
        if watch.is_late:
            late = NoGreeting if exc.command == "CONNECT" else MailServerTimeout
            raise late(command=exc.command) from exc
        raise


def _greet(client: Client, server: Server, tls: ssl.SSLContext, limits: Limits) -> None:
    if server.security == Security.TLS:
        client.secure(Secured(tls, server.host, "smtp"), limits.command_s)
    elif client.sock is not None:
        await_greeting(client.sock, "smtp", limits.command_s)
    expect(client.get_greeting(), 220, "CONNECT")
    client.greet()
    if server.security == Security.STARTTLS:
        _start_tls(client, server, tls, limits)


def _start_tls(client: Client, server: Server, tls: ssl.SSLContext, limits: Limits) -> None:
    """Send STARTTLS even if the server does not offer it: an attacker who removes the offer must not get the password."""
    reply = client.docmd("STARTTLS")
    if reply[0] >= 500:
        raise StarttlsNotOffered(
            command="STARTTLS", server_line=line_of(reply), response_code=codes_of(reply)
        )
    expect(reply, 220, "STARTTLS")
    client.secure(Secured(tls, server.host, "smtp", after_starttls=True), limits.command_s)
    client.greet()
