"""What goes into an IMAP session and comes out of it: frozen values, none of a library's types."""

import math
import ssl
import time
from dataclasses import dataclass
from datetime import datetime

from app.adapters.network import NetworkPolicy


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a mail server is, and as whom to log in."""

    host: str
    port: int
    security: str
    """`tls`, `starttls` or `none`."""
    username: str


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    """How this installation reaches mail servers."""

    network: NetworkPolicy
    tls: ssl.SSLContext
    connect_timeout_s: float
    command_timeout_s: float
    max_literal_octets: int
    ends_at: float = math.inf
    """When the whole session has to be done, by `time.monotonic`."""

    def within(self, timeout_s: float) -> float:
        """A timeout cut to what is left of the session."""
        return max(min(timeout_s, self.ends_at - time.monotonic()), 0.001)


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a mailbox, by its decoded name."""

    name: str
    delimiter: str | None
    special_use: frozenset[str]
    """RFC 6154 attributes, as `\\Trash`."""
    selectable: bool


@dataclass(frozen=True, slots=True)
class MailInfo:
    """What is known of a mail before it is fetched. `size_octets` is the server's word, not proof; None where it says
    nothing that can be."""

    uid: int
    size_octets: int | None
    internal_date: datetime | None


@dataclass(frozen=True, slots=True)
class FetchedMail:
    """A mail as received. `raw` is None where the server had none to give."""

    uid: int
    raw: bytes | None
    internal_date: datetime | None
    has_date_defect: bool = False
    """The server gave an INTERNALDATE that is no date."""
