"""Connectors: their settings, checks, folders and cycles."""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from app.schemas.fields import (
    EmailAddress,
    Host,
    Input,
    Line,
    Name,
    Output,
    Port,
    Time,
    normalised_folder,
)
from app.states import ConnectorKind, ConnectorStatus, CycleOutcome, FileSent, Security, SendingStatus


class ImapServer(Input):
    host: Host
    port: Port = 993
    """The default is 993, or 143 if `security` is not `tls`."""
    security: Security = Security.TLS
    username: Name

    @model_validator(mode="before")
    @classmethod
    def _usual_port(cls, values: Any) -> Any:
        return _with_usual_port(values, 143)


Rate = Annotated[int | None, Field(ge=1, le=1_000_000, examples=[None])]


class SmtpServer(Input):
    host: Host
    port: Port = 465
    """The default is 465, or 587 if `security` is not `tls`."""
    security: Security = Security.TLS
    username: Name
    rate_per_minute: Rate = None
    """The largest number of mails that are sent in a minute; others wait. Null: the known limit of the provider, or no limit."""
    rate_per_day: Rate = None
    """The same for 24 hours."""
    file_sent: FileSent = FileSent.AUTO
    """Whether the gateway files a copy in the Sent folder. `auto`: it files one unless the provider does, and looks into the
    folder to find this out."""

    @model_validator(mode="before")
    @classmethod
    def _usual_port(cls, values: Any) -> Any:
        return _with_usual_port(values, 587)


def _with_usual_port(values: Any, without_tls: int) -> Any:
    is_other = isinstance(values, dict) and values.get("security") in {"starttls", "none"}
    return {"port": without_tls, **values} if is_other else values


SPECIAL_USES = ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")


def _distinct_groups(groups: list[str]) -> list[str]:
    return list(dict.fromkeys(groups))


Groups = Annotated[list[Line], Field(max_length=100), AfterValidator(_distinct_groups)]


def _source_folder(name: str) -> str:
    if name.startswith("\\"):
        raise ValueError("must be the name of a folder")
    return normalised_folder(name)


def _processed_folder(name: str) -> str:
    if not name.startswith("\\"):
        return normalised_folder(name)
    for special_use in SPECIAL_USES:
        if name.casefold() == special_use.casefold():
            return special_use
    raise ValueError(f"must be a folder's name or one of {' '.join(SPECIAL_USES)}")


SourceFolder = Annotated[Name, AfterValidator(_source_folder)]
ProcessedFolder = Annotated[Name, AfterValidator(_processed_folder)]
"""The name of a folder, or a special use in the spelling of RFC 6154."""
# Programs make sample bodies out of a schema, with the least number where there is no example.
PollInterval = Annotated[int | None, Field(ge=1, le=86400, examples=[60])]
DaysKept = Annotated[int | None, Field(ge=1, le=36500, examples=[None])]


Aliases = Annotated[list[EmailAddress], Field(max_length=100)]


class Retention(Input):
    delete_processed_after_days: DaysKept = None
    delete_sent_after_days: DaysKept = None
    """Sent submissions are deleted after this number of days; null: they are kept."""
    delete_failed_after_days: DaysKept = None
    """The same for submissions that failed, are uncertain or were cancelled."""


class FirstFetchSince(Input):
    since: Annotated[date, Field(ge=date(1970, 1, 1), le=date(2100, 1, 1))]


FirstFetch = Literal["all", "none"] | FirstFetchSince


class PasswordCredentials(Input):
    type: Literal["password"]
    password: Annotated[SecretStr, Field(min_length=1, max_length=1024)]


Credentials = PasswordCredentials


class ConnectorSettings(Input):
    """All settings of a connector, with the defaults of a new one."""

    name: Line
    email_address: EmailAddress
    imap: ImapServer
    smtp: SmtpServer | None = None
    aliases: Aliases = Field(default_factory=list)
    """Further addresses of the mailbox, from which mail may be sent."""
    from_name: Line | None = None
    """The name of the sender in sent mail. Null: a shared mailbox sends with its `name`, a personal one without a name."""
    source_folder: SourceFolder = "INBOX"
    processed_folder: ProcessedFolder = "\\Trash"
    poll_interval_s: PollInterval = None
    """Null: the installation's `POLL_INTERVAL_S`."""
    retention: Retention = Field(default_factory=Retention)
    first_fetch: FirstFetch | None = None

    @model_validator(mode="after")
    def _folders_differ(self) -> Self:
        if self.source_folder == self.processed_folder:
            raise ValueError("/processed_folder: must not be the source folder")
        return self


class NewConnector(ConnectorSettings):
    """Everything that a connector is made of, but its external id."""

    kind: ConnectorKind
    owner: Line | None = None
    groups: Groups | None = None
    """The groups that handle the mail of a shared connector."""
    credentials: Credentials | None = None

    @model_validator(mode="after")
    def _belongs_to_owner_or_groups(self) -> Self:
        if self.kind == ConnectorKind.PERSONAL and self.owner is None:
            raise ValueError("/owner: a personal connector needs an owner")
        if self.kind == ConnectorKind.SHARED and self.owner is not None:
            raise ValueError("/owner: a shared connector has no owner")
        if self.kind == ConnectorKind.PERSONAL and self.groups:
            raise ValueError("/groups: a personal connector belongs to its owner alone")
        return self


