"""Tables of stored mail."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Index,
    LargeBinary,
    Text,
    text,
)
from sqlmodel import Field, SQLModel

from app.models.columns import UtcDateTime, cascade_column, enum_column
from app.states import (
    MessageState,
)


class Message(SQLModel, table=True):
    """A mail as lists show it. Its bytes and texts are in `MessageBody`."""

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_connector_id_position", "connector_id", "position"),
        # Newest first: of all mailboxes, and of one.
        Index("ix_messages_received", text("coalesce(internal_date, stored_at)"), "id"),
        Index(
            "ix_messages_connector_received", "connector_id", text("coalesce(internal_date, stored_at)"), "id"
        ),
        Index("ix_messages_retention", "connector_id", "state", "processed_at"),
        # A hash index: PostgreSQL's trees take no text longer than 2,704 octets, and a header may contain one.
        Index("ix_messages_in_reply_to", "in_reply_to", postgresql_using="hash"),
    )

    id: str = Field(primary_key=True)
    position: int = Field(sa_type=BigInteger, unique=True)
    """The position in the feed of the event that made the message visible. Positions ascend in commit order."""
    connector_id: str = cascade_column("connectors.id")
    state: MessageState = enum_column(MessageState)
    folder: str
    uid: int = Field(sa_type=BigInteger)
    uidvalidity: int = Field(sa_type=BigInteger)
    message_id_header: str | None = Field(default=None, sa_type=Text, index=True)
    in_reply_to: str | None = Field(default=None, sa_type=Text)
    references: list[str] = Field(default_factory=list, sa_type=JSON)
    conversation_id: str = Field(index=True)
    from_name: str | None = Field(default=None, sa_type=Text)
    from_address: str | None = Field(default=None, sa_type=Text)
    to: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    cc: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    reply_to: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    subject: str | None = Field(default=None, sa_type=Text)
    snippet: str = Field(default="", sa_type=Text)
    internal_date: datetime | None = Field(default=None, sa_type=UtcDateTime)
    date_header: datetime | None = Field(default=None, sa_type=UtcDateTime)
    stored_at: datetime = Field(sa_type=UtcDateTime)
    moved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    processed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    size_octets: int
    has_attachments: bool
    is_auto_reply: bool
    sha256: str
    reader: int = Field(index=True, sa_column_kwargs={"server_default": "1"})
    """The number of the reader (`app.mime.model.READER`) that last read the mail, or last tried to read it."""


class MessageBody(SQLModel, table=True):
    """The content of a message: as the reader understood it, and as received."""

    __tablename__ = "message_bodies"

    message_id: str = cascade_column("messages.id", primary_key=True)
    text: str | None = Field(default=None, sa_type=Text)
    html: str | None = Field(default=None, sa_type=Text)
    """Cleaned, so it is safe to show."""
    attachments: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    defects: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    search_text: str = Field(default="", sa_type=Text)
    """Subject, addresses and text, without case and diacritics. `q` searches here."""
    source_zstd: bytes = Field(sa_type=LargeBinary)
    """The bytes as received, compressed with zstandard."""
