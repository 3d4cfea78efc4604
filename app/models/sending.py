"""Tables of submissions."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    false,
)
from sqlmodel import Field, SQLModel

from app.models.columns import UtcDateTime, cascade_column, enum_column
from app.states import (
    RecipientStatus,
    SentCopyState,
    SubmissionStatus,
)


class Submission(SQLModel, table=True):
    """A request to send (RFC 6409), with the built mail."""

    __tablename__ = "submissions"
    __table_args__ = (
        UniqueConstraint("created_by", "idempotency_key"),
        Index("ix_submissions_due", "status", "next_attempt_at"),
        Index("ix_submissions_attempted", "connector_id", "attempted_at"),
    )

    id: str = Field(primary_key=True)
    connector_id: str = cascade_column("connectors.id", index=True)
    created_by: str
    idempotency_key: str | None = None
    request_sha256: str
    """Hash of the request. It distinguishes a repeated request from a different one with the same key."""
    status: SubmissionStatus = enum_column(SubmissionStatus)
    """`sending` is committed before the attempt. A row that is still `sending` when its time is up becomes `uncertain`."""
    message_id_header: str = Field(index=True)
    envelope_from: str
    made_for: str | None = None
    """Hash of the connector's servers for which it was made; it is sent to no others. Null: it ended before this was stored."""
    subject: str = Field(default="", sa_type=Text)
    in_reply_to_message_id: str | None = Field(default=None, index=True)
    conversation_id: str | None = Field(default=None, index=True)
    """The conversation of the answered message, or, for a new mail, of its future answers. Null: an older version did not store
    it."""
    source_zstd: bytes | None = Field(default=None, sa_type=LargeBinary)
    """Null: it ended before sent mail was kept, or it was cancelled."""
    send_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the job looks at the row next: to send, to give up an attempt that never ended, or to file the copy."""
    dated_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the first attempt began: the Date of the mail in each attempt and in its copy."""
    attempted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the last attempt began that got beyond the login. The limits of a connector count these."""
    queued_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was queued again by command; null: never."""
    error_code: str | None = None
    error_detail: str | None = Field(default=None, sa_type=Text)
    error_enhanced_status: str | None = None
    """The enhanced status code (RFC 3463) of the last refusal."""
    error_server_text: str | None = Field(default=None, sa_type=Text)
    """The words of the mail server, with our credentials masked."""
    marks_processed: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether to mark the answered message as processed after this was sent."""
    sent_copy: SentCopyState = enum_column(SentCopyState, default=SentCopyState.PENDING)
    sent_copy_attempts: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class DeletedSubmission(SQLModel, table=True):
    """The facts that are kept of a deleted submission. They outlive its connector if it answered a message of another one."""

    __tablename__ = "deleted_submissions"
    __table_args__ = (
        Index("ix_deleted_submissions_created_by_idempotency_key", "created_by", "idempotency_key"),
    )

    id: str = Field(primary_key=True)
    connector_id: str
    created_by: str
    idempotency_key: str | None = None
    """Null: the request had none, or its time is over."""
    request_sha256: str
    status: SubmissionStatus = enum_column(SubmissionStatus)
    """The status before the deletion."""
    in_reply_to_message_id: str | None = Field(default=None, index=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime = Field(sa_type=UtcDateTime, index=True)


class SubmissionBody(SQLModel, table=True):
    """The content of the request to send, as the caller sent it. Separate from `Submission`, so that lists do not load it."""

    __tablename__ = "submission_bodies"

    submission_id: str = cascade_column("submissions.id", primary_key=True)
    to: list[str] = Field(default_factory=list, sa_type=JSON)
    cc: list[str] = Field(default_factory=list, sa_type=JSON)
    bcc: list[str] = Field(default_factory=list, sa_type=JSON)
    text: str | None = Field(default=None, sa_type=Text)
    html: str | None = Field(default=None, sa_type=Text)
    attachments: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    """As callers see them, and `at` and `encoded_octets`: where the base64 of each begins in the built mail, and its length."""


class SubmissionRecipient(SQLModel, table=True):
    """One envelope recipient of a submission, and the result for this recipient."""

    __tablename__ = "submission_recipients"
    __table_args__ = (UniqueConstraint("submission_id", "address"),)

    id: int | None = Field(default=None, primary_key=True)
    submission_id: str = cascade_column("submissions.id")
    address: str
    field: str
    """`to`, `cc` or `bcc`."""
    status: RecipientStatus = enum_column(RecipientStatus)
    detail: str | None = Field(default=None, sa_type=Text)
