"""Tables of events and of their delivery to webhooks."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from app.models.columns import UtcDateTime, cascade_column, enum_column
from app.states import (
    DeliveryStatus,
)


class Feed(SQLModel, table=True):
    """One row: the last position in use. Updating it locks the feed until the commit, so that positions become visible in
    ascending order."""

    __tablename__ = "feed"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    last_position: int = Field(sa_type=BigInteger)


class Event(SQLModel, table=True):
    """The outbox: a CloudEvent, written in the same transaction as the fact that it reports."""

    __tablename__ = "events"

    position: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    id: str = Field(unique=True)
    type: str
    connector_id: str | None = Field(default=None, index=True)
    """Not a foreign key: the event of a deletion outlives its connector."""
    subject: str
    time: datetime = Field(sa_type=UtcDateTime, index=True)
    data: dict[str, Any] = Field(sa_type=JSON)


class Webhook(SQLModel, table=True):
    """An address to which events are delivered over HTTP."""

    __tablename__ = "webhooks"

    id: str = Field(primary_key=True)
    url: str = Field(sa_type=Text)
    types: list[str] = Field(default_factory=list, sa_type=JSON)
    connector_ids: list[str] = Field(default_factory=list, sa_type=JSON)
    active: bool = True
    secret_ciphertext: str = Field(sa_type=Text)
    acts_for: str
    """Who last changed the webhook (`user:…`, `key:…`). It gets the events that this caller may see."""
    fanned_out_position: int = Field(sa_type=BigInteger)
    """Events up to this position have their delivery rows."""
    failures: int = 0
    """Failed attempts since the last success."""
    busy_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Until this time an instance is delivering to it, or it rests after a failure."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class WebhookDelivery(SQLModel, table=True):
    """One event on its way to one webhook."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_position"),
        Index("ix_webhook_deliveries_due", "webhook_id", "status", "event_position"),
    )

    id: str = Field(primary_key=True)
    webhook_id: str = cascade_column("webhooks.id")
    event_position: int = Field(
        sa_column_args=[ForeignKey("events.position", ondelete="CASCADE")], sa_type=BigInteger, index=True
    )
    queued_for: str
    """The principal for whom the webhook acted when the delivery was queued (`user:…`, `key:…`). It is delivered only if
    they may still see the event, and if the principal for whom the webhook acts by then may see it too."""
    status: DeliveryStatus = enum_column(DeliveryStatus)
    attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    response_status: int | None = None
    error_code: str | None = None