class ConnectorCreate(NewConnector):
    external_id: Line | None = None


class ConnectorPut(NewConnector):
    """Creates the connector with this external id, or replaces all its settings. `kind` and `owner` cannot change. If you
    leave out `groups`, `aliases` or `credentials`, they stay; another field that you leave out gets its default. The groups
    that you name are bound afterwards, and no others. Credentials that are equal to the stored ones stay."""


class ImapServerPatch(Input):
    host: Host | None = None
    port: Port | None = None
    security: Security | None = None
    username: Name | None = None


class SmtpServerPatch(ImapServerPatch):
    """Like `ImapServerPatch`."""

    rate_per_minute: Rate = None
    rate_per_day: Rate = None
    file_sent: FileSent | None = None


class RetentionPatch(Input):
    delete_processed_after_days: DaysKept = None
    delete_sent_after_days: DaysKept = None
    delete_failed_after_days: DaysKept = None


class ConnectorPatch(Input):
    """A JSON merge patch (RFC 7396): a field that you leave out does not change, nested objects are merged, null removes a
    value."""

    external_id: Line | None = None
    name: Line | None = None
    email_address: EmailAddress | None = None
    imap: ImapServerPatch | None = None
    smtp: SmtpServerPatch | None = None
    aliases: Aliases | None = None
    from_name: Line | None = None
    source_folder: SourceFolder | None = None
    processed_folder: ProcessedFolder | None = None
    poll_interval_s: PollInterval = None
    retention: RetentionPatch | None = None
    first_fetch: FirstFetch | None = None
    credentials: Credentials | None = None


class ConnectorTest(Input):
    """A connection to try; nothing is stored."""

    imap: ImapServer
    smtp: SmtpServer | None = None
    source_folder: SourceFolder = "INBOX"
    processed_folder: ProcessedFolder = "\\Trash"
    credentials: Credentials


class LastError(Output):
    """`server_text`: the words of the mail server, as plain text in one line, with our credentials masked."""

    code: str
    detail: str
    server_text: str | None
    at: Time
    attempts: int
    next_attempt_at: Time | None


class Sending(Output):
    """Whether mail can be sent. An error of fetching does not change it."""

    status: SendingStatus
    """`waiting`: until `next_attempt_at`, after a failed login, or because a limit is reached. `stopped`: the password was
    refused twice; queued mail waits for new credentials, `resume` or a successful test."""
    last_error: LastError | None
    next_attempt_at: Time | None


class Alert(Output):
    """The text that the mail server asked to show to its user (RFC 9051 §7.1), as plain text."""

    text: str
    at: Time


class RetentionRead(Output):
    delete_processed_after_days: int | None
    delete_sent_after_days: int | None
    delete_failed_after_days: int | None


class ServerRead(Output):
    host: str
    port: int
    security: Security
    username: str


class SmtpRead(ServerRead):
    rate_per_minute: int | None
    rate_per_day: int | None
    file_sent: FileSent


class ConnectorFields(Output):
    """What callers in full see of a connector, beside its id."""

    external_id: str | None
    name: str
    kind: ConnectorKind
    owner: str | None
    email_address: str
    imap: ServerRead
    smtp: SmtpRead | None
    aliases: list[str]
    from_name: str | None
    source_folder: str
    processed_folder: str
    poll_interval_s: int
    retention: RetentionRead
    first_fetch: FirstFetch | None
    status: ConnectorStatus
    last_error: LastError | None
    sending: Sending | None
    """Null: there is no SMTP server."""
    alert: Alert | None
    last_success_at: Time | None
    has_credentials: bool
    notifies_users: bool
    created_at: Time
    updated_at: Time


class ConnectorRead(ConnectorFields):
    id: str


class ConnectorPutRead(ConnectorFields):
    """The connector, and what the request has changed; in a dry run, what it would change."""

    id: str | None
    """Null: a dry run, and there is no such connector yet."""
    changed: bool
    changes: dict[str, list[Any]]
    """For each setting that changed, the value before and the value after, with names such as `imap.host`. `groups` are a list, or
    null if none is bound. `credentials` are `stored`, `new` or null."""


class ConnectorShort(Output):
    """The fields that a member of a bound group sees."""

    id: str
    name: str
    kind: ConnectorKind
    email_address: str
    status: ConnectorStatus
    notifies_users: bool


class FolderRead(Output):
    name: str
    delimiter: str | None
    special_use: list[str]
    selectable: bool


class FolderList(Output):
    data: list[FolderRead]


class CheckRead(Output):
    """One step of a test: `ok`, or a stable code with a sentence."""

    ok: bool
    code: str | None = None
    detail: str | None = None


class ConnectorTestRead(Output):
    ok: bool
    imap: CheckRead
    smtp: CheckRead | None
    source_folder: CheckRead | None
    processed_folder: CheckRead | None
    resolved_processed_folder: str | None
    waiting_messages: int | None


class CycleError(Output):
    code: str
    detail: str


class CycleRead(Output):
    id: str
    connector_id: str
    started_at: Time
    finished_at: Time | None
    outcome: CycleOutcome | None
    error: CycleError | None
    found: int
    stored: int
    known: int
    returned: int
    moved: int
    quarantined: int
    left: int
