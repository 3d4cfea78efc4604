"""A connector as a caller sees it, and the version of its settings and credentials (`ETag`)."""

from dataclasses import dataclass

from sqlmodel import Session

from app.errors import PreconditionFailed
from app.models import Connector, Credential
from app.services.access import rules
from app.services.access.rules import RULES, Action, Principal
from app.services.connectors.settings import version_of


@dataclass(frozen=True)
class Detailed:
    """A connector as a caller sees it."""

    connector: Connector
    has_credentials: bool
    in_full: bool
    """False: the caller sees only a few fields."""
    version: str = ""
    """The version of settings and credentials: it changes when one of them changes. Cycles do not change it. Empty in lists."""


def detailed(session: Session, principal: Principal, connector: Connector) -> Detailed:
    """The connector with what this caller may see of it."""
    roles = rules.roles_towards(session, principal, connector, Action.SEE_SETTINGS)
    credential = session.get(Credential, connector.id)
    return Detailed(
        connector,
        has_credentials=credential is not None,
        in_full=bool(roles & RULES[Action.SEE_SETTINGS]),
        version=version_of(connector, credential),
    )


def require_version(session: Session, connector: Connector, expected: str | None) -> None:
    """Refuse a change by a caller who has seen an older version. None: the caller named no version.

    Raises:
        PreconditionFailed
    """
    if expected is not None and expected != version_of(connector, session.get(Credential, connector.id)):
        raise PreconditionFailed
