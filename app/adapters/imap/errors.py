"""Turns errors of the IMAP libraries and refusals of servers into the gateway's own errors."""

import contextlib
import imaplib
import re
import ssl
from collections.abc import Iterator

from app.errors import (
    CertificateRefused,
    CommandRefused,
    ConnectionLost,
    FolderReadOnly,
    MailServerError,
    MailServerTimeout,
    MailServerUnavailable,
    OverQuota,
    Throttled,
)

THROTTLE_CAP_S = 1800.0
CORRUPTION_PAUSE_S = 3600.0

_THROTTLED = re.compile(r"throttled.*?Backoff Time: ?(\d{1,12}) ?milliseconds", re.IGNORECASE | re.DOTALL)


# Words of servers that have no response code for it.
_ABOUT_RIGHTS = re.compile(
    r"permission|not permitted|access denied|not allowed|no(?:t enough)? (?:access )?rights?\b|insufficient (?:rights|priv)",
    re.IGNORECASE,
)
_ABOUT_QUOTA = re.compile(
    r"\b(?:over ?quota|quota (?:is )?exceeded|exceeds? (?:\w+ )?quota|(?:mailbox|disk) (?:is )?full)\b", re.I
)
_WRITING = frozenset({"COPY", "MOVE", "APPEND", "CREATE"})


def is_about_rights(refusal: CommandRefused) -> bool:
    """Whether the server says that it refused a command because a right is missing (RFC 5530 NOPERM)."""
    if refusal.response_code is not None:
        return refusal.response_code == "NOPERM"
    return _ABOUT_RIGHTS.search(refusal.server_line or "") is not None


@contextlib.contextmanager
def translating(command: str) -> Iterator[None]:
    """Turn the libraries' errors into the gateway's errors, with the server's text for the log."""
    try:
        yield
    except CommandRefused as exc:
        exc.command = command if exc.command == "UID" else exc.command
        raise _known_refusal(exc) from exc
    except MailServerError as exc:
        exc.command = exc.command or command
        raise
    except TimeoutError as exc:
        raise MailServerTimeout(command=command) from exc
    except ssl.SSLCertVerificationError as exc:
        raise CertificateRefused(command=command) from exc
    except imaplib.IMAP4.readonly as exc:
        raise FolderReadOnly(command=command) from exc
    except (OSError, imaplib.IMAP4.abort) as exc:
        raise ConnectionLost(command=command, server_line=type(exc).__name__) from exc
    except imaplib.IMAP4.error as exc:
        if command == "CONNECT":  # greeted with BYE: too busy, or it does not want this address now
            raise MailServerUnavailable(command=command) from exc
        raise ConnectionLost(command=command, server_line=type(exc).__name__) from exc
    except (ValueError, AssertionError, TypeError, KeyError, IndexError, RecursionError) as exc:
        # The library could not understand the answer, so the connection is out of step.
        raise ConnectionLost(command=command, server_line=type(exc).__name__) from exc


def _known_refusal(exc: CommandRefused) -> MailServerError:
    told = {"command": exc.command, "server_line": exc.server_line, "response_code": exc.response_code}
    pause_s = pause_asked_for(exc.server_line or "")
    if pause_s is not None or exc.response_code == "THROTTLED":
        error = Throttled(**told)
        error.retry_after_s = pause_s
        return error
    if exc.response_code == "CORRUPTION":
        damaged = MailServerUnavailable(**told)
        damaged.retry_after_s = CORRUPTION_PAUSE_S
        return damaged
    if exc.response_code == "OVERQUOTA":
        return OverQuota(**told)
    is_writing = exc.response_code is None and exc.command in _WRITING
    if is_writing and _ABOUT_QUOTA.search(exc.server_line or ""):
        return OverQuota(**told)
    if exc.response_code in {"UNAVAILABLE", "INUSE", "SERVERBUG"}:
        return MailServerUnavailable(**told)
    return exc


def pause_asked_for(text: str) -> float | None:
    """The pause in seconds that Exchange asks for. None: it asks for none."""
    found = _THROTTLED.search(text)
    return min(int(found[1]) / 1000, THROTTLE_CAP_S) if found is not None else None
