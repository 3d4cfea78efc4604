"""The audit trail."""

from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from app.audit_actions import AuditAction
from app.schemas.fields import Id, Line, ListQuery, Output, Time


class AuditQuery(ListQuery):
    connector_id: Id | None = None
    actor: Line | None = None
    """As in the records: `user:…`, `key:…`."""
    action: AuditAction | None = None
    subject: Line | None = None
    """As in the records: `connectors/…`, `messages/…`."""
    message_id: Id | None = None
    """The message that was read, changed or deleted alone."""
    origin: Line | None = None
    """The network address that the request came from."""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    """Only records from before this time."""


class AuditRecordRead(Output):
    id: str
    at: Time
    actor: str
    """`user:…`, `key:…`, `link:…` (a link for entering a password), `cli` or `retention`."""
    origin: str | None
    """The network address that the request came from."""
    action: str
    subject: str
    connector_id: str | None
    changes: Annotated[
        dict[str, Any], Field(description="For each setting, the value before and the value after.")
    ]
