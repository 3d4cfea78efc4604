"""Tests a connector: whether the servers accept the login, whether the folders exist, how many mails wait.

A test finds what a fetch would find: it selects the source folder and asks for the right to move. It changes nothing except
the flag Recent, which every selection clears. The report repeats no words of a server, and gives an exact reason only for addresses
to which the gateway may connect, so it is of little use as a port scanner. The log has the server's words. The number of tests for
each caller is limited. A test ends after some seconds, even if the servers answer slowly.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from app.adapters import imap, smtp
from app.adapters.imap import Folder, ImapSession, ServerAddress
from app.errors import (
    GatewayError,
    MailServerError,
    MailServerRejected,
    MailServerTimeout,
    NoRightToMove,
    NotFound,
    OverQuota,
    ProcessedFolderMissing,
    SameFolder,
    WrongState,
)
from app.gateway import Gateway
from app.models import Connector
from app.schemas.connectors import ConnectorTest, ImapServer, SmtpServer
from app.server_cooldown import server_name
from app.services import logins
from app.services.access import rules
from app.services.access.rules import Action, Principal
from app.services.connectors import addresses
from app.services.connectors.settings import settings_of
from app.services.mailboxes import credentials, folders, login_tries, opening, sessions
from app.services.mailboxes.credentials import StoredSecret
from app.services.mailboxes.login_tries import Login, Tries

log = structlog.get_logger(__name__)

DEADLINE_S = 20.0
"""The limit for all steps together, on both servers."""


@dataclass(frozen=True)
class Check:
    """One step: ok, or a stable code with a sentence."""

    ok: bool
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Report:
    """The findings. A step that could not be tried is None."""

    imap: Check
    smtp: Check | None = None
    source_folder: Check | None = None
    processed_folder: Check | None = None
    resolved_processed_folder: str | None = None
    """The name of the folder on the server."""
    waiting_messages: int | None = None
    """Mails in the source folder."""
    is_right_to_move_unknown: bool = False
    """The server has said nothing about it, neither yes nor no."""

    @property
    def ok(self) -> bool:
        steps = (self.imap, self.smtp, self.source_folder, self.processed_folder)
        return all(step.ok for step in steps if step is not None)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Report":
        """Build a report from the output of `dataclasses.asdict`."""
        steps = {name: Check(**value) for name, value in values.items() if isinstance(value, dict)}
        return cls(**{**values, **steps})


@dataclass(frozen=True)
class Turns:
    """The blocks around the login of each server. Both get the time by which the test must have ended."""

    imap: Callable[[float], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    smtp: Callable[[float], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext


PASSED = Check(ok=True)
NOT_TOLD = (
    "The last fetch was not allowed to move mail out of the folder. This mail server shows only to a fetch whether that has "
    "changed: give the account the right, then fetch."
)
TO_BE_MADE = Check(ok=True, detail="There is no such folder yet; the gateway creates it when it is needed.")


def check_new(gateway: Gateway, principal: Principal, wanted: ConnectorTest) -> Report:
    """Test settings that are not stored.

    Raises:
        ScopeMissing, TooManyRequests, TooManyRefusedLogins, InvalidInput, Overloaded
    """
    rules.require_scope(principal, "connectors:write")
    gateway.checks.count(principal.name)
    addresses.require_allowed(gateway, imap=wanted.imap, smtp=wanted.smtp)
    with gateway.db.reading() as session:
        tries = login_tries.of_caller(session, principal.name)
    return _check(
        gateway,
        tries,
        wanted.imap,
        wanted.smtp,
        source_folder=wanted.source_folder,
        processed_folder=wanted.processed_folder,
        password=wanted.credentials.password.get_secret_value(),
    )


def check_stored(gateway: Gateway, principal: Principal, connector_id: str) -> Report:
    """Test a connector with its stored credentials.

    Raises:
        ScopeMissing, NotFound, Forbidden, TooManyRequests, TooManyRefusedLogins, Overloaded
        WrongState: there are no credentials.
        SecretUnreadable
    """
    connector, secret = _with_password(gateway, principal, Action.OPERATE, connector_id)
    gateway.checks.count(principal.name)
    turns = Turns(
        imap=lambda ends_at: logins.over_imap(gateway, secret, ends_at=ends_at),
        smtp=lambda ends_at: logins.over_smtp_of_test(gateway, secret, connector, ends_at=ends_at),
    )
    password = credentials.decrypted(gateway, secret)
    report = check_with(gateway, connector, password, secret.tries, turns)
    if report.is_right_to_move_unknown and connector.last_error_code == NoRightToMove.code:
        return replace(report, source_folder=_failed(NoRightToMove(NOT_TOLD)))
    return report


def check_with(
    gateway: Gateway, connector: Connector, password: str, tries: Tries, turns: Turns = Turns()
) -> Report:
    """Test a stored connector with a password, without a check of rights. `tries`: to whom the logins are
    counted.

    Raises:
        TooManyRefusedLogins, Overloaded
    """
    settings = settings_of(connector)
    return _check(
        gateway,
        tries,
        settings.imap,
        settings.smtp,
        source_folder=connector.source_folder,
        processed_folder=connector.processed_folder,
        password=password,
        turns=turns,
    )


def list_folders(gateway: Gateway, principal: Principal, connector_id: str) -> list[Folder]:
    """The folders that the server has now.

    Raises:
        ScopeMissing, NotFound, Forbidden, TooManyRequests, Overloaded
        WrongState: there are no credentials.
        SecretUnreadable, MailServerError
    """
    connector, secret = _with_password(gateway, principal, Action.LIST_FOLDERS, connector_id)
    gateway.checks.count(principal.name)
    server = _address(settings_of(connector).imap)
    policy = sessions.connection_policy(gateway, ends_at=time.monotonic() + DEADLINE_S)
    with _waiting_for(gateway, server), logins.logged_in(gateway, secret, server, policy) as mailbox:
        return mailbox.list_folders()


def _with_password(
    gateway: Gateway, principal: Principal, action: Action, connector_id: str
) -> tuple[Connector, StoredSecret]:
    with gateway.db.reading() as session:
        rules.require(session, principal, action, connector_id)
        found = credentials.with_settings(session, connector_id)
        if found is None:
            raise NotFound
        connector, credential = found
        if credential is None:
            raise WrongState("This connector has no credentials yet.")
        return connector, credentials.stored(session, connector, credential)


def _check(
    gateway: Gateway,
    tries: Tries,
    imap_server: ImapServer,
    smtp_server: SmtpServer | None,
    *,
    source_folder: str,
    processed_folder: str,
    password: str,
    turns: Turns = Turns(),
) -> Report:
    ends_at = time.monotonic() + DEADLINE_S
    address, policy = _address(imap_server), sessions.connection_policy(gateway, ends_at=ends_at)
    login = Login("imap", address.host, address.port, address.username)
    try:
        with (
            _waiting_for(gateway, address),
            login_tries.taken(gateway, tries, login),
            imap.connect(address, password, policy, logging_in=lambda: turns.imap(ends_at)) as mailbox,
        ):
            report = _check_folders(mailbox, source_folder, processed_folder)
    except MailServerError as exc:
        report = Report(imap=_failed(exc))
    # Try the password at the second server only if the first has accepted it: refused logins get our address banned.
    if smtp_server is not None and report.imap.ok:
        report = replace(
            report, smtp=_check_smtp(gateway, smtp_server, password, tries, turns, ends_at=ends_at)
        )
    return report


def _check_smtp(
    gateway: Gateway, server: SmtpServer, password: str, tries: Tries, turns: Turns, *, ends_at: float
) -> Check:
    left_s = ends_at - time.monotonic()
    if left_s <= 0:
        return _failed(MailServerTimeout())
    login = Login("smtp", server.host, server.port, server.username)
    try:
        with _waiting_for(gateway, server), login_tries.taken(gateway, tries, login):
            smtp.check(
                smtp.Server(server.host, server.port, server.security, server.username, password),
                network=gateway.mail_network,
                tls=gateway.tls,
                ehlo_name=gateway.settings.ehlo_name,
                limits=smtp.Limits(
                    connect_s=min(gateway.settings.connect_timeout_s, left_s),
                    command_s=min(gateway.settings.command_timeout_s, left_s),
                    attempt_s=min(gateway.settings.command_timeout_s, left_s),
                ),
                logging_in=lambda: turns.smtp(ends_at),
            )
    except MailServerError as exc:
        return _failed(exc)
    return PASSED


def _check_folders(mailbox: ImapSession, source_folder: str, processed_folder: str) -> Report:
    """The findings about the folders, after the login.

    Raises:
        MailServerError: not about the folders.
    """
    listed = mailbox.list_folders()
    prefix = mailbox.personal_prefix()
    report = Report(imap=PASSED)
    source: Folder | None = None
    try:
        source = opening.source_folder(listed, source_folder, prefix)
        selected = opening.select_source(mailbox, source.name)
        report = replace(report, source_folder=PASSED, waiting_messages=selected.exists)
    except MailServerRejected as exc:
        report = replace(report, source_folder=_failed(mailbox.masked(exc)))
    processed, target = _check_processed(listed, source, processed_folder, prefix)
    report = replace(report, processed_folder=processed, resolved_processed_folder=target)
    if source is not None and report.ok and processed != TO_BE_MADE:
        assert target is not None
        report = _check_rights(mailbox, source.name, target, report)
    return report


def _check_processed(
    listed: Sequence[Folder], source: Folder | None, wanted: str, prefix: str
) -> tuple[Check, str | None]:
    try:
        found = opening.processed_folder(listed, wanted, prefix)
    except MailServerRejected as exc:
        return _failed(exc), None
    if found is None:
        return TO_BE_MADE, prefix + folders.DEFAULT_NAMES[folders.TRASH]
    if source is not None and folders.is_same(source.name, found.name):
        return _failed(SameFolder()), found.name
    return PASSED, found.name


def _waiting_for(
    gateway: Gateway, server: ServerAddress | SmtpServer
) -> contextlib.AbstractContextManager[None]:
    return gateway.server_requests.waiting_for(server_name(server.host, server.port, server.security))


def _check_rights(mailbox: ImapSession, source: str, target: str, report: Report) -> Report:
    try:
        return replace(report, is_right_to_move_unknown=not opening.require_rights(mailbox, source, target))
    except (ProcessedFolderMissing, OverQuota) as exc:
        return replace(report, processed_folder=_failed(mailbox.masked(exc)))
    except MailServerRejected as exc:
        return replace(report, source_folder=_failed(mailbox.masked(exc)))


def _address(server: ImapServer) -> ServerAddress:
    return ServerAddress(server.host, server.port, server.security, server.username)


def _failed(error: GatewayError) -> Check:
    log.info(
        "connector_test_failed",
        error=error.code,
        command=getattr(error, "command", None),
        response_code=getattr(error, "response_code", None),
        server_line=getattr(error, "server_line", None),
    )
    return Check(ok=False, code=error.code, detail=error.detail)
