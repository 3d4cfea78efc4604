"""Who may see and do what. Only this module decides; every route asks it, directly or through its service.

A caller has roles towards a connector. A rule names the roles that may do an action. If no role lets the caller see an
object, the answer is that it does not exist. If the caller sees it but may not do the action, the action is refused. The
content of a mailbox is for its owner, the members of its bound groups, and keys. It is not for administrators.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from sqlalchemy import ColumnElement, and_, exists, false, or_, select, true
from sqlmodel import Session, col

from app.errors import Forbidden, NotFound, ScopeMissing
from app.models import Connector, GroupBinding, KeyGrant
from app.states import ConnectorKind


class PrincipalKind(StrEnum):
    """Whether a person calls, with a token, or a program, with an API key."""

    USER = "user"
    KEY = "key"


@dataclass(frozen=True)
class Principal:
    """The caller: a user with a token, or an API key."""

    kind: PrincipalKind
    id: str
    """The id of the user or of the key."""
    groups: frozenset[str] = frozenset()
    is_admin: bool = False
    scopes: frozenset[str] = frozenset()
    connector_limit: frozenset[str] | None = None
    """The connectors that a key may use; None: all."""
    origin: str | None = None
    """The network address that the request came from, for the audit trail."""

    @property
    def name(self) -> str:
        """A name that is unique among users and keys."""
        return f"{self.kind}:{self.id}"


class Role(StrEnum):
    """The role of a caller towards one connector."""

    ADMINISTRATOR = "administrator"
    OWNER = "owner"
    MEMBER = "member"
    KEY = "key"


class Action(StrEnum):
    """The actions on a connector and on what belongs to it."""

    SEE_SHORT = "see the connector in short"
    SEE_SETTINGS = "see settings, health, cycles"
    CHANGE_SETTINGS = "change settings"
    OPERATE = "pause, resume, fetch, test"
    LIST_FOLDERS = "list the server's folders"
    DELETE_CONNECTOR = "delete the connector"
    ENTER_CREDENTIALS = "enter credentials"
    MAKE_CREDENTIAL_LINK = "make a link for entering credentials"
    BIND_GROUPS = "bind groups"
    GRANT_KEYS = "grant API keys the reading of it"
    READ_CONTENT = "read messages, sources, attachments, quarantine"
    WRITE_CONTENT = "mark processed, delete"
    SEND = "send"
    SEE_EVENTS = "see events"


_MANAGING = frozenset({Role.ADMINISTRATOR, Role.OWNER, Role.KEY})
_READING = frozenset({Role.OWNER, Role.MEMBER, Role.KEY})

RULES: dict[Action, AbstractSet[Role]] = {
    Action.SEE_SHORT: frozenset(Role),
    Action.SEE_SETTINGS: _MANAGING,
    Action.CHANGE_SETTINGS: _MANAGING,
    Action.OPERATE: _MANAGING,
    Action.LIST_FOLDERS: _MANAGING,
    Action.DELETE_CONNECTOR: _MANAGING,
    Action.ENTER_CREDENTIALS: _MANAGING,
    Action.MAKE_CREDENTIAL_LINK: _MANAGING,
    Action.BIND_GROUPS: frozenset({Role.ADMINISTRATOR, Role.KEY}),
    Action.GRANT_KEYS: frozenset({Role.OWNER}),
    Action.READ_CONTENT: _READING,
    Action.WRITE_CONTENT: _READING,
    Action.SEND: _READING,
    Action.SEE_EVENTS: frozenset(Role),
}

CONTENT = frozenset({Action.READ_CONTENT, Action.WRITE_CONTENT, Action.SEND})

SCOPES: dict[Action, str] = {
    Action.SEE_SHORT: "connectors:read",
    Action.SEE_SETTINGS: "connectors:read",
    Action.CHANGE_SETTINGS: "connectors:write",
    Action.OPERATE: "connectors:write",
    Action.LIST_FOLDERS: "connectors:read",
    Action.DELETE_CONNECTOR: "connectors:write",
    Action.ENTER_CREDENTIALS: "connectors:write",
    Action.MAKE_CREDENTIAL_LINK: "connectors:write",
    Action.BIND_GROUPS: "connectors:write",
    Action.GRANT_KEYS: "connectors:write",
    Action.READ_CONTENT: "messages:read",
    Action.WRITE_CONTENT: "messages:write",
    Action.SEND: "submissions:write",
    Action.SEE_EVENTS: "events:read",
}


def has_scope(principal: Principal, scope: str) -> bool:
    """Whether the caller's scopes allow it. Users have no scopes and need none."""
    return principal.kind == PrincipalKind.USER or scope in principal.scopes


