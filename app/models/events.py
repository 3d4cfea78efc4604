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
    text,
)
from sqlmodel import Field, SQLModel

from app.models.columns import UtcDateTime, cascade_column, enum_column
from app.states import (
    DeliveryStatus,
    DisabledReason,
    WebhookBody,
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
    body: WebhookBody = enum_column(WebhookBody, default=WebhookBody.CLOUDEVENTS)
    header_names: list[str] = Field(default_factory=list, sa_type=JSON)
    headers_ciphertext: str | None = Field(default=None, sa_type=Text)
    """The additional headers for the receiver, with the receiver for which they were entered."""
    secret_ciphertext: str = Field(sa_type=Text)
    previous_secret_ciphertext: str | None = Field(default=None, sa_type=Text)
    previous_secret_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Until then events are signed with the secret before this one, too."""
    acts_for: str
    """Who last changed the webhook (`user:…`, `key:…`). It gets the events that this caller may see."""
    fanned_out_position: int = Field(sa_type=BigInteger)
    """Events up to this position have their delivery rows."""
    failures: int = 0
    """The number of consecutive attempts without an answer."""
    failing_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """The time of the first failed attempt since the webhook last accepted an event."""
    resting_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Nothing is delivered until then, because there was no answer or the receiver asked for it."""
    claimed_by: str | None = None
    """The instance that delivers to it: `process.identity()`, and a part that is new for each claim."""
    busy_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the claim expires."""
    disabled_reason: DisabledReason | None = enum_column(DisabledReason, default=None)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class WebhookDelivery(SQLModel, table=True):
    """One event on its way to one webhook."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_position"),
        Index("ix_webhook_deliveries_due", "webhook_id", "status", "event_position"),
        # A backlog is also searched by time. Most rows are delivered, and so are not in this index.
        Index(
            "ix_webhook_deliveries_pending",
            "next_attempt_at",
            "webhook_id",
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
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
    put_aside: int = 0
    """How often the receiver has refused it or has not answered. Events that were never put aside go first, in order."""
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    duration_ms: int | None = None
    """The duration of the last attempt."""
    response_status: int | None = None
    response_text: str | None = Field(default=None, sa_type=Text)
    """The beginning of a text that a public receiver answered."""
    error_code: str | None = None
