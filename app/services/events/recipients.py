"""The people who handle a connector's mail."""

from sqlalchemy import select
from sqlmodel import Session, col

from app.events import Recipients
from app.models import Connector, GroupBinding
from app.states import ConnectorKind


def notifies_users(connector: Connector) -> bool:
    """Whether users are notified of new mail. They are only if the source folder is INBOX."""
    return connector.source_folder == "INBOX"


def recipients_of(session: Session, connector: Connector) -> Recipients:
    """The people who handle a connector's mail: its owner, or the groups bound to it."""
    if connector.kind == ConnectorKind.PERSONAL:
        return Recipients(users=(connector.owner,) if connector.owner else ())
    statement = (
        select(col(GroupBinding.group))
        .where(col(GroupBinding.connector_id) == connector.id)
        .order_by(col(GroupBinding.group))
    )
    return Recipients(groups=tuple(session.execute(statement).scalars()))
