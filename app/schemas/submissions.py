"""Submissions."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from app.schemas.fields import Id, Input, Line, ListQuery, Output, Time
from app.states import RecipientStatus, SentCopyState, SubmissionStatus

FileName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]


class SubmissionAttachment(Input):
    name: FileName
    """Invisible marks in it are left out."""
    content_type: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}$")
    ] = "application/octet-stream"
    content_base64: str
    """Base64 (RFC 4648 §4), with or without line ends."""
    content_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """The HTML shows this attachment, for example as `<img src="cid:logo">` with the content_id `logo`."""


Recipients = Annotated[list[Annotated[str, StringConstraints(max_length=1000)]], Field(max_length=500)]


class SubmissionCreate(Input):
    """A new mail or an answer. Each recipient is `addr` or `Name <addr>`; at least one is needed."""

    connector_id: Id
    from_: Annotated[str, StringConstraints(max_length=1000)] | None = Field(default=None, alias="from")
    """The connector's address, the default, or one of its `aliases`."""
    to: Recipients = Field(default_factory=list)
    cc: Recipients = Field(default_factory=list)
    bcc: Recipients = Field(default_factory=list)
    subject: Annotated[str, StringConstraints(max_length=998)] = ""
    text: str | None = None
    html: str | None = None
    attachments: Annotated[list[SubmissionAttachment], Field(max_length=100)] = Field(default_factory=list)
    in_reply_to: Id | None = None
    """Id of the message that this mail answers; it may be of another mailbox that the caller reads. Without a subject, the
    mail gets that message's subject, with `Re:`."""
    reply_to: Recipients = Field(default_factory=list)
    """The addresses for answers, if they should not go to the mailbox."""
    from_name: Line | None = None
    """The name of the sender. Without it: `from_name` of the connector, or the name of a shared mailbox, or no name."""
    auto_submitted: Literal["auto-replied", "auto-generated"] | None = None
    """Marks the mail as written by a program (RFC 3834), so that other programs do not answer it."""
    send_at: AwareDatetime | None = None
    also: bool = False
    """Answer the message even if somebody has answered it already."""
    mark_processed: bool = False
    """Mark the answered message as processed after the answer was sent. Only for callers who may mark it themselves."""


class SubmissionsQuery(ListQuery):
    connector_id: Id | None = None
    status: SubmissionStatus | None = None


class RecipientRead(Output):
    address: str
    status: RecipientStatus
    detail: str | None


class SubmissionError(Output):
    """Why the last attempt did not reach all recipients."""

    code: str
    detail: str
    enhanced_status: str | None
    """The mail server's enhanced status code (RFC 3463), as `5.1.1`."""
    server_text: str | None
    """The mail server's own words, for those who may read the mailbox."""


class SentAttachment(Output):
    n: int
    name: str
    content_type: str
    size_octets: int
    content_id: str | None
    inline: bool


class SubmissionRead(Output):
    model_config = ConfigDict(populate_by_name=True)

    id: str
    connector_id: str
    from_: Annotated[str, Field(alias="from", serialization_alias="from")]
    """The address from which it is sent."""
    status: SubmissionStatus
    message_id_header: str
    subject: str
    in_reply_to: str | None
    conversation_id: str | None
    """Of the answered message; of a new mail, the one that the answers to it get."""
    recipients: list[RecipientRead]
    attempts: int
    next_attempt_at: Time | None
    """Null if there will be no further attempt."""
    error: SubmissionError | None
    sent_copy: SentCopyState
    """Whether a copy is in the mailbox's Sent folder."""
    send_at: Time | None
    created_at: Time
    updated_at: Time


class SubmissionSource(Output):
    source: str
    """The mail as it is sent, which is ASCII throughout."""


class SubmissionDetail(SubmissionRead):
    """With what was asked to be sent, for those who may read the mailbox."""

    to: list[str]
    cc: list[str]
    bcc: list[str]
    text: str | None
    html: str | None
    attachments: list[SentAttachment]
