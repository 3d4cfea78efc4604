"""Connectors: their settings, and the consequences of a change.

Host, port, security and user name decide who gets to see the password. A change of one of them discards the stored
password, unless the request contains a new one: otherwise somebody could point a mailbox to a server of their own and
collect the password that its owner has entered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import AlreadyExists, Forbidden, MessagesStored, PreconditionFailed, WrongState
from app.gateway import Gateway
from app.ids import new_id
from app.models import Connector, Credential
from app.schemas.connectors import (
    ConnectorCreate,
    ConnectorPatch,
    ConnectorPut,
    ConnectorSettings,
)
from app.services import pages
from app.services.access import audit, rules
from app.services.access.audit import differences
from app.services.access.rules import RULES, Action, Principal
from app.services.connectors import addresses
from app.services.connectors.settings import (
    audited_settings,
    has_same_servers,
    merged_with,
    settings_of,
    version_of,
    write,
)
from app.services.connectors.status import settle
from app.services.fetching import ledger
from app.services.mailboxes import credentials
from app.services.messages import deletion, selection
from app.services.pages import Slice
from app.services.sending import bindings
from app.states import ConnectorKind, ConnectorStatus

DELETE_ROUNDS = 10
_OWNERS_CHOICES = {
    "email_address": "the address",
    "first_fetch": "which of the mail that was there is taken",
    "retention": "how long mail is kept",
}
"""What others cannot change of a sealed mailbox, beside the folders."""


@dataclass(frozen=True)
class Detailed:
    """A connector as a caller sees it."""

    connector: Connector
    has_credentials: bool
    in_full: bool
    """False: the caller sees only a few fields."""
    version: str = ""
    """The version of settings and credentials: it changes when one of them changes. Cycles do not change it. Empty in lists."""


def get(session: Session, principal: Principal, connector_id: str) -> Detailed:
    """One connector.

    Raises:
        ScopeMissing, NotFound
    """
    connector = rules.require(session, principal, Action.SEE_SHORT, connector_id)
    return _detailed(session, principal, connector)


def list_connectors(
    session: Session, principal: Principal, *, after: str | None, limit: int
) -> Slice[Detailed]:
    """The connectors that the caller sees, oldest first.

    Raises:
        ScopeMissing, InvalidInput
    """
    statement = (
        select(Connector, col(Credential.connector_id))
        .outerjoin(Credential, col(Credential.connector_id) == col(Connector.id))
        .where(rules.visible_connectors(principal, Action.SEE_SHORT))
    )
    found = pages.rows(session, statement, col(Connector.id), after=after, limit=limit)
    in_full = rules.visible_connector_ids(principal, Action.SEE_SETTINGS)
    ids = [row[0].id for row in found.data]
    full_ids = set(session.execute(in_full.where(col(Connector.id).in_(ids))).scalars())
    return found.map(
        lambda row: Detailed(row[0], has_credentials=row[1] is not None, in_full=row[0].id in full_ids)
    )


def create(gateway: Gateway, principal: Principal, body: ConnectorCreate) -> Detailed:
    """Store a new connector. With credentials, fetching begins at once.

    Raises:
        ScopeMissing, Forbidden
        InvalidInput: the installation never connects to one of the servers.
        AlreadyExists: the mailbox's folder, or the external id, already has a connector.
    """
    rules.require_may_create(principal, kind=body.kind, owner=body.owner)
    addresses.require_allowed(gateway, imap=body.imap, smtp=body.smtp)
    with gateway.db.unit_of_work() as session:
        return _create(session, gateway, principal, body, body.external_id)


def put(
    gateway: Gateway,
    principal: Principal,
    external_id: str,
    body: ConnectorPut,
    *,
    version: str | None = None,
) -> tuple[Detailed, bool]:
    """Store a connector under its external id, or replace all settings of the existing one. Also returns whether it is new.
    Credentials stay, unless the request contains new ones or the server changes.

    Raises:
        ScopeMissing, NotFound, Forbidden, InvalidInput, AlreadyExists
        WrongState: kind or owner are others than the stored ones.
        PreconditionFailed: as in `patch`, and if there is no connector yet.
    """
    rules.require_scope(principal, "connectors:write")
    addresses.require_allowed(gateway, imap=body.imap, smtp=body.smtp)
    by_external_id = select(Connector).where(col(Connector.external_id) == external_id)
    try:
        with gateway.db.unit_of_work() as session:
            found = session.execute(by_external_id.with_for_update()).scalar_one_or_none()
            if found is None:
                if version is not None:
                    raise PreconditionFailed
                rules.require_may_create(principal, kind=body.kind, owner=body.owner)
                return _create(session, gateway, principal, body, external_id), True
            return _replace(session, gateway, principal, found, body, version=version), False
    except AlreadyExists:
        # If somebody has just created it, this is a replacement.
        with gateway.db.unit_of_work() as session:
            found = session.execute(by_external_id.with_for_update()).scalar_one_or_none()
            if found is None:
                raise
            return _replace(session, gateway, principal, found, body, version=version), False


def patch(
    gateway: Gateway,
    principal: Principal,
    connector_id: str,
    body: ConnectorPatch,
    *,
    version: str | None = None,
) -> Detailed:
    """Change some settings (RFC 7396).

    Raises:
        ScopeMissing, NotFound, Forbidden, InvalidInput, AlreadyExists
        PreconditionFailed: settings or credentials have changed since the version that the caller has seen.
    """
    changes = body.model_dump(exclude_unset=True)
    with gateway.db.reading() as session:
        as_read = rules.require(session, principal, Action.CHANGE_SETTINGS, connector_id)
    wanted = merged_with(as_read, changes)
    if not has_same_servers(as_read, wanted):
        addresses.require_allowed(gateway, imap=wanted.imap, smtp=wanted.smtp)
    with gateway.db.unit_of_work() as session:
        connector = rules.require(session, principal, Action.CHANGE_SETTINGS, connector_id, lock=True)
        _require_version(session, connector, version)
        checked, wanted = wanted, merged_with(connector, changes)
        if not has_same_servers(connector, wanted) and (wanted.imap, wanted.smtp) != (
            checked.imap,
            checked.smtp,
        ):
            raise WrongState("The connector is being changed by somebody else; try again.")
        before = audited_settings(connector)
        if "external_id" in changes:
            connector.external_id = body.external_id
        if "credentials" in changes and body.credentials is None:
            _discard_credentials(session, principal, connector)
        password = body.credentials.password if body.credentials is not None else None
        _apply(session, gateway, principal, connector, wanted=wanted, password=password)
        _note_changes(session, principal, connector, before)
        return _detailed(session, principal, connector)


def delete_connector(
    gateway: Gateway,
    principal: Principal,
    connector_id: str,
    *,
    with_messages: bool,
    version: str | None = None,
) -> None:
    """Delete a connector with everything that belongs to it. Mail on the server is not touched.

    Raises:
        ScopeMissing, NotFound, Forbidden, PreconditionFailed
        MessagesStored: there are messages, and they are not to be deleted too.
    """
    for _ in range(DELETE_ROUNDS):
        with gateway.db.unit_of_work() as session:
            connector = rules.require(session, principal, Action.DELETE_CONNECTOR, connector_id, lock=True)
            _require_version(session, connector, version)
            if not selection.count_of(session, connector_id):
                _note(
                    session,
                    principal,
                    AuditAction.CONNECTOR_DELETED,
                    connector,
                    changes=differences(audited_settings(connector), {}),
                )
                session.execute(delete(Connector).where(col(Connector.id) == connector.id))
                return
            if not with_messages:
                raise MessagesStored
            # From now on no cycle begins, and one that runs ends before its next commit.
            connector.paused = True
            settle(session, connector)
        deletion.delete_of_connector(gateway, principal, connector_id)
    raise WrongState("Messages of this connector keep arriving; try again.")


def enter_credentials(
    gateway: Gateway,
    principal: Principal,
    connector_id: str,
    password: SecretStr,
    *,
    version: str | None = None,
) -> Detailed:
    """Store the password. Fetching begins at once.

    Raises:
        ScopeMissing, NotFound, Forbidden
        PreconditionFailed: as in `patch`; the password would go to servers that the caller has not seen.
    """
    with gateway.db.unit_of_work() as session:
        connector = rules.require(session, principal, Action.ENTER_CREDENTIALS, connector_id, lock=True)
        _require_version(session, connector, version)
        _enter(session, gateway, principal, connector, password)
        settle(session, connector, anew=True)
        return _detailed(session, principal, connector)


def discard_credentials(
    gateway: Gateway, principal: Principal, connector_id: str, *, version: str | None = None
) -> None:
    """Delete the stored password. Nothing is fetched or sent until somebody enters one again.

    Raises:
        ScopeMissing, NotFound, Forbidden, PreconditionFailed
    """
    with gateway.db.unit_of_work() as session:
        connector = rules.require(session, principal, Action.ENTER_CREDENTIALS, connector_id, lock=True)
        _require_version(session, connector, version)
        _discard_credentials(session, principal, connector)


def pause(gateway: Gateway, principal: Principal, connector_id: str) -> Detailed:
    """Stop fetching until `resume`. A cycle that runs ends before its next commit.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    with gateway.db.unit_of_work() as session:
        connector = rules.require(session, principal, Action.OPERATE, connector_id, lock=True)
        connector.paused = True
        settle(session, connector)
        _note(session, principal, AuditAction.CONNECTOR_PAUSED, connector)
        return _detailed(session, principal, connector)


