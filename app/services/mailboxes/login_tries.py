"""Whose tries the logins with a password are, and how many of them a mail server may refuse.

A password that has never worked is a guess, by whichever route it gets to the mail server: a test, a fetch by command, the
sweep, sending, a link. All guesses of one caller at one mailbox have one budget. It belongs to the caller who entered the
password, not to the connector and not to the mailbox. So more connectors give nobody more tries, and a stranger's tries
never lock out the owner of a mailbox.

Where the same mailbox can have several names, all of them count: the name of the server and its addresses, the user name
with and without its domain, on any port. What is left is limited by the user name alone, and by the caller alone.

    a user               their own name
    an API key           the user whom it goes back to, so new keys give no new tries; apart from this user's own tries
    a link               whoever made it; apart from the maker's own tries, so that those never lock out the link
    a connector whose password has worked: the connector; apart from everything else

Each login takes a place before it begins (`taken`). The server is not asked if there is none.
"""

import contextlib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from sqlmodel import Session

from app.errors import (
    ConnectionLost,
    HostUnreachable,
    MailServerError,
    MailServerTimeout,
    NoLoginMethod,
)
from app.gateway import Gateway
from app.login_budget import Taken
from app.models import Connector, Credential, CredentialLink
from app.services.access import api_keys

AT_ONE_MAILBOX = 10
"""Refused logins a minute of one caller, at one mailbox by one name or address of its server."""
AT_ONE_NAME = 20
"""The same at one user name on any servers: a name in the DNS can lead elsewhere from one moment to the next."""
OF_ONE_CALLER = 60
"""The same at all mailboxes. Enough to set up a company's mailboxes by a script."""
LOGINS = frozenset({"LOGIN", "AUTH"})
"""The commands of IMAP and SMTP that carry the password, as errors name them."""
_LINKS_OF = "links of "

Protocol = Literal["imap", "smtp"]


@dataclass(frozen=True, slots=True)
class Tries:
    """Whose tries the logins with one password are."""

    who: str
    is_by_link: bool = False
    connector_id: str | None = None
    worked: frozenset[Protocol] = frozenset()
    """The protocols over which the password has worked with the connector's present servers."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where to log in."""

    protocol: Protocol
    host: str
    port: int
    username: str


def of_caller(session: Session, name: str) -> Tries:
    """The tries of a caller (`user:…`, `key:…`) with a password that is not stored."""
    return Tries(_behind(session, name) or name)


def of_link(session: Session, link: CredentialLink) -> Tries:
    """The tries of whoever has this link."""
    return Tries(_maker_of(session, link), is_by_link=True, connector_id=link.connector_id)


def of_connector(session: Session, connector: Connector, credential: Credential) -> Tries:
    """The tries with a stored password: of whoever entered it."""
    times = {"imap": connector.imap_logged_in_at, "smtp": connector.smtp_logged_in_at}
    found: frozenset[Protocol] = frozenset(
        protocol for protocol in ("imap", "smtp") if times[protocol] is not None
    )
    entered_by = credential.entered_by
    who = _behind(session, entered_by) if entered_by is not None else None
    return Tries(
        who=who or f"connector:{connector.id}",
        connector_id=connector.id,
        worked=found,
    )


@contextlib.contextmanager
def taken(gateway: Gateway, tries: Tries, login: Login) -> Iterator[Taken]:
    """A place for a login within the block. It is given back unless the block ends with an error that a wrong password may
    have caused. A block that goes on after the login ends the place itself.

    Raises:
        TooManyRefusedLogins: as many logins as may have been refused.
    """
    limits, also = _limits(gateway, tries, login)
    place = gateway.login_budget.take(limits, also=also)
    try:
        yield place
    except MailServerError as exc:
        place.end(refused=_may_be_refusal(exc))
        raise
    finally:
        place.end(refused=False)


def _limits(gateway: Gateway, tries: Tries, login: Login) -> tuple[dict[str, int], dict[str, int]]:
    """The names with room for so many refused logins, and others that count this one without a limit."""
    user = _comparable(login.username)
    if login.protocol in tries.worked:
        own = {f"{login.protocol} of {tries.connector_id}": AT_ONE_MAILBOX}
        # A server may let in whom it likes, and its name may lead to somebody else's server afterwards.
        return {**own, f"worked\0{tries.who}\0{user}": AT_ONE_NAME}, {}
    places = _places(gateway, login)
    if tries.is_by_link:
        return _of_guesses(_LINKS_OF + tries.who, places, user), _of_guesses(tries.who, places, user)
    return _of_guesses(tries.who, places, user), {}


def _of_guesses(who: str, places: Iterable[str], user: str) -> dict[str, int]:
    limits = {f"{who}\0{place}\0{user}": AT_ONE_MAILBOX for place in places}
    return {**limits, f"{who}\0\0{user}": AT_ONE_NAME, f"{who}\0": OF_ONE_CALLER}


def _places(gateway: Gateway, login: Login) -> set[str]:
    """The names of a server: as it is written, and its addresses. All names of this machine are one."""
    places = {login.host.casefold().rstrip(".")}
    with contextlib.suppress(HostUnreachable):  # then nobody gets the password
        for address in gateway.mail_network.resolve(login.host, login.port):
            places.add("loopback" if address.is_loopback else str(address))
    return places


def _comparable(username: str) -> str:
    """A text that is the same for all user names that may mean one mailbox of a server. Several mailboxes may share it."""
    name = unicodedata.normalize("NFKC", username).casefold()
    local = name.replace("/", "\\").rpartition("\\")[2]  # DOMAIN\user
    for separator in "@%+":  # user@domain, user%domain, user+detail
        local = local.partition(separator)[0]
    return "".join(filter(str.isalnum, local)) or name.strip()


def _may_be_refusal(error: MailServerError) -> bool:
    """Whether a wrong password may be the reason of this error. A server may also cut the connection or stay silent, so
    only errors before the password was sent are none."""
    if error.command not in LOGINS or isinstance(error, NoLoginMethod):
        return False
    return error.server_line is not None or isinstance(error, ConnectionLost | MailServerTimeout)


def _behind(session: Session, name: str) -> str | None:
    """The name under which the tries of an actor count. None: it is not known any more."""
    kind, _, name_id = name.partition(":")
    if kind == "key":
        return api_keys.goes_back_to(session, name_id)
    if kind == "link":
        link = session.get(CredentialLink, name_id)
        return _LINKS_OF + _maker_of(session, link) if link is not None else None
    return name


def _maker_of(session: Session, link: CredentialLink) -> str:
    maker = _behind(session, link.created_by) if link.created_by is not None else None
    return maker or f"link:{link.id}"
