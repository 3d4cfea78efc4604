"""Finds the meaning of a refusal by its code, its enhanced status code (RFC 3463) and the refused command.

Servers express the same reason in several ways. If the enhanced status code and the code differ, the enhanced one counts: it was
added because there are too few codes.
"""

import re

from app.errors import (
    CommandRefused,
    LoginWanted,
    MailDeferred,
    MailRefused,
    MailServerError,
    MailServerUnavailable,
    MailTooLarge,
    RecipientRefused,
    SenderRefused,
    SendingLimitReached,
    TooManyConnections,
)

Reply = tuple[int, bytes]

_ENHANCED = re.compile(rb"([245])\.(\d{1,3})\.(\d{1,3})(?![.\d])")
_MANY = re.compile(rb"\btoo (?:many|much) (?:recipients?|rcpts?|addresses)|\brecipients? limit", re.I)
_LARGE = re.compile(
    rb"\b(?:too (?:large|big)|maximum (?:message|mail) size|size (?:limit|exceeds))|exceeds .{0,40}\bsize\b",
    re.I,
)
_SPENT = re.compile(
    rb"(?:daily|hourly|sending|submission|message|recipient).{0,60}(?:limit|quota)|(?:limit|quota).{0,60}(?:day|hour|daily|sending)",
    re.I | re.S,
)
_IS_OVER = re.compile(rb"exceed|reached", re.I)
_SENDING = re.compile(rb"send|submission", re.I)
_SYNTAX = frozenset({500, 501, 502, 503, 504, 555})
_ABOUT_MAIL = {"MAIL": SenderRefused, "RCPT": RecipientRefused, "DATA": MailRefused}


def enhanced_status(reply: Reply) -> str | None:
    """The enhanced status code at the beginning of the text, as `5.1.1`."""
    found = _ENHANCED.match(reply[1])
    return found[0].decode() if found else None


def is_about_number(reply: Reply) -> bool:
    """Whether RCPT was refused because the transaction has enough recipients (RFC 5321 §4.5.3.1.10, RFC 3463 X.5.3).

    Older servers answer 552 but mean 452. An enhanced status with another subject says that something else is full.
    """
    if reply[0] < 400:
        return False
    status = _ENHANCED.match(reply[1])
    if status is not None and status[2] + b"." + status[3] != b"5.3":
        return reply[0] in {452, 552} and status[2] + b"." + status[3] in {b"5.0", b"0.0"} and _is_many(reply)
    if status is not None:
        return True
    return reply[0] == 452 or _is_many(reply)


def meaning_of(reply: Reply, command: str) -> type[MailServerError]:
    """The class of error for a refusal. 4xx: the gateway tries again later. 5xx in a transaction: the error is about this mail,
    unless the server asks for a login. 5xx to another command: the error is about the server."""
    code = reply[0]
    if code == 421:  # RFC 5321 §3.8: also "too many connections"
        return TooManyConnections
    if command not in _ABOUT_MAIL:
        return MailServerUnavailable if 400 <= code < 500 else CommandRefused
    if is_limit(reply):
        return SendingLimitReached
    if 400 <= code < 500:
        return MailDeferred
    return _meaning_in_transaction(reply, command)


def _meaning_in_transaction(reply: Reply, command: str) -> type[MailServerError]:
    if reply[0] == 530:  # RFC 4954 §6
        return LoginWanted
    if _is_size(reply, command):
        return MailTooLarge
    if reply[0] < 500 or (reply[0] in _SYNTAX and enhanced_status(reply) is None):
        return CommandRefused
    return _ABOUT_MAIL[command]


def is_limit(reply: Reply) -> bool:
    """Whether the account has reached a limit for sending. Some providers use 550 for this, but only with these codes: Google
    X.4.5, Exchange Online X.1.90 and X.2.2, Apple X.7.1. The words must say it too, because these codes also mean other things."""
    status = _ENHANCED.match(reply[1])
    if (
        reply[0] < 400
        or status is None
        or _SPENT.search(reply[1]) is None
        or _IS_OVER.search(reply[1]) is None
    ):
        return False
    code = status[2] + b"." + status[3]
    return code in {b"4.5", b"1.90"} or (code in {b"2.2", b"7.1"} and _SENDING.search(reply[1]) is not None)


def _is_size(reply: Reply, command: str) -> bool:
    """Whether the mail is too large: RFC 3463 X.3.4 and X.2.3, or 552 without such a code. After RCPT, 552 may also mean that the
    mailbox is full."""
    status = _ENHANCED.match(reply[1])
    if status is not None and (status[2], status[3]) in {(b"3", b"4"), (b"2", b"3")}:
        return True
    if status is not None and status[2] != b"0":
        return False
    return (reply[0] == 552 and command != "RCPT") or (
        reply[0] in {552, 554} and _LARGE.search(reply[1]) is not None
    )


def _is_many(reply: Reply) -> bool:
    return _MANY.search(reply[1]) is not None
