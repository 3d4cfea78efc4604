"""The values that go into an IMAP session and come out of it. They are frozen; none has a type of the library."""

import math
import ssl
import time
from dataclasses import dataclass, field
from datetime import datetime

from app.adapters.imap.silence import SilentServers
from app.adapters.network import NetworkPolicy
from app.states import Security


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """The address of a mail server, and the user name for the login."""

    host: str
    port: int
    security: Security
    """`tls`, `starttls` or `none`."""
    username: str


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    """The rules of this installation for connections to mail servers."""

    network: NetworkPolicy
    tls: ssl.SSLContext
    connect_timeout_s: float
    command_timeout_s: float
    max_literal_octets: int
    ends_at: float = math.inf
    """The time by which the whole session must have ended, by `time.monotonic`."""
    silent_at_id: SilentServers = field(default_factory=SilentServers)
    """These servers are not sent ID."""

    def within(self, timeout_s: float) -> float:
        """The timeout, cut to the remaining time of the session."""
        return max(min(timeout_s, self.ends_at - time.monotonic()), 0.001)


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a mailbox, by its decoded name."""

    name: str
    delimiter: str | None
    special_use: frozenset[str]
    """Attributes of RFC 6154, as `\\Trash`."""
    selectable: bool


@dataclass(frozen=True, slots=True)
class MailInfo:
    """The known values of a mail before it is fetched. `size_octets` is only what the server announces. None: it announces no
    possible value."""

    uid: int
    size_octets: int | None
    internal_date: datetime | None


@dataclass(frozen=True, slots=True)
class FetchedMail:
    """A mail as received. `raw` is None if the server sent no body."""

    uid: int
    raw: bytes | None
    internal_date: datetime | None
    has_date_defect: bool = False
    """The server sent an INTERNALDATE that is not a valid date."""
