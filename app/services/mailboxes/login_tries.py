"""Finds out to whom a login with a password is counted, and limits how many of these logins a mail server may refuse.

A password that has never worked is a guess, however it gets to the mail server: by a test, a fetch by command, the sweep, sending or
a link. All guesses of one caller at one mailbox have one budget. The budget belongs to the caller who entered the password, not to
the connector or the mailbox. So more connectors do not give a caller more tries, and the tries of a stranger never lock out the
owner of a mailbox.

If one mailbox can have several names, all of them count: the name of the server and its addresses, the user name with and without
its domain, on any port. There is also a limit for each user name, on any servers, and one for each caller, at all mailboxes.

    login of             counted to
    a user               the user
    an API key           the user who made it, directly or through other keys, so new keys give no new tries; separate from
                         the own tries of this user
    a link               the caller who made it; separate from the own tries of this caller, so that these never block the link
    a connector whose password has worked: the connector; separate from everything else

Each login takes a place before it begins (`taken`). If there is no place, the server is not asked.
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
"""The largest number of refused logins in a minute of one caller, at one mailbox, by one name or address of its server."""
AT_ONE_NAME = 20
"""The same for one user name on any servers, because a DNS name can lead to another server at any moment."""
OF_ONE_CALLER = 60
"""The same for all mailboxes. It is enough for a script that sets up the mailboxes of a company."""
LOGINS = frozenset({"LOGIN", "AUTH"})
"""The commands of IMAP and SMTP that carry the password, as errors name them."""
_LINKS_OF = "links of "

Protocol = Literal["imap", "smtp"]


@dataclass(frozen=True, slots=True)
class Tries:
    """To whom the logins with one password are counted."""

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
    """The tries of the person who uses this link."""
    return Tries(_maker_of(session, link), is_by_link=True, connector_id=link.connector_id)


def of_connector(session: Session, connector: Connector, credential: Credential) -> Tries:
    """The tries with a stored password, which count to the caller who entered it."""
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
    """Hold a place for a login while the block runs. It is given back, unless the block ends with an error that a wrong password may
    have caused. A block that goes on after the login must end the place itself.

    Raises:
        TooManyRefusedLogins: the largest number of logins has been refused.
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
    """The names that limit this login, each with its largest number of refused logins; and the names that count it without a limit."""
    user = _comparable(login.username)
    if login.protocol in tries.worked:
        own = {f"{login.protocol} of {tries.connector_id}": AT_ONE_MAILBOX}
        # A server of the caller may accept any password, and its name may lead to another server afterwards.
        return {**own, f"worked\0{tries.who}\0{user}": AT_ONE_NAME}, {}
    places = _places(gateway, login)
    if tries.is_by_link:
        return _of_guesses(_LINKS_OF + tries.who, places, user), _of_guesses(tries.who, places, user)
    return _of_guesses(tries.who, places, user), {}


def _of_guesses(who: str, places: Iterable[str], user: str) -> dict[str, int]:
    limits = {f"{who}\0{place}\0{user}": AT_ONE_MAILBOX for place in places}
    return {**limits, f"{who}\0\0{user}": AT_ONE_NAME, f"{who}\0": OF_ONE_CALLER}


def _places(gateway: Gateway, login: Login) -> set[str]:
    """The names of a server: the entered name, and its addresses. All names of this machine count as one."""
    places = {login.host.casefold().rstrip(".")}
    with contextlib.suppress(HostUnreachable):  # then the password is not sent
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
    """Whether a wrong password may be the reason for this error. A server may also cut the connection or stay silent, so only an
    error before the password was sent is certainly no refusal."""
    if error.command not in LOGINS or isinstance(error, NoLoginMethod):
        return False
    return error.server_line is not None or isinstance(error, ConnectionLost | MailServerTimeout)


def _behind(session: Session, name: str) -> str | None:
    """The name to which the tries of an actor are counted. None: the actor is not known any more."""
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
