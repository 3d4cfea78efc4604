"""Messages and quarantine."""

from typing import Annotated, Self

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from app.schemas.fields import Id, Input, ListQuery, Name, Output, Time
from app.states import MessageOrder, MessageState, QuarantineState, SubmissionStatus

SearchWords = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
"""The words to search for. Each must occur in the subject, the addresses or the text."""


class AddressRead(Output):
    name: str | None
    address: str


class AnswerRead(Output):
    """An answer to a message. If it came from a mailbox that the caller may not read, only `at` is set."""

    submission_id: str | None
    status: SubmissionStatus | None
    by: str | None
    """`user:…` or `key:…`."""
    at: Time
    """The time of the request to send it."""


class MessageRead(Output):
    id: str
    connector_id: str
    state: MessageState
    folder: str
    uid: int
    uidvalidity: int
    message_id_header: str | None
    in_reply_to: str | None
    references: list[str]
    conversation_id: str
    from_: Annotated[AddressRead | None, Field(alias="from", serialization_alias="from")]
    to: list[AddressRead]
    cc: list[AddressRead]
    reply_to: list[AddressRead]
    subject: str | None
    snippet: str
    internal_date: Time | None
    date_header: Time | None
    stored_at: Time
    moved_at: Time | None
    size_octets: int
    has_attachments: bool
    is_auto_reply: bool
    sha256: str
    answers: list[AnswerRead]

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)


class DefectRead(Output):
    code: str
    detail: str


class AttachmentRead(Output):
    n: int
    name: str
    content_type: str
    size_octets: int
    content_id: str | None
    inline: bool


class MessageDetail(MessageRead):
    text: str | None
    html: str | None
    defects: list[DefectRead]
    attachments: list[AttachmentRead]


class MessagesQuery(ListQuery):
    """The part of the list that a caller wants. A misspelt filter is refused; otherwise the list would return everything."""

    order: MessageOrder = MessageOrder.ARRIVAL
    """`arrival`: the order in which they became visible, for polling. `newest`: by `internal_date`, or by `stored_at` without
    it, the latest first."""
    connector_id: Id | None = None
    group: Name | None = None
    """A group that is bound to the mailbox. Users may name their own groups."""
    state: MessageState | None = None
    conversation_id: Id | None = None
    q: SearchWords | None = None
    from_: Annotated[SearchWords | None, Field(alias="from")] = None
    """Words of the sender's name or address."""
    to: SearchWords | None = None
    """Words of the names or addresses in To and Cc."""
    subject: SearchWords | None = None
    since: AwareDatetime | None = None
    """Only mail that the server received at this time or later (`internal_date`, or `stored_at` without it)."""
    until: AwareDatetime | None = None
    """Only mail that the server received before this time."""
    has_attachments: bool | None = None
    auto_reply: bool | None = None
    wait_s: Annotated[float, Field(ge=0, le=30)] = 0
    """How long the request waits while there is nothing to return. Only for `order=arrival`."""

    @model_validator(mode="after")
    def _waits_for_arrivals(self) -> Self:
        if self.wait_s and self.order is not MessageOrder.ARRIVAL:
            raise ValueError("wait_s is only for order=arrival")
        return self


class MessageTally(Output):
    new: int
    processed: int


class ConnectorTally(MessageTally):
    connector_id: str


class GroupTally(MessageTally):
    group: str


class MessageCounts(MessageTally):
    """How many messages the caller may read. Connectors and groups without messages are not listed."""

    connectors: list[ConnectorTally]
    groups: list[GroupTally]
    """A message counts in each group that is bound to its mailbox. Users see only their own groups."""


class MessageUpdate(Input):
    state: MessageState


class MessagesDelete(Input):
    """Selects the messages to delete. At least one filter is required."""

    connector_id: Id | None = None
    state: MessageState | None = None
    q: SearchWords | None = None
    ids: Annotated[list[Id], Field(min_length=1, max_length=1000)] | None = None
    stored_before: AwareDatetime | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("at least one filter is needed")
        return self


class DeletedCount(Output):
    deleted: int


class QuarantineQuery(ListQuery):
    connector_id: Id | None = None


class QuarantineRetry(Input):
    """Selects the mails in quarantine to try again. At least one filter is required."""

    connector_id: Id | None = None
    reason: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    folder: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    quarantined_before: AwareDatetime | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("at least one filter is needed")
        return self


class RetriedCount(Output):
    retried: int


class QuarantinedRead(Output):
    id: str
    connector_id: str
    state: QuarantineState
    """`suspect`: the next cycle tries the mail again."""
    folder: str
    uid: int
    uidvalidity: int
    reason: str
    detail: str
    attempts: int
    size_octets: int | None
    from_address: str | None
    subject: str | None
    internal_date: Time | None
    created_at: Time
    updated_at: Time
