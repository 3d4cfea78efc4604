"""Tables of connectors, their credentials, and the links to enter these."""

from datetime import date, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Index,
    Text,
    text,
)
from sqlmodel import Field, SQLModel

from app.models.columns import UtcDateTime, cascade_column, enum_column
from app.states import (
    ConnectorKind,
    ConnectorStatus,
    FileSent,
    FirstFetch,
    SealedBy,
    Security,
    SendingStatus,
)

_HAS_LOGGED_IN = text("logged_in_at IS NOT NULL")


class Connector(SQLModel, table=True):
    """A stored connection to one mailbox."""

    __tablename__ = "connectors"
    __table_args__ = (
        Index(
            "uq_connectors_mailbox",
            *("imap_host", "imap_port", "imap_username", "source_folder"),
            unique=True,
            sqlite_where=_HAS_LOGGED_IN,
            postgresql_where=_HAS_LOGGED_IN,
        ),
        Index("uq_connectors_external_id", "external_id", "external_scope", unique=True),
        CheckConstraint("(kind = 'personal') = (owner IS NOT NULL)", name="owner_iff_personal"),
    )

    id: str = Field(primary_key=True)
    external_id: str | None = None
    external_scope: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """The group of external ids within which this one is unique: `user:…`, or empty for those of administrators and keys."""
    name: str
    kind: ConnectorKind = enum_column(ConnectorKind)
    owner: str | None = Field(default=None, index=True)
    email_address: str
    imap_host: str
    imap_port: int
    imap_security: Security = enum_column(Security)
    imap_username: str
    smtp_host: str | None = None
    smtp_port: int | None = None
    smtp_security: Security | None = enum_column(Security, default=None)
    smtp_username: str | None = None
    smtp_rate_per_minute: int | None = None
    """The largest number of mails that are sent; null: the known limit of the provider."""
    smtp_rate_per_day: int | None = None
    smtp_file_sent: FileSent = enum_column(FileSent, default=FileSent.AUTO)
    provider_files_sent: bool | None = None
    """Whether the provider files sent mail in the Sent folder; null: not known yet."""
    aliases: list[str] = Field(default_factory=list, sa_type=JSON)
    """Further addresses from which mail may be sent."""
    source_folder: str
    processed_folder: str
    poll_interval_s: int
    delete_processed_after_days: int | None = None
    delete_sent_after_days: int | None = None
    delete_failed_after_days: int | None = None
    from_name: str | None = None
    """The name of the sender in sent mail."""
    first_fetch: FirstFetch | None = enum_column(FirstFetch, default=None)
    first_fetch_since: date | None = None
    baseline_uidvalidity: int | None = Field(default=None, sa_type=BigInteger)
    """The source folder's UIDVALIDITY when `first_fetch` was applied; null until then."""
    baseline_uidnext: int | None = Field(default=None, sa_type=BigInteger)
    """`first_fetch` decides about the mail below this UID."""
    baseline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    sealed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the password of a personal connector was first entered by its owner, or by a link made for the owner.
    Never removed: from then on others cannot change the credentials, or which mail is read and sent."""
    sealed_by: SealedBy | None = enum_column(SealedBy, default=None)
    """Null: an older version sealed it and did not store this; it counts as `TOKEN`."""
    awaits_owner_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Somebody else changed the servers of the sealed connector; nothing is fetched or sent before the owner has entered
    the password."""
    logged_in_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Since when this connector has the source folder of the mailbox: a cycle of it has logged in, and no other connector had
    the folder. Null: it does not have it now. See `services.fetching.possession`."""
    status: ConnectorStatus = enum_column(ConnectorStatus)
    paused: bool = False
    refused_logins: int = 0
    """Refused logins with the present password over IMAP, since the last successful one."""
    imap_logged_in_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When IMAP was first found to accept the present password; null until then."""
    smtp_logged_in_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """The same for SMTP."""
    sending_status: SendingStatus = enum_column(SendingStatus, default=SendingStatus.ACTIVE)
    sending_refused_logins: int = 0
    """Refused logins with the present password over SMTP, since the last successful one."""
    sending_failed_attempts: int = 0
    """Logins over SMTP that failed for any reason, since the last successful one."""
    sending_error_code: str | None = None
    sending_error_detail: str | None = None
    sending_error_server_text: str | None = Field(default=None, sa_type=Text)
    sending_error_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    sending_next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Nothing is sent before this time. Null: mail is sent at once, or sending is stopped."""
    failed_attempts: int = 0
    """Failed cycles since the last success."""
    last_error_code: str | None = None
    last_error_detail: str | None = None
    last_error_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error_server_text: str | None = Field(default=None, sa_type=Text)
    """The words of the mail server, with our credentials masked. Null: it said nothing."""
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

    connector_id: str = cascade_column("connectors.id", primary_key=True)
    type: str
    ciphertext: str = Field(sa_type=Text)
    entered_by: str | None = None
    """`user:…`, `key:…` or `link:…`. Null: an older version did not store it."""
    entered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Distinguishes one password from the next, even after a rotation of keys. Null: an older version did not store it."""


class UpgradeStep(SQLModel, table=True):
    """A step of an upgrade that is done. Such a step needs more than the database, for example the keys."""

    __tablename__ = "upgrade_steps"

    name: str = Field(primary_key=True)
    done_at: datetime = Field(sa_type=UtcDateTime)


class CredentialLink(SQLModel, table=True):
    """A link for one use: somebody without an account here enters a connector's password."""

    __tablename__ = "credential_links"

    id: str = Field(primary_key=True)
    connector_id: str = cascade_column("connectors.id", index=True)
    sha256: str = Field(unique=True)
    """Hash of the token in the address of the link."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    refused_logins: int = 0
    """The number of passwords that the mail server refused or is checking now."""
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the password that was entered by this link was stored."""
    created_by: str | None = None
    """`user:…` or `key:…`. Refused passwords are counted to this caller. Null: an older version did not store it."""
