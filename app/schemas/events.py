"""Events and webhooks."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints, field_validator

from app.schemas.fields import Cursor, Input, Line, ListQuery, Output, Time
from app.states import DeliveryStatus


class EventRead(Output):
    """A CloudEvent 1.0 in JSON."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    type: str
    source: str
    subject: str
    time: Time
    datacontenttype: Literal["application/json"] = "application/json"
    data: dict[str, Any]


class EventsQuery(ListQuery):
    wait_s: Annotated[float, Field(ge=0, le=30)] = 0
    """How long the request waits while there is nothing to return."""


class StreamQuery(Input):
    after: Cursor | None = None


WebhookUrl = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=2000, pattern=r"^[hH][tT][tT][pP][sS]?://[!-~]+$"),
]
"""Printable ASCII. Write a name in another script in its `xn--` form."""
Filters = Annotated[list[Line], Field(max_length=1000)]


class WebhookCreate(Input):
    url: WebhookUrl
    types: Filters = Field(default_factory=list)
    """Event types, in full or in short (`message.stored`); empty means all."""
    connector_ids: Filters = Field(default_factory=list)
    """Empty: all."""
    active: bool = True


class WebhookUpdate(Input):
    url: WebhookUrl | None = None
    types: Filters | None = None
    connector_ids: Filters | None = None
    active: bool | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _given_is_not_null(cls, value: object) -> object:
        # In RFC 7396 null removes a value, but none of these fields can be missing.
        if value is None:
            raise ValueError("must not be null")
        return value


class WebhookRead(Output):
    id: str
    url: str
    types: list[str]
    connector_ids: list[str]
    active: bool
    created_at: Time
    updated_at: Time


class WebhookCreated(WebhookRead):
    secret: str
    """Only this answer shows it (form of Standard Webhooks, `whsec_…`)."""


class DeliveryRead(Output):
    id: str
    event_id: str
    event_type: str
    status: DeliveryStatus
    attempts: int
    last_attempt_at: Time | None
    next_attempt_at: Time | None
    response_status: int | None
    error_code: str | None


class WebhookReplay(Input):
    """Deliver the events after this time again."""

    since: AwareDatetime


class WebhookTestRead(Output):
    ok: bool
    response_status: int | None
    error_code: str | None


class ReplayCount(Output):
    queued: int
