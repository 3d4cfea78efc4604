"""The tables. Callers never see these classes: `schemas` has the shapes that they see.

SQLModel tables do not validate, so check every value from outside before you put it into one.
"""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlmodel import Field, SQLModel

from app.states import (
    ConnectorKind,
    ConnectorStatus,
    CycleOutcome,
    DeliveryStatus,
    FirstFetch,
    MessageState,
    MoveState,
    QuarantineState,
    RecipientStatus,
    Security,
    SentCopyState,
    SubmissionStatus,
)

SQLModel.metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """Takes and gives aware UTC times, also on SQLite, which has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class EnumText(TypeDecorator[StrEnum]):
    """A member of an enum, held as text. What is no member is neither written nor read."""

    impl = String
    cache_ok = True

    def __init__(self, members: type[StrEnum]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.members(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.members(value)


def _enum(members: type[StrEnum], *, default: Any = ...) -> Any:
    """A column that holds a member of an enum."""
    return Field(default=default, sa_type=cast(Any, EnumText(members)))


def _cascade(target: str, *, index: bool = False, primary_key: bool = False) -> Any:
    """A column that refers to a row. Deleting that row deletes this one."""
    return Field(
        sa_column_args=[ForeignKey(target, ondelete="CASCADE")], index=index, primary_key=primary_key
    )


class Connector(SQLModel, table=True):
    """A stored connection to one mailbox."""

    __tablename__ = "connectors"
    __table_args__ = (
        UniqueConstraint("imap_host", "imap_port", "imap_username", "source_folder"),
        CheckConstraint("(kind = 'personal') = (owner IS NOT NULL)", name="owner_iff_personal"),
    )

    id: str = Field(primary_key=True)
    external_id: str | None = Field(default=None, unique=True)
    name: str
    kind: ConnectorKind = _enum(ConnectorKind)
    owner: str | None = Field(default=None, index=True)
    email_address: str
    imap_host: str
    imap_port: int
    imap_security: Security = _enum(Security)
    imap_username: str
    smtp_host: str | None = None
    smtp_port: int | None = None
    smtp_security: Security | None = _enum(Security, default=None)
    smtp_username: str | None = None
    source_folder: str
    processed_folder: str
    poll_interval_s: int
    delete_processed_after_days: int | None = None
    first_fetch: FirstFetch | None = _enum(FirstFetch, default=None)
    first_fetch_since: date | None = None
    baseline_uidvalidity: int | None = Field(default=None, sa_type=BigInteger)
    """The source folder's UIDVALIDITY when `first_fetch` was applied; null until then."""
    baseline_uidnext: int | None = Field(default=None, sa_type=BigInteger)
    """`first_fetch` decides about the mail below this UID."""
    baseline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    sealed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the password of a personal connector was first entered by its owner, or by a link made for the owner.
    Never removed: from then on others cannot change the credentials, or which mail is read and sent."""
    sealed_by: str | None = None
    """`token`: the owner has entered the password with a token of their own. `link`: only links have been used. Null where
    it was sealed before this was stored; counts as `token`."""
    awaits_owner_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Somebody else changed the servers of the sealed connector; nothing is fetched or sent before the owner has entered
    the password."""
    status: ConnectorStatus = _enum(ConnectorStatus)
    paused: bool = False
    refused_logins: int = 0
    """Of the present password over IMAP, since its last good login there."""
    imap_logged_in_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When IMAP was first found to accept the present password; null until then."""
    sending_status: str = "active"
    """`active`, `waiting` after trouble at the login, or `stopped`."""
    sending_refused_logins: int = 0
    """Of the present password over SMTP, since its last good login there."""
    sending_failed_attempts: int = 0
    """Logins over SMTP that failed for whatever reason, since the last good one."""
    sending_error_code: str | None = None
    sending_error_detail: str | None = None
    sending_error_server_text: str | None = Field(default=None, sa_type=Text)
    sending_error_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    sending_next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Nothing is sent before this time; null: nothing is in the way, or sending is stopped."""
    failed_attempts: int = 0
    """Failed cycles since the last success."""
    last_error_code: str | None = None
    last_error_detail: str | None = None
    last_error_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error_server_text: str | None = Field(default=None, sa_type=Text)
    """The mail server's own words, our credentials masked; null where it said none, or had not greeted."""
    alert_text: str | None = Field(default=None, sa_type=Text)
    """The last text that the mail server asked to show to its user (ALERT, RFC 9051 §7.1), as plain text."""
    alert_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    next_fetch_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    """When the sweep should run the next cycle; null: no cycle is due."""
    last_success_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class Credential(SQLModel, table=True):
    """The secret with which a connector logs in, encrypted. It is separate from `Connector`, so that no query of settings
    loads it."""

    __tablename__ = "credentials"

    connector_id: str = _cascade("connectors.id", primary_key=True)
    type: str
    ciphertext: str = Field(sa_type=Text)
    entered_by: str | None = None
    """`user:…`, `key:…` or `link:…`; null: before this was stored."""
    entered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Tells one password from the next, also where both are encrypted anew; null: before this was stored."""


class UpgradeStep(SQLModel, table=True):
    """A step of an upgrade that needs more than the database, as the keys, and is done."""

    __tablename__ = "upgrade_steps"

    name: str = Field(primary_key=True)
    done_at: datetime = Field(sa_type=UtcDateTime)


class CredentialLink(SQLModel, table=True):
    """A link for one use: somebody without an account here enters a connector's password."""

    __tablename__ = "credential_links"

    id: str = Field(primary_key=True)
    connector_id: str = _cascade("connectors.id", index=True)
    sha256: str = Field(unique=True)
    """Hash of the token in the address of the link."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    refused_logins: int = 0
    """The number of passwords that the mail server refused or is checking now."""
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the password that was entered by this link was stored."""


