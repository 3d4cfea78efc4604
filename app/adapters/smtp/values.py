"""The values that go into a submission over SMTP and come out of it. They are frozen; none has a type of the library."""

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from app.errors import CommandRefused, MailServerError
from app.states import Security

_ENVELOPE_ADDRESS = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")  # printable ASCII without space, < and >


@dataclass(frozen=True)
class Server:
    """The server for submission. Without user name and password there is no login."""

    host: str
    port: int
    security: Security
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Envelope:
    """The SMTP envelope (RFC 5321 §2.3.1), separate from the headers. Addresses are ASCII."""

    sender: str
    recipients: Sequence[str]


@dataclass(frozen=True)
class Limits:
    """Time limits, by the wall clock."""

    connect_s: float = 10
    command_s: float = 60
    """The limit for one command or one wait for the network."""
    attempt_s: float = 900
    """The limit from before the connection to the final dot."""
    answer_s: float = 600
    """The limit for the answer to the final dot (RFC 5321 §4.5.3.2.6). A lower limit makes more sent mails uncertain."""


class Outcome(StrEnum):
    """The outcome of a mail for one recipient."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    """4xx: the gateway may try again."""
    REFUSED = "refused"
    """5xx: final."""
    UNCERTAIN = "uncertain"
    """The connection was lost between the final dot and the answer."""


LoggingIn = Callable[[], contextlib.AbstractContextManager[None]]
"""Returns a context manager that surrounds the login. It gets the error of the login in its final form."""


@dataclass(frozen=True)
class RecipientResult:
    address: str
    outcome: Outcome
    code: int | None = None
    enhanced_code: str | None = None
    """The enhanced status code (RFC 3463), if the server gave one."""
    error: MailServerError | None = field(default=None, compare=False)
    """Why it was refused or deferred, with the server's words."""


def require_usable(envelope: Envelope) -> None:
    """Refuse addresses that would end the command, or are not ASCII.

    Raises:
        CommandRefused
    """
    for address in (envelope.sender, *envelope.recipients):
        if not _ENVELOPE_ADDRESS.fullmatch(address):
            raise CommandRefused("One of the addresses cannot be used in an SMTP envelope.", command="MAIL")
