"""Links by which the owner of a mailbox enters its password, without an account here, and without showing it to an
administrator.

A link is for one connector, for one day, and for one password that its mail server accepts. It becomes invalid earlier when
a newer link is made, when the password is entered in another way, when the connector's servers change (the page named
others), and after five refused passwords. The password goes to the servers that the page names and to nobody else.

    view ── check: log in, look how much waits, change nothing ── connect: store the password, the link is used

Between `check` and `connect` the browser keeps the password, encrypted for this link, so a password without confirmation
is stored nowhere. People confirm exactly what the page shows: if the settings change in between, the page shows them again
first. A used link stays until its day is over, so that its page can say that everything is done.
"""

import hashlib
import ipaddress
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select
from sqlmodel import Session, col

from app import clock
from app.adapters.secretbox import credential_link_place
from app.audit_actions import AuditAction
from app.errors import (
    REFUSED_LOGIN_CODES,
    Forbidden,
    NotFound,
    Overloaded,
    SettingsChanged,
    TooManyLinks,
    TooManyRefusedLogins,
    WrongState,
)
from app.events import Recipients
from app.gateway import Gateway
from app.ids import new_id
from app.models import Connector, CredentialLink
from app.schemas.connectors import FirstFetch
from app.services.access import audit, rules
from app.services.access.audit import Actor, NamedActor, differences
from app.services.access.rules import Action, Principal
from app.services.connectors import checks
from app.services.connectors.checks import Report
from app.services.connectors.settings import audited_settings, set_first_fetch
from app.services.connectors.status import settle
from app.services.events.recipients import recipients_of
from app.services.fetching.fetch_cycle import CONFIRM_ABOVE
from app.services.mailboxes import credentials, login_tries
from app.states import SealedBy

PATH = "/credential-links"
VALID_FOR = timedelta(hours=24)
MAX_REFUSED_LOGINS = 5
RETRY_AFTER_S = 600
_TOKEN_OCTETS = 32


@dataclass(frozen=True)
class CreatedLink:
    """A new link. Its address is not stored."""

    url: str
    expires_at: datetime


@dataclass(frozen=True)
class Viewed:
    """The purpose of a link. `recipients`: who will read the mail."""

    connector: Connector
    recipients: Recipients
    is_used: bool

    @property
    def is_for_owner(self) -> bool:
        """Whether only the owner can enter the password now, with a token, and no longer by a link."""
        return not credentials.takes_links(self.connector)

    @property
    def seen(self) -> str:
        """A text that changes when the settings change, or the people who will read the mail."""
        shown = [audited_settings(self.connector), asdict(self.recipients)]
        return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Checked:
    """The result of a login with a password. `encrypted`: password and report, for this link. None: the server did not
    accept the password."""

    viewed: Viewed
    report: Report
    encrypted: str | None
    tries_left: int

    @property
    def must_choose(self) -> bool:
        """Whether so many mails wait that somebody must say which of them to take."""
        return (
            self.viewed.connector.first_fetch is None and (self.report.waiting_messages or 0) > CONFIRM_ABOVE
        )


def create(gateway: Gateway, principal: Principal, connector_id: str, *, base_url: str) -> CreatedLink:
    """Make a link for a connector; an earlier link becomes invalid. `base_url`: the address of the gateway if `PUBLIC_URL` is
    not set.

    Raises:
        ScopeMissing, NotFound, Forbidden, TooManyRequests, TooManyLinks
        WrongState: the address of the gateway from outside is unknown.
    """
    token = secrets.token_urlsafe(_TOKEN_OCTETS)
    now = clock.utc_now()
    with gateway.db.unit_of_work() as session:
        rules.require(session, principal, Action.MAKE_CREDENTIAL_LINK, connector_id, lock=True)
        gateway.links.count(principal.name)
        start = gateway.settings.public_url or _loopback(base_url)
        _delete_unused(session, connector_id)
        _require_few(session, gateway, principal)
        link = CredentialLink(
            id=new_id(),
            connector_id=connector_id,
            sha256=_digest(token),
            expires_at=now + VALID_FOR,
            created_by=principal.name,
        )
        session.add(link)
        _record(session, principal, AuditAction.CREDENTIAL_LINK_CREATED, link)
    return CreatedLink(f"{start}{PATH}/{token}", link.expires_at)


