"""The groups that handle the mail of a shared connector. A group is only a name here; tokens say who is in it."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import AlreadyExists, NotFound, WrongState
from app.ids import new_id
from app.models import GroupBinding
from app.schemas.group_bindings import GroupBindingCreate, GroupBindingsQuery
from app.services import pages
from app.services.access import audit, rules
from app.services.access.rules import Action, Principal
from app.services.pages import Slice
from app.states import ConnectorKind


def create(session: Session, principal: Principal, body: GroupBindingCreate) -> GroupBinding:
    """Let a group handle the mail of a shared connector, including the mail that is already stored.

    Raises:
        ScopeMissing, NotFound, Forbidden
        WrongState: the connector is personal.
        AlreadyExists
    """
    # Locked, because the owner may be confirming at this moment, on the page of a link, who will read the mail.
    connector = rules.require(session, principal, Action.BIND_GROUPS, body.connector_id, lock=True)
    if connector.kind == ConnectorKind.PERSONAL:
        raise WrongState("A personal mailbox is for its owner only, so it takes no group bindings.")
    binding = GroupBinding(
        id=new_id(), connector_id=connector.id, group=body.group, created_at=clock.utc_now()
    )
    session.add(binding)
    _flush(session)
    _record(session, principal, AuditAction.GROUP_BINDING_CREATED, binding, before=None)
    return binding


def get(session: Session, principal: Principal, binding_id: str) -> GroupBinding:
    """One binding.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    binding = session.get(GroupBinding, binding_id)
    connector_id = binding.connector_id if binding is not None else None
    rules.require(session, principal, Action.BIND_GROUPS, connector_id)
    if binding is None:
        raise NotFound
    return binding


def list_bindings(
    session: Session, principal: Principal, query: GroupBindingsQuery, *, after: str | None
) -> Slice[GroupBinding]:
    """The bindings that the caller may change, oldest first.

    Raises:
        ScopeMissing, NotFound, Forbidden, InvalidInput
    """
    visible = rules.visible_connector_ids(principal, Action.BIND_GROUPS)
    statement = select(GroupBinding).where(col(GroupBinding.connector_id).in_(visible))
    if query.connector_id is not None:
        rules.require(session, principal, Action.BIND_GROUPS, query.connector_id)
        statement = statement.where(col(GroupBinding.connector_id) == query.connector_id)
    return pages.entities(session, statement, col(GroupBinding.id), after=after, limit=query.limit)


def change(session: Session, principal: Principal, binding_id: str, *, group: str | None) -> GroupBinding:
    """Bind another group instead; None changes nothing.

    Raises:
        ScopeMissing, NotFound, Forbidden, AlreadyExists
    """
    binding = get(session, principal, binding_id)
    if group is not None and group != binding.group:
        rules.require(session, principal, Action.BIND_GROUPS, binding.connector_id, lock=True)
        before, binding.group = binding.group, group
        _flush(session)
        _record(session, principal, AuditAction.GROUP_BINDING_CHANGED, binding, before=before)
    return binding


def delete(session: Session, principal: Principal, binding_id: str) -> None:
    """Unbind the group: it can no longer read the connector's mail.

    Raises:
        ScopeMissing, NotFound, Forbidden
    """
    binding = get(session, principal, binding_id)
    session.delete(binding)
    _record(session, principal, AuditAction.GROUP_BINDING_DELETED, binding, before=binding.group)
    session.flush()


def _record(
    session: Session, principal: Principal, action: AuditAction, binding: GroupBinding, *, before: str | None
) -> None:
    after = binding.group if action is not AuditAction.GROUP_BINDING_DELETED else None
    audit.record(
        session,
        principal,
        action,
        f"group-bindings/{binding.id}",
        connector_id=binding.connector_id,
        changes={"group": [before, after]},
    )


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as exc:
        raise AlreadyExists("This group is bound to this connector already.") from exc
