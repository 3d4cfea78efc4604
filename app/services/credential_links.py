"""Links by which the owner of a mailbox enters its password: without an account here, and without an administrator
who learns it.

A link is for one connector, for a day, for one password that its mail server accepts. It ends early when a newer one
is made, when the password is entered otherwise, when the connector's servers change (its user was told of others),
and after five refused passwords. The password goes to the server that the connector names and to nobody else.

    view ── check: log in, look how much waits, change nothing ── connect: store the password, the link is gone

Between `check` and `connect` the password is kept by the browser that sent it, encrypted for this link, so that what
somebody did not confirm is not stored anywhere. What is shown is confirmed: settings that were changed in between are
shown again first.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from sqlalchemy import delete, select
from sqlmodel import Session, col

from app import clock
from app.adapters.secretbox import credential_link_place
from app.audit_actions import AuditAction
from app.errors import LoginRefused, NotFound, SettingsChanged, TooManyRequests
from app.gateway import Gateway
from app.ids import new_id
from app.models import Connector, CredentialLink
from app.services import access, audit, connector_checks, credentials
from app.services.access import Action, Principal
from app.services.audit import NamedActor
from app.services.connector_checks import Report
from app.services.connector_status import settle
from app.services.fetch_cycle import CONFIRM_ABOVE

VALID_FOR = timedelta(hours=24)
MAX_REFUSED_LOGINS = 5
_TOKEN_OCTETS = 32


@dataclass(frozen=True)
class CreatedLink:
    """A new link; its token is not stored."""

    row: CredentialLink
    token: str


@dataclass(frozen=True)
class Checked:
    """What the mail server said to a password. `sealed`: the password, encrypted for this link; None where the
    server did not take it."""

    connector: Connector
    report: Report
    sealed: str | None
    tries_left: int

    @property
    def must_choose(self) -> bool:
        """Whether so much waits that somebody has to say what of it is to be taken."""
        return self.connector.first_fetch is None and (self.report.waiting_messages or 0) > CONFIRM_ABOVE


@dataclass(frozen=True)
class FirstFetch:
    """What to take of the mail that was there before the connector."""

    rule: Literal["all", "none", "since"]
    since: date | None = None


def create(gateway: Gateway, principal: Principal, connector_id: str) -> CreatedLink:
    """Make a link for a connector; an earlier one is void.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    token = secrets.token_urlsafe(_TOKEN_OCTETS)
    now = clock.utc_now()
    with gateway.db.unit_of_work() as session:
        row = session.get(Connector, connector_id, with_for_update=True)
        access.require(session, principal, Action.MAKE_CREDENTIAL_LINK, row)
        _delete_of(session, connector_id)
        link = CredentialLink(
            id=new_id(),
            connector_id=connector_id,
            sha256=_digest(token),
            created_by=principal.name,
            created_at=now,
            expires_at=now + VALID_FOR,
        )
        session.add(link)
        subject = f"connectors/{connector_id}"
        audit.note(
            session, principal, AuditAction.CREDENTIAL_LINK_CREATED, subject, connector_id=connector_id
        )
    return CreatedLink(link, token)