class GroupBinding(SQLModel, table=True):
    """A link from a shared connector to a group of users; the caller's token names the groups."""

    __tablename__ = "group_bindings"
    __table_args__ = (UniqueConstraint("connector_id", "group"),)

    id: str = Field(primary_key=True)
    connector_id: str = _cascade("connectors.id")
    group: str = Field(index=True)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Lease(SQLModel, table=True):
    """Who may run a fetch cycle on a mailbox's folder now. One row for each folder of a mailbox; it is never deleted."""

    __tablename__ = "leases"

    mailbox_key: str = Field(primary_key=True)
    """Hash of host, port, username and folder: two connectors of one folder share a lease."""
    epoch: int = Field(sa_type=BigInteger)
    """Grows by one at each acquisition. A holder with an older epoch has lost the lease."""
    holder: str | None = None
    expires_at: datetime = Field(sa_type=UtcDateTime)
    in_hand_uidvalidity: int | None = Field(default=None, sa_type=BigInteger)
    in_hand_uids: list[int] = Field(default_factory=list, sa_type=JSON)
    """The mails that the holder is taking in. They are written before it begins, so that the next holder knows over which
    mails a dead process died."""


class Cycle(SQLModel, table=True):
    """One run of the fetch cycle for one connector."""

    __tablename__ = "cycles"

    id: str = Field(primary_key=True)
    connector_id: str = _cascade("connectors.id", index=True)
    started_at: datetime = Field(sa_type=UtcDateTime, index=True)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: CycleOutcome | None = _enum(CycleOutcome, default=None)
    error_code: str | None = None
    error_detail: str | None = None
    found: int = 0
    stored: int = 0
    known: int = 0
    returned: int = 0
    moved: int = 0
    quarantined: int = 0
    left: int = 0