def require_scope(principal: Principal, scope: str) -> None:
    """Refuse a key that lacks the scope.

    Raises:
        ScopeMissing
    """
    if not has_scope(principal, scope):
        raise ScopeMissing(f"The API key lacks the scope {scope}.")


def require_administrator(principal: Principal, *, scope: str) -> None:
    """Refuse a caller who is neither an administrator nor a key with the scope.

    Raises:
        ScopeMissing, Forbidden
    """
    require_scope(principal, scope)
    if principal.kind == PrincipalKind.USER and not principal.is_admin:
        raise Forbidden("Only administrators may do this.")


def require_may_create(principal: Principal, *, kind: ConnectorKind, owner: str | None) -> None:
    """Every user may create a personal connector of their own; other connectors are for administrators and keys.

    Raises:
        ScopeMissing, Forbidden
    """
    require_scope(principal, "connectors:write")
    if principal.kind == PrincipalKind.KEY:
        if principal.connector_limit is not None:
            raise Forbidden("This API key is limited to certain connectors, so it cannot create one.")
        return
    if principal.is_admin or (kind == ConnectorKind.PERSONAL and owner == principal.id):
        return
    raise Forbidden("Only administrators may create shared connectors, or personal ones for somebody else.")


def roles_towards(session: Session, principal: Principal, connector: Connector, action: Action) -> set[Role]:
    """The roles of a caller towards a connector that count for the action."""
    return _roles(
        principal,
        connector,
        action,
        is_granted=lambda: session.get(KeyGrant, (principal.id, connector.id)) is not None,
        is_bound=lambda: _is_bound(session, connector.id, principal.groups),
    )


class Described(Protocol):
    """What decides about a connector itself."""

    id: str
    kind: ConnectorKind
    owner: str | None


def _roles(
    principal: Principal,
    connector: Described,
    action: Action,
    *,
    is_granted: Callable[[], bool],
    is_bound: Callable[[], bool],
) -> set[Role]:
    if principal.kind == PrincipalKind.KEY:
        if principal.connector_limit is not None and connector.id not in principal.connector_limit:
            return set()
        needs_grant = action in CONTENT or action is Action.SEE_EVENTS
        if connector.kind == ConnectorKind.PERSONAL and needs_grant:
            return {Role.KEY} if is_granted() else set()
        return {Role.KEY}
    roles: set[Role] = set()
    if principal.is_admin:
        roles.add(Role.ADMINISTRATOR)
    if connector.kind == ConnectorKind.PERSONAL:
        if is_owner(principal, connector):
            roles.add(Role.OWNER)
    elif principal.groups and is_bound():
        roles.add(Role.MEMBER)
    return roles


@dataclass(frozen=True)
class ReadAtOnce:
    """What decides about some connectors, read at once for many callers."""

    connectors: Mapping[str, Described]
    groups: Mapping[str, AbstractSet[str]]
    granted: Mapping[str, AbstractSet[str]]
    """The ids of the keys that the owner has granted."""

    def lets_see(self, principal: Principal, action: Action, connector_id: str) -> bool:
        """Whether `visible_connectors` selects this one, for seeing events or reading content."""
        connector = self.connectors.get(connector_id)
        if connector is None or not has_scope(principal, SCOPES[action]):
            return False
        roles = _roles(
            principal,
            connector,
            action,
            is_granted=lambda: principal.id in self.granted.get(connector_id, ()),
            is_bound=lambda: not principal.groups.isdisjoint(self.groups.get(connector_id, ())),
        )
        return bool(roles & RULES[action])


def read_at_once(session: Session, connector_ids: AbstractSet[str]) -> ReadAtOnce:
    """What decides about these connectors: three statements, or none if there are no connectors."""
    if not connector_ids:
        return ReadAtOnce({}, {}, {})
    described = select(col(Connector.id), col(Connector.kind), col(Connector.owner))
    rows: list[Any] = list(session.execute(described.where(col(Connector.id).in_(connector_ids))))
    bound = select(col(GroupBinding.connector_id), col(GroupBinding.group))
    granted = select(col(KeyGrant.connector_id), col(KeyGrant.api_key_id))
    return ReadAtOnce(
        {row.id: row for row in rows},
        _sets(session.execute(bound.where(col(GroupBinding.connector_id).in_(connector_ids)))),
        _sets(session.execute(granted.where(col(KeyGrant.connector_id).in_(connector_ids)))),
    )


