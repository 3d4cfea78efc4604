"""The values that discovery finds: servers that may be those of an address."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Literal

from pydantic import ValidationError

from app.schemas.connectors import ImapServer
from app.states import Security

PASSWORD = "password"  # noqa: S105 - the kind of a login, no secret
APP_PASSWORD = "app_password"  # noqa: S105 - the kind of a login, no secret

Protocol = Literal["imap", "smtp"]


class Source(StrEnum):
    """How servers were found."""

    PRESET = "preset"
    """The provider has documented them."""
    AUTOCONFIG = "autoconfig"
    """The domain publishes a file that names them."""
    SRV = "srv"
    """The domain names them in the DNS (RFC 6186)."""
    MX = "mx"
    """The host that receives the domain's mail is known, or answers."""
    GUESS = "guess"
    """A usual name answers."""


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A server, and the user name with which the address logs in there."""

    host: str
    port: int
    security: Security
    username: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """Servers for an address. The first candidate is the one to try first."""

    source: Source
    imap: FoundServer
    smtp: FoundServer | None
    auth: Sequence[str]
    """`password` or `app_password`."""
    hint: str | None
    """What a person should know before, in a sentence or two."""
    foreign: bool
    """One of the servers belongs neither to the domain of the address nor to a known provider. A person should know this host before
    they enter a password."""


def is_usable(server: FoundServer) -> bool:
    """Whether a connector may name this server, because other people may publish anything."""
    try:
        ImapServer.model_validate(asdict(server))
    except ValidationError:
        return False
    return True


def is_below(host: str, domain: str) -> bool:
    """Whether a host belongs to a domain: it is the domain, or a name inside it."""
    return host == domain or host.endswith(f".{domain}")