class Message(SQLModel, table=True):
    """A mail as lists show it. Its bytes and texts are in `MessageBody`."""

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_connector_id_position", "connector_id", "position"),
        Index("ix_messages_retention", "connector_id", "state", "processed_at"),
        # A hash index: PostgreSQL's trees take no text longer than 2,704 octets, and a header may contain one.
        Index("ix_messages_in_reply_to", "in_reply_to", postgresql_using="hash"),
    )

    id: str = Field(primary_key=True)
    position: int = Field(sa_type=BigInteger, unique=True)
    """The position in the feed of the event that made the message visible. Positions ascend in commit order."""
    connector_id: str = _cascade("connectors.id")
    state: MessageState = _enum(MessageState)
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
    """The content of a message: as read, and as received."""

    __tablename__ = "message_bodies"

    message_id: str = _cascade("messages.id", primary_key=True)
    text: str | None = Field(default=None, sa_type=Text)
    html: str | None = Field(default=None, sa_type=Text)
    """Cleaned, so it is safe to show."""
    attachments: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    defects: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    search_text: str = Field(default="", sa_type=Text)
    """Subject, addresses and text, without case and diacritics. `q` searches here."""
    source_zstd: bytes = Field(sa_type=LargeBinary)
    """The bytes as received, compressed with zstandard."""


class ServerMessage(SQLModel, table=True):
    """The ledger: a mail that the gateway has stored, with its place on the server. The row outlives its message while the
    move on the server is not settled, so that a deleted mail is not downloaded again."""

    __tablename__ = "server_messages"
    __table_args__ = (
        UniqueConstraint("connector_id", "folder", "uidvalidity", "uid"),
        Index("ix_server_messages_unsettled", "connector_id", "move_state"),
        Index("ix_server_messages_connector_id_sha256", "connector_id", "sha256"),
    )

    id: str = Field(primary_key=True)
    connector_id: str = _cascade("connectors.id")
    folder: str
    uidvalidity: int = Field(sa_type=BigInteger)
    uid: int = Field(sa_type=BigInteger)
    message_id: str | None = Field(
        default=None, sa_column_args=[ForeignKey("messages.id", ondelete="SET NULL")], index=True
    )
    sha256: str
    announced_octets: int | None = Field(default=None, sa_type=BigInteger)
    """The size that the server announced for the mail when it was fetched. Null if it is unknown, or differs from the
    number of octets received."""
    move_state: MoveState = _enum(MoveState)
    uidnext_at_move: int | None = Field(default=None, sa_type=BigInteger)
    """UIDNEXT of the source folder before the move. A mail with the same bytes and this UID or a higher one has come
    back."""
    target_folder: str | None = None
    target_uidvalidity: int | None = Field(default=None, sa_type=BigInteger)
    target_uidnext: int | None = Field(default=None, sa_type=BigInteger)
    """UIDNEXT of the processed folder before a copy. An earlier copy of ours has this UID or a higher one."""
    target_uid: int | None = Field(default=None, sa_type=BigInteger)
    """The UID of our copy. While the move is pending, it means: a copy was seen, and the mail had not left the source
    folder (0: the UID of the copy is unknown). If this happens again, the server does not allow mail to be moved."""
    looks: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """The number of searches for a copy, in a row, that could not be completed."""


class Quarantined(SQLModel, table=True):
    """A mail that could not be taken in; the mail itself stays on the server."""

    __tablename__ = "quarantine"
    __table_args__ = (UniqueConstraint("connector_id", "folder", "uidvalidity", "uid"),)

    id: str = Field(primary_key=True)
    connector_id: str = _cascade("connectors.id")
    folder: str
    uidvalidity: int = Field(sa_type=BigInteger)
    uid: int = Field(sa_type=BigInteger)
    state: QuarantineState = _enum(QuarantineState)
    """`suspect` while the gateway still tries it again, `quarantined` after three failures or at once."""
    reason: str
    attempts: int = 0
    is_unproved: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """The connection broke while only this mail was requested. This counts as a failure of the mail only after another
    mail has come."""
    size_octets: int | None = Field(default=None, sa_type=BigInteger)
    from_address: str | None = Field(default=None, sa_type=Text)
    subject: str | None = Field(default=None, sa_type=Text)
    internal_date: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


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
    webhook_id: str = _cascade("webhooks.id")
    event_position: int = Field(
        sa_column_args=[ForeignKey("events.position", ondelete="CASCADE")], sa_type=BigInteger, index=True
    )
    queued_for: str
    """The principal for whom the webhook acted when the delivery was queued (`user:…`, `key:…`). It is delivered only if
    they may still see the event, and if the principal for whom the webhook acts by then may see it too."""
    status: DeliveryStatus = _enum(DeliveryStatus)
    attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    response_status: int | None = None
    error_code: str | None = None


