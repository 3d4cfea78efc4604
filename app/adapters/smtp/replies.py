"""What the replies of an SMTP server mean, and the errors of the library, as ours."""

import contextlib
import re
import smtplib
import ssl
from collections.abc import Iterator
from typing import NoReturn

from app.adapters.smtp.values import Outcome, RecipientResult
from app.errors import (
    CertificateRefused,
    CommandRefused,
    ConnectionLost,
    MailServerError,
    MailServerTimeout,
    MailServerUnavailable,
    TooManyConnections,
)

_ENHANCED_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")


def result_of(address: str, reply: tuple[int, bytes]) -> RecipientResult:
    """What a reply to RCPT or to the final dot means for a recipient."""
    code = reply[0]
    outcome = Outcome.ACCEPTED if code < 300 else Outcome.REFUSED if code >= 500 else Outcome.DEFERRED
    enhanced = _ENHANCED_CODE.match(reply[1].decode("ascii", "replace"))
    return RecipientResult(address, outcome, code, enhanced[0] if enhanced else None)


def expect(reply: tuple[int, bytes], code: int, command: str) -> None:
    """Go on only with this code.

    Raises:
        MailServerError: as `refuse`.
    """
    if reply[0] != code:
        refuse(reply, command)


def refuse(reply: tuple[int, bytes], command: str) -> NoReturn:
    """Raise what a reply means that is not the expected one.

    Raises:
        TooManyConnections, MailServerUnavailable, CommandRefused
    """
    if reply[0] == 421:  # RFC 5321 §3.8: also "too many connections"
        raise TooManyConnections(command=command, server_line=line_of(reply), response_code=codes_of(reply))
    kind = MailServerUnavailable if 400 <= reply[0] < 500 else CommandRefused
    raise kind(command=command, server_line=line_of(reply), response_code=codes_of(reply))


def line_of(reply: tuple[int, bytes]) -> str:
    """The reply as text, for the log."""
    return f"{reply[0]} {reply[1][:500].decode('utf-8', 'replace')}"


def codes_of(reply: tuple[int, bytes]) -> str:
    """The code and the enhanced status code (RFC 3463), as `550 5.1.1`."""
    enhanced = _ENHANCED_CODE.match(reply[1].decode("ascii", "replace"))
    return f"{reply[0]} {enhanced[0]}" if enhanced else str(reply[0])


@contextlib.contextmanager
def translated_errors(command: str) -> Iterator[None]:
    """Translate the library's errors into ours. `command` is the command during which they happened, as far as known."""
    try:
        yield
    except smtplib.SMTPResponseException as exc:  # EHLO and HELO
        reply = (exc.smtp_code, exc.smtp_error if isinstance(exc.smtp_error, bytes) else b"")
        try:
            refuse(reply, command)
        except MailServerError as translated:
            raise translated from exc
    except smtplib.SMTPException as exc:
        raise ConnectionLost(command=command) from exc
    except ssl.SSLCertVerificationError as exc:
        raise CertificateRefused(command=command) from exc
    except TimeoutError as exc:
        raise MailServerTimeout(command=command) from exc
    except OSError as exc:
        raise ConnectionLost(command=command) from exc
