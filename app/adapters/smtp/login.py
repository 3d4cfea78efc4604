"""Logs in over SMTP (RFC 4954)."""

import base64
from collections.abc import Sequence

from app.adapters import login_refusals
from app.adapters.smtp.connection import Client
from app.adapters.smtp.replies import codes_of, line_of
from app.adapters.smtp.values import Server
from app.errors import (
    LoginRefused,
    MailServerError,
    MailServerUnavailable,
    NoLoginMethod,
    TooManyConnections,
)


def log_in(client: Client, server: Server) -> None:
    """Log in (RFC 4954). A server that offers no mechanism either needs no login, or will refuse MAIL.

    If the server announces a mechanism and does not know it, the next one is tried. A refused password is not tried again.
    """
    offered = client.esmtp_features.get("auth", "").upper().split()
    if server.username is None or server.password is None or not offered:
        return
    user, password = server.username.encode(), server.password.encode()
    error: MailServerError = NoLoginMethod(command="AUTH")
    plain = _base64(b"\0".join((b"", user, password)))  # RFC 4616
    for command, replies in (
        (f"PLAIN {plain}", [plain]),
        ("LOGIN", [_base64(user), _base64(password)]),
    ):
        if command.split()[0] not in offered:
            continue
        reply = _authenticate(client, command, replies)
        if reply[0] in {235, 503}:  # 503: already authenticated
            return
        error = _login_error(reply, server.username)
        if not isinstance(error, NoLoginMethod):
            break
    raise error


def _authenticate(client: Client, command: str, replies: Sequence[str]) -> tuple[int, bytes]:
    """Send AUTH. If the server asks for more, it gets the replies one after another, then `*`, which cancels (RFC 4954 §4)."""
    reply = client.docmd("AUTH", command)
    for answer in (*replies, "*"):
        if reply[0] != 334:
            break
        reply = client.docmd(answer)
    return reply


def _login_error(reply: tuple[int, bytes], username: str) -> MailServerError:
    """The error for a refused AUTH. RFC 4954 §6: 4xx is temporary. 5xx is about the user name and password, unless its codes or
    words give another reason."""
    meant = login_refusals.by_smtp_codes(codes_of(reply).split(), line_of(reply), username=username)
    if meant is None or (reply[0] < 500 and meant is LoginRefused):
        meant = LoginRefused if reply[0] >= 500 else MailServerUnavailable
    if reply[0] == 421 and meant is MailServerUnavailable:  # RFC 5321 §3.8: also "too many connections"
        meant = TooManyConnections
    return meant(command="AUTH", server_line=line_of(reply), response_code=codes_of(reply))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