class Submission(SQLModel, table=True):
    """A request to send (RFC 6409). The built mail is kept until it has been sent and filed."""

    __tablename__ = "submissions"
    __table_args__ = (
        UniqueConstraint("created_by", "idempotency_key"),
        Index("ix_submissions_due", "status", "next_attempt_at"),
    )

    id: str = Field(primary_key=True)
    connector_id: str = _cascade("connectors.id", index=True)
    created_by: str
    idempotency_key: str | None = None
    request_sha256: str
    """Hash of the request. It distinguishes a repeated request from a different one with the same key."""
    status: SubmissionStatus = _enum(SubmissionStatus)
    """`sending` is committed before the attempt. A row that is still `sending` when its time is up becomes `uncertain`."""
    message_id_header: str
    envelope_from: str
    made_for: str | None = None
    """Hash of the connector's servers for which it was made; it goes to no others. Null: it was finished before this was
    stored."""
    subject: str = Field(default="", sa_type=Text)
    in_reply_to_message_id: str | None = Field(default=None, index=True)
    source_zstd: bytes | None = Field(default=None, sa_type=LargeBinary)
    send_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the job looks at the row next: to send, to give up an attempt that never ended, or to file the copy."""
    sent_copy: SentCopyState = _enum(SentCopyState, default=SentCopyState.PENDING)
    sent_copy_attempts: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class SubmissionRecipient(SQLModel, table=True):
    """One envelope recipient of a submission, and the result for this recipient."""

    __tablename__ = "submission_recipients"
    __table_args__ = (UniqueConstraint("submission_id", "address"),)

    id: int | None = Field(default=None, primary_key=True)
    submission_id: str = _cascade("submissions.id")
    address: str
    field: str
    """`to`, `cc` or `bcc`."""
    status: RecipientStatus = _enum(RecipientStatus)
    detail: str | None = Field(default=None, sa_type=Text)


class ApiKey(SQLModel, table=True):
    """A key of an integrator or service. Only its hash is stored."""

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True)
    name: str
    prefix: str = Field(unique=True)
    """The first characters. They serve to recognise and to look up the key."""
    sha256: str
    scopes: list[str] = Field(default_factory=list, sa_type=JSON)
    connector_ids: list[str] = Field(default_factory=list, sa_type=JSON)
    """The connectors that the key may use; empty means all."""
    created_by: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class KeyGrant(SQLModel, table=True):
    """The owner of a personal connector allows an API key to read its content."""

    __tablename__ = "key_grants"

    api_key_id: str = _cascade("api_keys.id", primary_key=True)
    connector_id: str = _cascade("connectors.id", primary_key=True)
    granted_at: datetime = Field(sa_type=UtcDateTime)


class AuditRecord(SQLModel, table=True):
    """Who did what, to which object, and from where. Written in the transaction of the action, and never changed."""

    __tablename__ = "audit_records"

    id: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str = Field(index=True)
    """`user:…`, `key:…`, `link:…`, `cli` or `retention`."""
    origin: str | None = None
    """The network address that the request came from; null if there was no request."""
    action: str = Field(index=True)
    subject: str = Field(index=True)
    """The object of the action: `connectors/{id}`, `messages/{id}`, …"""
    connector_id: str | None = Field(default=None, index=True)
    """Not a foreign key: the record of a deletion outlives its connector."""
    changes: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    """The settings that changed, by name, each with the value before and after. Never a secret."""