def _sets(pairs: Iterable[Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, value in pairs:
        found.setdefault(name, set()).add(value)
    return found


def require(
    session: Session, principal: Principal, action: Action, connector_id: str | None, *, lock: bool = False
) -> Connector:
    """The connector with this id, if the caller may do the action with it. `lock`: read it again, and lock it until the
    transaction ends. An id that is None means: there is no such object.

    Raises:
        ScopeMissing: the key lacks the scope.
        NotFound: the connector does not exist, or the caller may not see it.
        Forbidden: the caller sees the connector, but may not do this action.
    """
    require_scope(principal, SCOPES[action])
    if connector_id is None:
        raise NotFound
    connector = session.get(Connector, connector_id, with_for_update=lock or None, populate_existing=lock)
    if connector is None:
        raise NotFound
    return require_on(session, principal, action, connector)


def require_on(session: Session, principal: Principal, action: Action, connector: Connector) -> Connector:
    """Like `require`, for a connector that is already loaded."""
    require_scope(principal, SCOPES[action])
    roles = roles_towards(session, principal, connector, action)
    if roles & RULES[action]:
        _require_unsealed(action, connector, roles)
        return connector
    if not roles or action in CONTENT:
        raise NotFound
    raise Forbidden


def allows(session: Session, principal: Principal, action: Action, connector_id: str) -> bool:
    """Whether the caller may do this. For answers that show more fields to some callers."""
    try:
        require(session, principal, action, connector_id)
    except (ScopeMissing, NotFound, Forbidden):
        return False
    return True


def _require_unsealed(action: Action, connector: Connector, roles: set[Role]) -> None:
    """Refuse an action that only the owner may do after the owner of a personal mailbox has entered the password."""
    if connector.kind != ConnectorKind.PERSONAL or Role.OWNER in roles:
        return
    if action is Action.LIST_FOLDERS:
        raise Forbidden("Only the owner may list the folders of a personal mailbox.")
    if action is Action.ENTER_CREDENTIALS and is_sealed(connector):
        raise Forbidden("The owner has entered the credentials, so only the owner may change them.")


def is_sealed(connector: Connector) -> bool:
    """Whether the owner of a personal connector has ever entered the credentials."""
    return connector.sealed_at is not None


def is_owner(principal: Principal, connector: Described) -> bool:
    """Whether the caller is the owner of this personal mailbox."""
    return (
        principal.kind == PrincipalKind.USER
        and connector.owner is not None
        and principal.id == connector.owner
    )


def visible_connectors(principal: Principal, action: Action) -> ColumnElement[bool]:
    """A condition on `Connector` for lists: it selects the connectors with which the caller may do the action.

    Raises:
        ScopeMissing
    """
    require_scope(principal, SCOPES[action])
    rule = RULES[action]
    if principal.kind == PrincipalKind.KEY:
        return _visible_to_key(principal, action) if Role.KEY in rule else false()
    if principal.is_admin and Role.ADMINISTRATOR in rule:
        return true()
    allowed: list[ColumnElement[bool]] = []
    if Role.OWNER in rule:
        allowed.append(
            and_(col(Connector.kind) == ConnectorKind.PERSONAL, col(Connector.owner) == principal.id)
        )
    if Role.MEMBER in rule and principal.groups:
        bound = exists().where(
            col(GroupBinding.connector_id) == col(Connector.id), col(GroupBinding.group).in_(principal.groups)
        )
        allowed.append(and_(col(Connector.kind) == ConnectorKind.SHARED, bound))
    return or_(*allowed) if allowed else false()


def _visible_to_key(principal: Principal, action: Action) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = []
    if principal.connector_limit is not None:
        conditions.append(col(Connector.id).in_(principal.connector_limit))
    if action in CONTENT or action is Action.SEE_EVENTS:
        granted = exists().where(
            col(KeyGrant.connector_id) == col(Connector.id), col(KeyGrant.api_key_id) == principal.id
        )
        conditions.append(or_(col(Connector.kind) == ConnectorKind.SHARED, granted))
    return and_(true(), *conditions)


def visible_connector_ids(principal: Principal, action: Action) -> Any:
    """A subquery of connector ids for `column.in_(…)`."""
    return select(col(Connector.id)).where(visible_connectors(principal, action))


def _is_bound(session: Session, connector_id: str, groups: AbstractSet[str]) -> bool:
    statement = (
        select(col(GroupBinding.id))
        .where(col(GroupBinding.connector_id) == connector_id, col(GroupBinding.group).in_(groups))
        .limit(1)
    )
    return session.execute(statement).first() is not None