def resume(gateway: Gateway, principal: Principal, connector_id: str) -> Detailed:
    """Start fetching again, at once, whatever failed before.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    with gateway.db.unit_of_work() as session:
        connector = rules.require(session, principal, Action.OPERATE, connector_id, lock=True)
        connector.paused = False
        settle(session, connector, anew=True)
        _note(session, principal, AuditAction.CONNECTOR_RESUMED, connector)
        return _detailed(session, principal, connector)


def _detailed(session: Session, principal: Principal, connector: Connector) -> Detailed:
    roles = rules.roles_towards(session, principal, connector, Action.SEE_SETTINGS)
    credential = session.get(Credential, connector.id)
    return Detailed(
        connector,
        has_credentials=credential is not None,
        in_full=bool(roles & RULES[Action.SEE_SETTINGS]),
        version=version_of(connector, credential),
    )


def _require_version(session: Session, connector: Connector, expected: str | None) -> None:
    """Refuse a change by a caller who has seen other settings than these. None: the caller did not say.

    Raises:
        PreconditionFailed
    """
    if expected is not None and expected != version_of(connector, session.get(Credential, connector.id)):
        raise PreconditionFailed


def _create(
    session: Session,
    gateway: Gateway,
    principal: Principal,
    body: ConnectorCreate | ConnectorPut,
    external_id: str | None,
) -> Detailed:
    now = clock.utc_now()
    connector = Connector(
        id=new_id(),
        external_id=external_id,
        name=body.name,
        kind=body.kind,
        owner=body.owner,
        email_address="",
        imap_host=body.imap.host,
        imap_port=body.imap.port,
        imap_security=body.imap.security,
        imap_username=body.imap.username,
        source_folder=body.source_folder,
        processed_folder=body.processed_folder,
        poll_interval_s=gateway.settings.poll_interval_s,
        status=ConnectorStatus.ACTIVE,  # `settle` then finds out what it waits for
        created_at=now,
        updated_at=now,
    )
    write(connector, body, gateway.settings.poll_interval_s)
    session.add(connector)
    _flush(session)
    _note(
        session,
        principal,
        AuditAction.CONNECTOR_CREATED,
        connector,
        changes=differences({}, audited_settings(connector)),
    )
    if body.credentials is not None:
        _enter(session, gateway, principal, connector, body.credentials.password)
    settle(session, connector, anew=True)
    return _detailed(session, principal, connector)


def _replace(
    session: Session,
    gateway: Gateway,
    principal: Principal,
    connector: Connector,
    body: ConnectorPut,
    *,
    version: str | None,
) -> Detailed:
    rules.require_on(session, principal, Action.CHANGE_SETTINGS, connector)
    _require_version(session, connector, version)
    if (body.kind, body.owner) != (connector.kind, connector.owner):
        raise WrongState("Kind and owner of a connector never change.")
    if rules.is_sealed(connector) and not rules.is_owner(principal, connector):
        body = _with_owners_choices(connector, body)
    before = audited_settings(connector)
    password = body.credentials.password if body.credentials is not None else None
    _apply(session, gateway, principal, connector, wanted=body, password=password)
    _note_changes(session, principal, connector, before)
    return _detailed(session, principal, connector)


def _apply(
    session: Session,
    gateway: Gateway,
    principal: Principal,
    connector: Connector,
    *,
    wanted: ConnectorSettings,
    password: SecretStr | None,
) -> None:
    """Write the settings, and apply the consequences of each change."""
    new_servers = not has_same_servers(connector, wanted)
    new_mailbox = (connector.imap_host, connector.imap_port, connector.imap_username) != (
        wanted.imap.host,
        wanted.imap.port,
        wanted.imap.username,
    )
    new_source = connector.source_folder != wanted.source_folder
    by_others = rules.is_sealed(connector) and not rules.is_owner(principal, connector)
    if by_others:
        _require_same_privacy(connector, wanted)
    answers_question = (
        connector.status == ConnectorStatus.AWAITING_CONFIRMATION and wanted.first_fetch is not None
    )
    credential = session.get(Credential, connector.id)
    secret = credentials.stored(session, connector, credential) if credential is not None else None
    before = bindings.made_for(connector)
    write(connector, wanted, gateway.settings.poll_interval_s)
    _flush(session)
    if new_mailbox:
        ledger.leave_places(session, connector.id)
    if new_mailbox or new_source:
        connector.baseline_uidvalidity = connector.baseline_uidnext = connector.baseline_at = None
    if new_servers:
        credentials.discard(session, connector.id, by=principal)
        if by_others:
            connector.awaits_owner_since = clock.utc_now()
        elif rules.is_owner(principal, connector) and connector.awaits_owner_since is None:
            bindings.release(session, connector)
    else:
        credentials.keep(session, gateway, connector, secret)
        bindings.follow(session, connector, before)
    if password is not None:
        rules.require_on(session, principal, Action.ENTER_CREDENTIALS, connector)
        _enter(session, gateway, principal, connector, password)
    anew = new_servers or new_source or answers_question or password is not None
    settle(session, connector, anew=anew, is_pointed_elsewhere=by_others and new_servers)


def _require_same_privacy(connector: Connector, wanted: ConnectorSettings) -> None:
    """For a sealed mailbox, refuse changes by others of what is the owner's: what is read, kept and moved, and in whose name
    is sent."""
    if (connector.source_folder, connector.processed_folder) != (
        wanted.source_folder,
        wanted.processed_folder,
    ):
        raise Forbidden("The owner has entered the credentials, so only the owner may change the folders.")
    present = settings_of(connector)
    for name, words in _OWNERS_CHOICES.items():
        if getattr(present, name) != getattr(wanted, name):
            raise Forbidden(f"The owner has entered the credentials, so only the owner may change {words}.")


def _with_owners_choices(connector: Connector, body: ConnectorPut) -> ConnectorPut:
    """A replacement by others, of a sealed connector: what it leaves out stays as the owner chose it, and does not get the
    default of a new connector."""
    present = settings_of(connector)
    left_out = {
        name: getattr(present, name)
        for name in ("source_folder", "processed_folder", *_OWNERS_CHOICES)
        if name not in body.model_fields_set
    }
    if not body.retention.model_fields_set:
        left_out["retention"] = present.retention
    return body.model_copy(update=left_out)


def _enter(
    session: Session, gateway: Gateway, principal: Principal, connector: Connector, password: SecretStr
) -> None:
    is_owner = rules.is_owner(principal, connector)
    credentials.enter(
        session,
        gateway,
        connector,
        password.get_secret_value(),
        by=principal,
        sealing="token" if is_owner else None,
    )
    if is_owner or connector.kind == ConnectorKind.SHARED:
        bindings.release(session, connector)


def _discard_credentials(session: Session, principal: Principal, connector: Connector) -> None:
    rules.require_on(session, principal, Action.ENTER_CREDENTIALS, connector)
    credentials.discard(session, connector.id, by=principal)
    settle(session, connector)


def _note(
    session: Session,
    principal: Principal,
    action: AuditAction,
    connector: Connector,
    *,
    changes: Mapping[str, Any] | None = None,
) -> None:
    subject = f"connectors/{connector.id}"
    audit.note(session, principal, action, subject, connector_id=connector.id, changes=changes)


def _note_changes(
    session: Session, principal: Principal, connector: Connector, before: Mapping[str, Any]
) -> None:
    changes = differences(before, audited_settings(connector))
    if changes:
        _note(session, principal, AuditAction.CONNECTOR_CHANGED, connector, changes=changes)


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as exc:
        raise AlreadyExists(
            "There is already a connector with this external id, or for this folder of this mailbox."
        ) from exc
