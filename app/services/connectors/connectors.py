"""Connectors: create, list, change, pause, delete."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import MessagesStored, TooManyConnectors, WrongState
from app.gateway import Gateway
from app.ids import new_id
from app.models import Connector, Credential
from app.schemas.connectors import ConnectorCreate, ConnectorPatch, ConnectorPut
from app.schemas.fields import ListQuery
from app.services import pages
from app.services.access import audit, group_bindings, rules
from app.services.access.audit import differences
from app.services.access.rules import Action, Principal, PrincipalKind
from app.services.connectors import addresses, external_ids, passwords
from app.services.connectors.changes import apply, require_free_mailbox
from app.services.connectors.detailed import Detailed, detailed, require_version
from app.services.connectors.settings import audited_settings, has_same_servers, merged_with, write
from app.services.connectors.status import settle
from app.services.fetching import leases
from app.services.messages import deletion, selection
from app.services.pages import Slice
from app.services.sending import ending, remains
from app.states import ConnectorStatus

DELETE_ROUNDS = 10


def get(session: Session, principal: Principal, connector_id: str) -> Detailed:
    """One connector.

    Raises:
        ScopeMissing, NotFound
    """
    connector = rules.require(session, principal, Action.SEE_SHORT, connector_id)
    return detailed(session, principal, connector)


def list_connectors(
    session: Session, principal: Principal, query: ListQuery, *, after: str | None
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
    found = pages.rows(session, statement, col(Connector.id), after=after, limit=query.limit)
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
        AlreadyExists: the caller has a connector with this external id already.
        MailboxTaken: a connector that the caller may change has this folder of the mailbox.
        TooManyConnectors: the user has the largest number of personal connectors.
    """
    rules.require_may_create(principal, kind=body.kind, owner=body.owner)
    addresses.require_allowed(gateway, imap=body.imap, smtp=body.smtp)
    with gateway.db.unit_of_work() as session:
        made = insert(session, gateway, principal, body, body.external_id)
        return detailed(session, principal, made)


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
        ScopeMissing, NotFound, Forbidden, InvalidInput, AlreadyExists, MailboxTaken
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
        require_version(session, connector, version)
        checked, wanted = wanted, merged_with(connector, changes)
        if not has_same_servers(connector, wanted) and (wanted.imap, wanted.smtp) != (
            checked.imap,
            checked.smtp,
        ):
            raise WrongState("The connector is being changed by somebody else; try again.")
        before = audited_settings(connector)
        if "external_id" in changes:
            external_ids.give(session, principal, connector, body.external_id)
        if "credentials" in changes and body.credentials is None:
            passwords.discard(session, principal, connector)
        password = body.credentials.password if body.credentials is not None else None
        apply(session, gateway, principal, connector, wanted=wanted, password=password)
        record_changes(session, principal, connector, before)
        return detailed(session, principal, connector)


def delete_connector(
    gateway: Gateway,
    principal: Principal,
    connector_id: str,
    *,
    with_messages: bool,
    cancel_submissions: bool = False,
    version: str | None = None,
) -> None:
    """Delete a connector with everything that belongs to it. Mail on the server is not touched.

    Raises:
        ScopeMissing, NotFound, Forbidden, PreconditionFailed
        MessagesStored: there are messages, and `with_messages` is false.
        SubmissionsQueued: mail waits to be sent, and `cancel_submissions` is false.
        WrongState: a mail is being sent.
    """
    for _ in range(DELETE_ROUNDS):
        with gateway.db.unit_of_work() as session:
            connector = rules.require(session, principal, Action.DELETE_CONNECTOR, connector_id, lock=True)
            require_version(session, connector, version)
            if not selection.count_of(session, connector_id):
                ending.end_queued(session, connector_id, cancels=cancel_submissions)
                remains.keep_answers_of(session, connector_id)
                _record(
                    session,
                    principal,
                    AuditAction.CONNECTOR_DELETED,
                    connector,
                    changes=differences(audited_settings(connector), {}),
                )
                session.execute(delete(Connector).where(col(Connector.id) == connector.id))
                leases.forget(session, connector.id)
                return
            if not with_messages:
                raise MessagesStored
            if not cancel_submissions:
                ending.require_none_queued(session, connector_id)
            # From now on no cycle begins, and one that runs ends before its next commit.
            connector.paused = True
            settle(session, connector)
        deletion.delete_of_connector(gateway, principal, connector_id)
    raise WrongState("Messages of this connector keep arriving; try again.")


def pause(gateway: Gateway, principal: Principal, connector_id: str) -> Detailed:
    """Stop fetching until `resume`. A cycle that runs ends before its next commit.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    with gateway.db.unit_of_work() as session:
        connector = rules.require(session, principal, Action.OPERATE, connector_id, lock=True)
        connector.paused = True
        settle(session, connector)
        _record(session, principal, AuditAction.CONNECTOR_PAUSED, connector)
        return detailed(session, principal, connector)


def resume(gateway: Gateway, principal: Principal, connector_id: str) -> Detailed:
    """Start fetching again at once, and forget earlier errors.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    with gateway.db.unit_of_work() as session:
        connector = rules.require(session, principal, Action.OPERATE, connector_id, lock=True)
        connector.paused = False
        settle(session, connector, anew=True)
        _record(session, principal, AuditAction.CONNECTOR_RESUMED, connector)
        return detailed(session, principal, connector)


def insert(
    session: Session,
    gateway: Gateway,
    principal: Principal,
    body: ConnectorCreate | ConnectorPut,
    external_id: str | None,
) -> Connector:
    """Add a new connector. Whether the caller may create it, and name its servers, is checked before.

    Raises:
        Forbidden, InvalidInput, AlreadyExists, MailboxTaken, TooManyConnectors
    """
    now = clock.utc_now()
    connector = Connector(
        id=new_id(),
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
    _require_few(session, gateway, principal)
    external_ids.give(session, principal, connector, external_id)
    require_free_mailbox(session, principal, connector)
    session.add(connector)
    external_ids.flush(session)
    _record(
        session,
        principal,
        AuditAction.CONNECTOR_CREATED,
        connector,
        changes=differences({}, audited_settings(connector)),
    )
    if body.credentials is not None:
        passwords.enter(session, gateway, principal, connector, body.credentials.password)
    if body.groups:
        group_bindings.set_groups(session, principal, connector, body.groups)
    settle(session, connector, anew=True)
    return connector


def _require_few(session: Session, gateway: Gateway, principal: Principal) -> None:
    """Limit the personal connectors of a user. Two requests at the same moment may exceed the limit by one.

    Raises:
        TooManyConnectors
    """
    if principal.kind == PrincipalKind.KEY or principal.is_admin:
        return
    statement = select(func.count()).where(col(Connector.owner) == principal.id)
    if session.execute(statement).scalar_one() >= gateway.settings.connectors_per_owner:
        raise TooManyConnectors


def _record(
    session: Session,
    principal: Principal,
    action: AuditAction,
    connector: Connector,
    *,
    changes: Mapping[str, Any] | None = None,
) -> None:
    subject = f"connectors/{connector.id}"
    audit.record(session, principal, action, subject, connector_id=connector.id, changes=changes)


def record_changes(
    session: Session, principal: Principal, connector: Connector, before: Mapping[str, Any]
) -> None:
    """Record for the audit trail what is other than `before`, if anything is."""
    changes = differences(before, audited_settings(connector))
    if changes:
        _record(session, principal, AuditAction.CONNECTOR_CHANGED, connector, changes=changes)
