"""External ids: the callers' own names for connectors.

The external ids that users give to their own connectors are unique for each user. Those from administrators and keys are unique in
the whole installation. So nobody can block an external id for others, or learn from a refusal that somebody else uses it.
"""

from sqlalchemy import case, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from app.errors import AlreadyExists, Forbidden
from app.models import Connector
from app.services.access import rules
from app.services.access.rules import Action, Principal, PrincipalKind

OF_INSTALLATION = ""
TAKEN = "There is already a connector with this external id."


def scope_of(principal: Principal) -> str:
    """The name of the group of external ids within which one of this caller must be unique."""
    if principal.kind == PrincipalKind.KEY or principal.is_admin:
        return OF_INSTALLATION
    return principal.name


def find(
    session: Session,
    principal: Principal,
    external_id: str,
    *,
    to: Action = Action.CHANGE_SETTINGS,
    lock: bool = False,
) -> Connector | None:
    """The connector with this external id among those with which the caller may do this (`to`). An external id from the caller
    comes before one from somebody else. `lock`: lock the connector until the transaction ends.

    Raises:
        ScopeMissing
    """
    scope = scope_of(principal)
    statement = (
        select(Connector)
        .where(
            col(Connector.external_id) == external_id,
            col(Connector.external_scope).in_({OF_INSTALLATION, principal.name}),
            rules.visible_connectors(principal, to),
        )
        .order_by(case((col(Connector.external_scope) == scope, 0), else_=1))
        .limit(1)
    )
    return session.scalars(statement.with_for_update() if lock else statement).one_or_none()


def give(session: Session, principal: Principal, connector: Connector, external_id: str | None) -> None:
    """Give a connector an external id. None removes its external id.

    Raises:
        AlreadyExists: for this caller there is a connector with this external id.
        Forbidden: the caller may not know which external ids are in use.
    """
    if connector.external_id == external_id:
        return
    if principal.connector_limit is not None:
        raise Forbidden("This API key is limited to certain connectors, so it cannot change external ids.")
    if external_id is not None and find(session, principal, external_id) is not None:
        raise AlreadyExists(TAKEN)
    connector.external_id = external_id
    connector.external_scope = scope_of(principal) if external_id is not None else OF_INSTALLATION
    flush(session)


def flush(session: Session) -> None:
    """Write the changes of the session to the database.

    Raises:
        AlreadyExists: somebody has just given the external id to another connector.
    """
    try:
        session.flush()
    except IntegrityError as exc:
        raise AlreadyExists(TAKEN) from exc
