"""Turns replies of SMTP servers, and errors of the library, into results and errors of the gateway."""

import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from typing import NoReturn

from app.adapters.smtp.refusals import enhanced_status, meaning_of
from app.adapters.smtp.values import Outcome, RecipientResult
from app.errors import (
    CertificateRefused,
    ConnectionLost,
    LoginWanted,
    MailServerError,
    MailServerTimeout,
    SendingLimitReached,
)


def result_of(
    address: str, reply: tuple[int, bytes], command: str, *, outcome: Outcome | None = None
) -> RecipientResult:
    """The result for a recipient after a reply to RCPT, DATA or the final dot."""
    code = reply[0]
    if code < 300 and outcome is None:
        return RecipientResult(address, Outcome.ACCEPTED, code, enhanced_status(reply))
    error = _error(reply, command)
    is_final = code >= 500 and not isinstance(error, LoginWanted | SendingLimitReached)
    found = outcome or (Outcome.REFUSED if is_final else Outcome.DEFERRED)
    return RecipientResult(address, found, code, enhanced_status(reply), error)


def expect(reply: tuple[int, bytes], code: int, command: str) -> None:
    """Raise an error unless the reply has this code.

    Raises:
        MailServerError: as `refuse`.
    """
    if reply[0] != code:
        refuse(reply, command)


def refuse(reply: tuple[int, bytes], command: str) -> NoReturn:
    """Raise the error for a reply that is not the expected one.

    Raises:
        MailServerError: as `refusals.meaning_of`.
    """
    raise _error(reply, command)


def _error(reply: tuple[int, bytes], command: str) -> MailServerError:
    kind = meaning_of(reply, command)
    return kind(command=command, server_line=line_of(reply), response_code=codes_of(reply))


def line_of(reply: tuple[int, bytes]) -> str:
    """The reply as text, for the log."""
    return f"{reply[0]} {reply[1][:500].decode('utf-8', 'replace')}"


def codes_of(reply: tuple[int, bytes]) -> str:
    """The code and the enhanced status code (RFC 3463), as `550 5.1.1`."""
    enhanced = enhanced_status(reply)
    return f"{reply[0]} {enhanced}" if enhanced else str(reply[0])


@contextlib.contextmanager
def translated_errors(command: str) -> Iterator[None]:
    """Turn the errors of the library into ours. `command` is the command during which they happened, if it is known."""
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
