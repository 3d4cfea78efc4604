"""The mail servers that may be those of an address."""

from typing import Literal

from app.schemas.connectors import ServerRead
from app.schemas.fields import EmailAddress, Input, Output


class DiscoverRequest(Input):
    email_address: EmailAddress


class CandidateRead(Output):
    """Servers for an address, in the form in which a connector takes them."""

    source: Literal["preset", "autoconfig", "srv", "mx", "guess"]
    """`preset`: the provider has documented them. `autoconfig`: the domain publishes a file that names them. `srv`: the DNS
    names them. `mx`: the host that receives the domain's mail is known, or answers. `guess`: a usual name answers."""
    imap: ServerRead
    smtp: ServerRead | None
    auth: list[Literal["password", "app_password"]]
    """What the provider takes: the usual password, or one that its owner makes for one program. Empty: neither."""
    hint: str | None
    """What a person should know before."""
    foreign: bool
    """Some server is neither below the domain of the address nor a known provider's: show its name before somebody enters a
    password."""


class DiscoverRead(Output):
    candidates: list[CandidateRead]
    """The likely one first. Empty: none was found."""
