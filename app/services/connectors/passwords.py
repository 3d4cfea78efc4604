"""Enters and discards the password of a connector, for callers of the API."""

from pydantic import SecretStr
from sqlmodel import Session

from app.gateway import Gateway
from app.models import Connector
from app.services.access import rules
from app.services.access.rules import Action, Principal
from app.services.connectors.detailed import Detailed, detailed, require_version
from app.services.connectors.status import settle
from app.services.mailboxes import credentials
from app.services.sending import bindings
from app.states import ConnectorKind, SealedBy


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
        require_version(session, connector, version)
        enter(session, gateway, principal, connector, password)
        settle(session, connector, anew=True)
        return detailed(session, principal, connector)


def discard_credentials(
    gateway: Gateway, principal: Principal, connector_id: str, *, version: str | None = None
) -> None:
    """Delete the stored password. Nothing is fetched or sent until somebody enters one again.

    Raises:
        ScopeMissing, NotFound, Forbidden, PreconditionFailed
    """
    with gateway.db.unit_of_work() as session:
        connector = rules.require(session, principal, Action.ENTER_CREDENTIALS, connector_id, lock=True)
        require_version(session, connector, version)
        discard(session, principal, connector)


def enter(
    session: Session, gateway: Gateway, principal: Principal, connector: Connector, password: SecretStr
) -> None:
    """Store the password. If the owner enters it, or if the mailbox is shared, the submissions that waited because of changed servers
    are sent."""
    is_owner = rules.is_owner(principal, connector)
    credentials.enter(
        session,
        gateway,
        connector,
        password.get_secret_value(),
        by=principal,
        sealing=SealedBy.TOKEN if is_owner else None,
    )
    if is_owner or connector.kind == ConnectorKind.SHARED:
        bindings.release(session, connector)


def discard(session: Session, principal: Principal, connector: Connector) -> None:
    """Delete the stored password.

    Raises:
        Forbidden
    """
    rules.require_on(session, principal, Action.ENTER_CREDENTIALS, connector)
    credentials.discard(session, connector.id, by=principal)
    settle(session, connector)
