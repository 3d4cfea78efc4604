"""The groups that handle the mail of a shared connector. A group is only a name here; tokens say who is in it."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import AlreadyExists, NotFound, WrongState
from app.ids import new_id
from app.models import Connector, GroupBinding
from app.schemas.group_bindings import GroupBindingCreate, GroupBindingsQuery
from app.services import pages
from app.services.access import audit, rules
from app.services.access.rules import Action, Principal
from app.services.pages import Slice
from app.states import ConnectorKind


def create(session: Session, principal: Principal, body: GroupBindingCreate) -> tuple[GroupBinding, bool]:
    """Let a group handle the mail of a shared connector, including the mail that is already stored. Also returns whether it is
    new: a group that is bound already stays so.

    Raises:
        ScopeMissing, NotFound, Forbidden
        WrongState: the connector is personal.
        AlreadyExists: somebody has just bound it.
    """
    # Locked, because the owner may be confirming at this moment, on the page of a link, who will read the mail.
    connector = rules.require(session, principal, Action.BIND_GROUPS, body.connector_id, lock=True)
    if connector.kind == ConnectorKind.PERSONAL:
        raise WrongState("A personal mailbox is for its owner only, so it takes no group bindings.")
    bound = _bindings(session, connector.id).get(body.group)
    if bound is not None:
        return bound, False
    return _bind(session, principal, connector, body.group), True


def groups_of(session: Session, connector_id: str) -> list[str]:
    """The groups that are bound, in the order of their names."""
    return sorted(_bindings(session, connector_id))


def set_groups(session: Session, principal: Principal, connector: Connector, groups: Sequence[str]) -> None:
    """Bind these groups and no others. The connector is locked and shared.

    Raises:
        ScopeMissing, Forbidden
    """
    bound = _bindings(session, connector.id)
    if bound.keys() == set(groups):
        return
    rules.require_on(session, principal, Action.BIND_GROUPS, connector)
    for group in groups:
        if group not in bound:
            _bind(session, principal, connector, group)
    for group, binding in bound.items():
        if group not in groups:
            _unbind(session, principal, binding)


def _bindings(session: Session, connector_id: str) -> dict[str, GroupBinding]:
    """The bindings of a connector, by group."""
    statement = select(GroupBinding).where(col(GroupBinding.connector_id) == connector_id)
    return {binding.group: binding for binding in session.scalars(statement)}


def _bind(session: Session, principal: Principal, connector: Connector, group: str) -> GroupBinding:
    binding = GroupBinding(id=new_id(), connector_id=connector.id, group=group, created_at=clock.utc_now())
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
    _unbind(session, principal, get(session, principal, binding_id))


def _unbind(session: Session, principal: Principal, binding: GroupBinding) -> None:
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
