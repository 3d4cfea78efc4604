"""Tables of access: bindings, API keys, tickets for the event stream, and the audit trail."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from app.models.columns import UtcDateTime, cascade_column


class GroupBinding(SQLModel, table=True):
    """A link from a shared connector to a group of users; the caller's token names the groups."""

    __tablename__ = "group_bindings"
    __table_args__ = (UniqueConstraint("connector_id", "group"),)

    id: str = Field(primary_key=True)
    connector_id: str = cascade_column("connectors.id")
    group: str = Field(index=True)
    created_at: datetime = Field(sa_type=UtcDateTime)


class ApiKey(SQLModel, table=True):
    """A key of an integrator or service. Only its hash is stored."""

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True)
    name: str
    prefix: str = Field(unique=True)
    """The first characters of the key, to recognise it and to look it up."""
    sha256: str
    scopes: list[str] = Field(default_factory=list, sa_type=JSON)
    connector_ids: list[str] = Field(default_factory=list, sa_type=JSON)
    """The connectors that the key may use; empty means all."""
    created_by: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class StreamTicket(SQLModel, table=True):
    """Opens the event stream for a page, for a few minutes. Only its hash is stored."""

    __tablename__ = "stream_tickets"

    sha256: str = Field(primary_key=True)
    caller: str = Field(index=True)
    """Who got it: `user:…`, `key:…`."""
    groups: list[str] = Field(default_factory=list, sa_type=JSON)
    """Of a user, as their token named them."""
    is_admin: bool = False
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    stream_id: str | None = None
    """The newest stream that was opened with it. Any other is over."""


class KeyGrant(SQLModel, table=True):
    """The owner of a personal connector allows an API key to read its content."""

    __tablename__ = "key_grants"

    api_key_id: str = cascade_column("api_keys.id", primary_key=True)
    connector_id: str = cascade_column("connectors.id", primary_key=True)
    granted_at: datetime = Field(sa_type=UtcDateTime)


class AuditRecord(SQLModel, table=True):
    """Who did what, to which object, and from where. Written in the transaction of the action, and never changed,
    except that an action in several transactions adds to its count."""

    __tablename__ = "audit_records"

    id: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str = Field(index=True)
    """`user:…`, `key:…`, `link:…`, `cli`, `retention` or `delivery`."""
    origin: str | None = None
    """The network address that the request came from; null if there was no request."""
    action: str = Field(index=True)
    subject: str = Field(index=True)
    """The object of the action: `connectors/{id}`, `messages/{id}`, …"""
    connector_id: str | None = Field(default=None, index=True)
    """Not a foreign key: the record of a deletion outlives its connector."""
    changes: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    """The settings that changed, by name, each with the value before and after. Never a secret."""