def withdraw(session: Session, principal: Principal, connector_id: str) -> None:
    """Make the connector's link invalid. Does nothing if there is none.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    rules.require(session, principal, Action.MAKE_CREDENTIAL_LINK, connector_id, lock=True)
    for link in _delete_unused(session, connector_id):
        _record(session, principal, AuditAction.CREDENTIAL_LINK_WITHDRAWN, link)


def view(gateway: Gateway, token: str) -> Viewed:
    """The purpose of a link.

    Raises:
        NotFound: the link is unknown, invalid, used up or expired. The error does not say which.
    """
    with gateway.db.reading() as session:
        link, connector = _found(session, token)
        return _viewed(session, link, connector)


def check(gateway: Gateway, token: str, password: str, *, seen: str, origin: str | None) -> Checked:
    """Ask the connector's mail server whether it accepts the password, and how many mails wait. Nothing changes there.

    Raises:
        NotFound: as in `view`, and if the link has been used.
        SettingsChanged: the settings differ from those that the page showed.
        TooManyRequests, TooManyRefusedLogins, Overloaded
    """
    with gateway.db.unit_of_work() as session:
        link, connector = _unused(session, token, seen)
        gateway.checks.count(f"link:{link.id}")
        # Count before the attempt: neither many requests at once nor a crash give additional tries.
        link.refused_logins += 1
        tries = login_tries.of_link(session, link)
    try:
        report = checks.check_with(gateway, connector, password, tries)
    except (Overloaded, TooManyRefusedLogins):
        _give_try_back(gateway, link.id)
        raise
    with gateway.db.unit_of_work() as session:
        again = session.get(CredentialLink, link.id, with_for_update=True)
        if again is None:
            raise NotFound
        if report.imap.code in REFUSED_LOGIN_CODES:
            _record(session, _visitor(link, origin), AuditAction.CREDENTIAL_LINK_REFUSED, link)
        else:
            again.refused_logins -= 1
        viewed = _viewed(session, again, connector)
    encrypted = None
    if report.imap.ok:
        findings = json.dumps({"password": password, "report": asdict(report)})
        encrypted = gateway.secrets.encrypt(
            findings, place=credential_link_place(link.id), use=credentials.servers_of(connector)
        )
    return Checked(viewed, report, encrypted, MAX_REFUSED_LOGINS - again.refused_logins)


def _give_try_back(gateway: Gateway, link_id: str) -> None:
    """Give back a try for which the server was not asked, because the gateway had no free place, or because other links of the same
    caller have been tried too often."""
    with gateway.db.unit_of_work() as session:
        link = session.get(CredentialLink, link_id, with_for_update=True)
        if link is not None:
            link.refused_logins -= 1


def reopened(gateway: Gateway, token: str, encrypted: str) -> Checked:
    """The findings of the check of the password.

    Raises:
        NotFound
        SecretUnreadable: it was encrypted for another link, or by somebody else.
    """
    with gateway.db.reading() as session:
        link, connector = _found(session, token)
        viewed = _viewed(session, link, connector)
    report = Report.from_dict(_opened(gateway, link, connector, encrypted)["report"])
    return Checked(viewed, report, encrypted, MAX_REFUSED_LOGINS - link.refused_logins)


def connect(
    gateway: Gateway,
    token: str,
    encrypted: str,
    *,
    seen: str,
    first_fetch: FirstFetch | None,
    origin: str | None,
) -> Viewed:
    """Store the password that the server accepted in `check`. Fetching begins at once, and the link is used up.

    Raises:
        NotFound, SecretUnreadable: as in `reopened`.
        SettingsChanged: the settings differ from those that the page showed.
    """
    with gateway.db.unit_of_work() as session:
        link, connector = _unused(session, token, seen)
        password = str(_opened(gateway, link, connector, encrypted)["password"])
        by, before = _visitor(link, origin), audited_settings(connector)
        if connector.first_fetch is None and first_fetch is not None:
            set_first_fetch(connector, first_fetch)
            _record(
                session,
                by,
                AuditAction.CONNECTOR_CHANGED,
                link,
                changes=differences(before, audited_settings(connector)),
            )
        link.used_at = clock.utc_now()
        _record(session, by, AuditAction.CREDENTIAL_LINK_USED, link)
        session.flush()
        # The link was made for the owner, so its password counts as entered by the owner.
        sealing = SealedBy.LINK if connector.owner is not None else None
        credentials.enter(session, gateway, connector, password, by=_visitor(link, origin), sealing=sealing)
        settle(session, connector, anew=True)
        return _viewed(session, link, connector)


def delete_expired(gateway: Gateway) -> None:
    """Delete the links that have expired."""
    with gateway.db.unit_of_work() as session:
        session.execute(delete(CredentialLink).where(col(CredentialLink.expires_at) <= clock.utc_now()))


def _found(session: Session, token: str, *, for_update: bool = False) -> tuple[CredentialLink, Connector]:
    """A link that is valid or used, and its connector. The connector is locked first, as in every change of it."""
    by_token = select(CredentialLink).where(col(CredentialLink.sha256) == _digest(token))
    link = session.execute(by_token).scalar_one_or_none()
    if link is None:
        raise NotFound
    connector = session.get(Connector, link.connector_id, with_for_update=for_update or None)
    if for_update:
        fresh = by_token.with_for_update()
        link = session.execute(fresh, execution_options={"populate_existing": True}).scalar_one_or_none()
    if link is None or connector is None or link.expires_at <= clock.utc_now():
        raise NotFound
    if link.refused_logins >= MAX_REFUSED_LOGINS and link.used_at is None:
        raise NotFound
    return link, connector


def _unused(session: Session, token: str, seen: str) -> tuple[CredentialLink, Connector]:
    """A valid link, locked with its connector, if the page showed the present settings."""
    link, connector = _found(session, token, for_update=True)
    if link.used_at is not None:
        raise NotFound
    if not credentials.takes_links(connector):
        raise Forbidden
    if seen != _viewed(session, link, connector).seen:
        raise SettingsChanged
    return link, connector


def _viewed(session: Session, link: CredentialLink, connector: Connector) -> Viewed:
    return Viewed(connector, recipients_of(session, connector), link.used_at is not None)


def _opened(gateway: Gateway, link: CredentialLink, connector: Connector, encrypted: str) -> dict[str, Any]:
    place, use = credential_link_place(link.id), credentials.servers_of(connector)
    findings: dict[str, Any] = json.loads(gateway.secrets.decrypt(encrypted, place=place, use=use))
    return findings


def _delete_unused(session: Session, connector_id: str) -> list[CredentialLink]:
    unused = select(CredentialLink).where(
        col(CredentialLink.connector_id) == connector_id, col(CredentialLink.used_at).is_(None)
    )
    links = list(session.execute(unused).scalars())
    for link in links:
        session.delete(link)
    session.flush()
    return links


def _require_few(session: Session, gateway: Gateway, principal: Principal) -> None:
    """Limit the links of one caller that are valid and unused.

    Raises:
        TooManyLinks
    """
    statement = select(func.count()).where(
        col(CredentialLink.created_by) == principal.name,
        col(CredentialLink.used_at).is_(None),
        col(CredentialLink.expires_at) > clock.utc_now(),
    )
    if session.execute(statement).scalar_one() >= gateway.settings.links_per_caller:
        raise TooManyLinks(RETRY_AFTER_S)


def _loopback(base_url: str) -> str:
    """The address of the gateway, if it is a loopback address, for a trial on one machine. Any other address in the request comes from
    the caller or a proxy, and cannot be trusted: people will enter a password there."""
    host = urlsplit(base_url).hostname or ""
    try:
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise WrongState("Links need to know how people reach the gateway: set GATEWAY_PUBLIC_URL.")
    return base_url.rstrip("/")


def _visitor(link: CredentialLink, origin: str | None) -> NamedActor:
    return NamedActor(f"link:{link.id}", origin)


def _record(
    session: Session,
    by: Actor,
    action: AuditAction,
    link: CredentialLink,
    *,
    changes: Mapping[str, Any] | None = None,
) -> None:
    subject = f"credential-links/{link.id}"
    audit.record(session, by, action, subject, connector_id=link.connector_id, changes=changes)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
