"""The audit trail: who did what, to which object, and from where. It shows administrators what other administrators did
to people's mailboxes.

A record is written in the same transaction as the action, so neither exists without the other. A record holds no secret
and no content of a mail. For settings it holds the values before and after. They show the difference between a mailbox
that was moved to another server and one that was only renamed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import delete, select
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.gateway import Gateway
from app.ids import new_id
from app.models import AuditRecord
from app.schemas.audit import AuditQuery
from app.services import pages
from app.services.access import rules
from app.services.access.rules import Principal
from app.services.pages import Slice

SCOPE = "admin"
"""The scope that a key needs to read the trail."""
DELETE_BATCH = 1000


class Actor(Protocol):
    """Somebody who acts: a principal, or one of the actors below."""

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> str | None: ...


@dataclass(frozen=True)
class NamedActor:
    """An actor who does not call the HTTP interface with a token."""

    name: str
    origin: str | None = None


OPERATOR = NamedActor("cli")
"""The person who runs commands on the machine."""
RETENTION = NamedActor("retention")
"""The job that deletes messages by the retention of their connector."""
DELIVERY = NamedActor("delivery")
"""The job that delivers events, when it switches a webhook off."""


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The settings that changed, each with the value before and the value after."""
    names = dict.fromkeys([*before, *after])
    return {
        name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)
    }


def record(
    session: Session,
    by: Actor,
    action: AuditAction,
    subject: str,
    *,
    connector_id: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write a record in the caller's transaction. `changes`: for each setting, the value before and the value after."""
    session.add(_record(by, action, subject, connector_id=connector_id, changes=changes))


class Counted:
    """Records an action that changes many objects in several transactions: one record for each subject, with a count. Each
    transaction adds its number to the count."""

    def __init__(self, by: Actor, action: AuditAction) -> None:
        self._by = by
        self._action = action
        self._ids: dict[str, str] = {}

    def add(self, session: Session, subject: str, count: int, *, connector_id: str | None = None) -> None:
        """Add to the count of a subject, in the caller's transaction."""
        known = self._ids.get(subject)
        row = session.get(AuditRecord, known) if known is not None else None
        if row is None:
            changes = {"count": [None, count]}
            row = _record(self._by, self._action, subject, connector_id=connector_id, changes=changes)
            session.add(row)
            self._ids[subject] = row.id
        else:
            row.changes = {"count": [None, row.changes["count"][1] + count]}


def _record(
    by: Actor,
    action: AuditAction,
    subject: str,
    *,
    connector_id: str | None,
    changes: Mapping[str, Any] | None,
) -> AuditRecord:
    return AuditRecord(
        id=new_id(),
        at=clock.utc_now(),
        actor=by.name,
        origin=by.origin,
        action=action.value,
        subject=subject,
        connector_id=connector_id,
        changes=dict(changes or {}),
    )


def list_records(
    session: Session, principal: Principal, query: AuditQuery, *, after: str | None
) -> Slice[AuditRecord]:
    """The records that match every filter, the latest first. A key that is limited to certain connectors sees only the actions
    on these.

    Raises:
        ScopeMissing, Forbidden, InvalidInput
    """
    rules.require_administrator(principal, scope=SCOPE)
    statement = select(AuditRecord)
    if principal.connector_limit is not None:
        statement = statement.where(col(AuditRecord.connector_id).in_(principal.connector_limit))
    for column, value in (
        (col(AuditRecord.connector_id), query.connector_id),
        (col(AuditRecord.actor), query.actor),
        (col(AuditRecord.action), query.action),
        (col(AuditRecord.subject), query.subject),
        (col(AuditRecord.subject), f"messages/{query.message_id}" if query.message_id else None),
        (col(AuditRecord.origin), query.origin),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if query.since is not None:
        statement = statement.where(col(AuditRecord.at) >= query.since)
    if query.until is not None:
        statement = statement.where(col(AuditRecord.at) < query.until)
    return pages.entities(
        session, statement, col(AuditRecord.id), after=after, limit=query.limit, latest_first=True
    )


def delete_old(gateway: Gateway) -> int:
    """Delete records older than `AUDIT_RETENTION_DAYS`, in batches. Each batch is a unit of work."""
    limit = clock.utc_now() - timedelta(days=gateway.settings.audit_retention_days)
    old = select(col(AuditRecord.id)).where(col(AuditRecord.at) < limit).order_by(col(AuditRecord.id))
    deleted = 0
    while True:
        with gateway.db.unit_of_work() as session:
            ids = list(session.execute(old.limit(DELETE_BATCH)).scalars())
            session.execute(
                delete(AuditRecord).where(col(AuditRecord.id).in_(ids)),
                execution_options={"synchronize_session": False},
            )
        deleted += len(ids)
        if len(ids) < DELETE_BATCH:
            return deleted
