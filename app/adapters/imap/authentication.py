"""Logs in: chooses the method, finds the meaning of a refusal, and sends what belongs directly after the login.

    LOGIN "user" "password"                     ASCII; not if the server says LOGINDISABLED        RFC 9051 §6.2.3
    LOGIN {4} … {8} …                           as literals: UTF-8, which a quoted string cannot hold
    AUTHENTICATE PLAIN base64(NUL user NUL password)   with SASL-IR, or after a "+"                RFC 4616, 4959
    AUTHENTICATE LOGIN, base64(user), base64(password)                                    expired draft; Exchange

If the server does not understand a method, the next one is tried, because nothing was refused. A refused password is never
tried by another method: that would be a second refusal, and accounts get locked at the third.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from app import __version__
from app.adapters import login_refusals
from app.adapters.imap.answers import capability
from app.adapters.imap.connection import Conversation, WiredIMAP4, refused
from app.adapters.imap.errors import CORRUPTION_PAUSE_S, pause_asked_for, translating
from app.adapters.imap.quoting import quoted
from app.adapters.imap.session import ImapSession
from app.adapters.imap.silence import SilentServers
from app.adapters.imap.values import ServerAddress
from app.errors import (
    ConnectionLost,
    LoginNotUnderstood,
    LoginRefused,
    MailServerError,
    MailServerUnavailable,
    NoLoginMethod,
    PrivacyRequired,
    Throttled,
    TooManyConnections,
)
from app.states import Security

log = structlog.get_logger(__name__)

CLIENT_ID = b'ID ("name" "imap-gateway" "version" "' + __version__.encode() + b'")'


@dataclass(frozen=True, slots=True)
class _Method:
    name: str
    run: Callable[[], Conversation]
    sends_at_once: bool
    """The password is part of the command; it does not wait until the server asks for it."""


def log_in(
    imap: WiredIMAP4,
    session: ImapSession,
    server: ServerAddress,
    password: str,
    *,
    silent_at_id: SilentServers,
) -> None:
    """Log in, ask for the capabilities after the login, and identify the gateway.

    Raises:
        LoginRefused: according to the server, the user name or the password is wrong.
        PasswordExpired, PrivacyRequired, AdministratorNeeded, AuthorizationFailed, AccessDenied, ImapSwitchedOff,
        WebLoginNeeded, PasswordLoginSwitchedOff, LoginNotPossible: the server gives another reason.
        NoLoginMethod: it accepts no password by a method that we know.
        TooManyConnections, Throttled, LoginNotUnderstood, MailServerUnavailable: a login is not possible now.
        ConnectionLost, MailServerTimeout
    """
    before = session.capabilities
    with translating("LOGIN"):
        answer = _first_understood(imap, session, server, password)
    imap.state = "AUTH"
    # The answer may contain them, but ask all the same: not every server lists all of them there (RFC 9051 §7.2.2).
    session.capabilities = capability.read_capabilities(answer.answer.responses, answer.answer.text) or before
    session.refresh_capabilities()
    if "ID" in before | session.capabilities and not silent_at_id.has(server.host, server.port):
        try:
            _identify(imap)
        except MailServerError:
            silent_at_id.record(server.host, server.port)
            raise


def _first_understood(
    imap: WiredIMAP4, session: ImapSession, server: ServerAddress, password: str
) -> Conversation:
    error: MailServerError | None = None
    for method in _methods(imap, session.capabilities, server.username, password):
        try:
            conversation = method.run()
        except (ConnectionLost, OSError):
            if error is not None:  # the server closed the connection because of the previous method
                raise error from None
            raise
        if conversation.answer.status == "OK":
            return conversation
        error = _error_of(conversation, server.username)
        if isinstance(error, LoginRefused) and not (method.sends_at_once or conversation.replied):
            # The server refused the method, and has not seen a password yet.
            error = NoLoginMethod(
                command="LOGIN", server_line=error.server_line, response_code=error.response_code
            )
        log.info(
            "login_method_refused", method=method.name, error=error.code, response_code=error.response_code
        )
        if not isinstance(error, LoginNotUnderstood | NoLoginMethod):
            raise error
    raise error or _no_method(session.capabilities, server)


def _methods(
    imap: WiredIMAP4, capabilities: frozenset[str], username: str, password: str
) -> Iterator[_Method]:
    """The methods to try, the most likely one first. A server that lists none has LOGIN."""
    user, secret = username.encode(), password.encode()
    is_ascii = (username + password).isascii()
    has_ir = "SASL-IR" in capabilities
    login = _Method("LOGIN", lambda: _by_login(imap, user, secret, quoting=is_ascii), is_ascii)
    plain = _Method("PLAIN", lambda: _by_plain(imap, user, secret, at_once=has_ir), has_ir)
    by_turns = [_base64(user), _base64(secret)]
    sasl_login = _Method("AUTH=LOGIN", lambda: imap.converse(b"AUTHENTICATE LOGIN", by_turns), False)
    can_login = "LOGINDISABLED" not in capabilities
    # RFC 9051 §6.2.2: SASL allows UTF-8. RFC 4616: NUL separates the parts of PLAIN.
    offered = [plain] if "AUTH=PLAIN" in capabilities and b"\0" not in user + secret else []
    offered += [sasl_login] if "AUTH=LOGIN" in capabilities else []
    if can_login and is_ascii:
        yield login
    yield from offered
    if can_login and not is_ascii:
        yield login


def _by_login(imap: WiredIMAP4, user: bytes, secret: bytes, *, quoting: bool) -> Conversation:
    if quoting:
        return imap.converse(b"LOGIN " + quoted(user) + b" " + quoted(secret))
    return imap.converse(b"LOGIN {%d}" % len(user), [user + b" {%d}" % len(secret), secret])


def _by_plain(imap: WiredIMAP4, user: bytes, secret: bytes, *, at_once: bool) -> Conversation:
    """If the server asks for the data that the command already contained, it gets them again."""
    octets = _base64(b"\0" + user + b"\0" + secret)
    return imap.converse(b"AUTHENTICATE PLAIN" + (b" " + octets if at_once else b""), [octets])


def _base64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


def _no_method(capabilities: frozenset[str], server: ServerAddress) -> MailServerError:
    # RFC 9051 §6.2.3: a server that accepts passwords only over TLS says LOGINDISABLED.
    if server.security == Security.NONE and "LOGINDISABLED" in capabilities:
        return PrivacyRequired(command="LOGIN")
    return NoLoginMethod(command="LOGIN")


def _error_of(conversation: Conversation, username: str) -> MailServerError:
    """The error that a NO, BAD or BYE means (RFC 5530). Only some are about the password."""
    answer = conversation.answer
    told = refused("LOGIN", answer)
    # A server may give the reason in an untagged response, and answer "NO LOGIN failed".
    texts = [told.server_line or ""]
    texts += [
        each.texts[0].decode("utf-8", "replace")
        for each in answer.responses
        if each.kind in {"NO", "BAD", "BYE"}
    ]
    text = "\n".join(texts)
    pause_s = pause_asked_for(text)
    meant = (
        Throttled
        if pause_s is not None
        else login_refusals.by_code(told.response_code, text, username=username)
        or login_refusals.by_words(text, username=username)
        or _by_status(answer.status)
    )
    error = meant(command="LOGIN", server_line=told.server_line, response_code=told.response_code)
    if isinstance(error, Throttled):
        error.retry_after_s = pause_s
    if told.response_code == "CORRUPTION" and isinstance(error, MailServerUnavailable):
        error.retry_after_s = CORRUPTION_PAUSE_S
    # `[LIMIT]` and `[UNAVAILABLE]` also apply to other mailboxes. The reason of `[INUSE]` and similar codes is the mailbox.
    error.turned_away = (told.response_code, type(error)) in {
        ("LIMIT", TooManyConnections),
        ("UNAVAILABLE", MailServerUnavailable),
    }
    return error


def _by_status(status: str) -> type[MailServerError]:
    return {"NO": LoginRefused, "BYE": ConnectionLost}.get(status, LoginNotUnderstood)


def _identify(imap: WiredIMAP4) -> None:
    """Identify the gateway (RFC 2971 §3.1): 163.com and 126.com refuse SELECT without this. We do not need the answer, and a
    refusal says nothing about the mailbox."""
    with translating("ID"):
        answer = imap.converse(CLIENT_ID).answer
    if answer.status == "BYE":
        raise ConnectionLost(command="ID", server_line="BYE " + answer.text.decode("utf-8", "replace"))
    if answer.status != "OK":
        log.info("id_refused", status=answer.status)