def withdraw(session: Session, principal: Principal, connector_id: str) -> None:
    """Make the connector's link void; where there is none nothing happens.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    access.require(session, principal, Action.MAKE_CREDENTIAL_LINK, session.get(Connector, connector_id))
    if _delete_of(session, connector_id):
        subject = f"connectors/{connector_id}"
        audit.note(
            session, principal, AuditAction.CREDENTIAL_LINK_WITHDRAWN, subject, connector_id=connector_id
        )


def view(gateway: Gateway, token: str) -> Connector:
    """The connector of a link.

    Raises:
        NotFound: unknown, used, void or expired: no telling which.
    """
    with gateway.db.reading() as session:
        return _found(session, token)[1]


def seen_of(connector: Connector) -> str:
    """A text that is another one as soon as the settings are."""
    return connector.updated_at.isoformat()


def check(gateway: Gateway, token: str, password: str, *, seen: str, origin: str | None) -> Checked:
    """Ask the connector's mail server whether it takes the password, and how much waits. Nothing is changed there.

    Raises:
        NotFound
        SettingsChanged: the settings are not those that were shown.
        TooManyRequests
    """
    with gateway.db.unit_of_work() as session:
        link, connector = _found(session, token, seen=seen, for_update=True)
        gateway.checks.count(f"link:{link.id}")
        if link.refused_logins >= MAX_REFUSED_LOGINS:  # as many are being asked about just now
            raise TooManyRequests
        # Counted before it is tried: neither many at once nor a crash give more tries.
        link.refused_logins += 1
    report = connector_checks.check_with(gateway, connector, password)
    is_refused = report.imap.code == LoginRefused.code
    with gateway.db.unit_of_work() as session:
        link, _ = _found(session, token, for_update=True)
        if not is_refused:
            link.refused_logins -= 1
        tries_left = MAX_REFUSED_LOGINS - link.refused_logins
        if tries_left <= 0:
            session.delete(link)
            _note(session, link, origin, AuditAction.CREDENTIAL_LINK_SPENT)
    sealed = None
    if report.imap.ok:
        sealed = gateway.secrets.seal(password, place=credential_link_place(link.id))
    return Checked(connector, report, sealed, tries_left)


def password_in(gateway: Gateway, token: str, sealed: str) -> str:
    """The password that `check` sealed for this link.

    Raises:
        NotFound
        SecretUnreadable: sealed for another link, or by nobody.
    """
    with gateway.db.reading() as session:
        link, _ = _found(session, token)
    return gateway.secrets.open(sealed, place=credential_link_place(link.id))


def connect(
    gateway: Gateway,
    token: str,
    sealed: str,
    *,
    seen: str,
    first_fetch: FirstFetch | None,
    origin: str | None,
) -> Connector:
    """Store the password that `check` found good; the mailbox is fetched from at once, and the link is used up.

    Raises:
        NotFound, SecretUnreadable
        SettingsChanged: the settings are not those that were shown.
    """
    password = password_in(gateway, token, sealed)
    with gateway.db.unit_of_work() as session:
        link, connector = _found(session, token, seen=seen, for_update=True)
        if connector.first_fetch is None and first_fetch is not None:
            connector.first_fetch = first_fetch.rule
            connector.first_fetch_since = first_fetch.since
        by = NamedActor(f"link:{link.id}", origin)
        # The link was made for the owner: what came by it is sealed as if the owner had entered it in the frontend.
        entered_by = f"user:{connector.owner}" if connector.owner is not None else by.name
        credentials.enter(session, gateway, connector, password, by=by, entered_by=entered_by)
        settle(session, connector, anew=True)
    return connector


def delete_expired(gateway: Gateway) -> None:
    """Delete the links whose day is over."""
    with gateway.db.unit_of_work() as session:
        session.execute(delete(CredentialLink).where(col(CredentialLink.expires_at) <= clock.utc_now()))


def _found(
    session: Session, token: str, *, seen: str | None = None, for_update: bool = False
) -> tuple[CredentialLink, Connector]:
    """A link that is good, and its connector, which is locked first: as by whoever changes it."""
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
    if seen is not None and seen != seen_of(connector):
        raise SettingsChanged
    return link, connector


def _delete_of(session: Session, connector_id: str) -> bool:
    rows = session.execute(
        select(CredentialLink).where(col(CredentialLink.connector_id) == connector_id)
    ).scalars()
    links = list(rows)
    for link in links:
        session.delete(link)
    session.flush()
    return bool(links)


def _note(session: Session, link: CredentialLink, origin: str | None, action: AuditAction) -> None:
    by = NamedActor(f"link:{link.id}", origin)
    audit.note(session, by, action, f"connectors/{link.connector_id}", connector_id=link.connector_id)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
