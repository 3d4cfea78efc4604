"""Events and webhooks."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, field_validator

from app.schemas.fields import Cursor, Input, Line, ListQuery, Output, Time
from app.states import DeliveryStatus, DisabledReason, WebhookBody


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
    ticket: Annotated[str, StringConstraints(max_length=100)] | None = None
    """From `POST /events/stream-tickets`, in place of `Authorization`."""


class StreamTicketRead(Output):
    ticket: str
    """Only this answer shows it."""
    expires_at: Time


WebhookUrl = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=2000, pattern=r"^[hH][tT][tT][pP][sS]?://[!-~]+$"),
]
"""Printable ASCII. Write a name in another script in its `xn--` form."""
Filters = Annotated[list[Line], Field(max_length=1000)]
OWN_HEADERS = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    ]
)
"""The headers that a webhook must not set: those of the gateway, and those between two hops (RFC 9110 §7.6.1)."""
SIGNATURE_START = "webhook-"
"""The beginning of the names of the signature's headers."""


def _not_ours(name: str) -> str:
    if name.lower() in OWN_HEADERS or name.lower().startswith(SIGNATURE_START):
        raise ValueError("is set by the gateway")
    return name


HeaderName = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
    AfterValidator(_not_ours),
]
"""A token (RFC 9110 §5.6.2), but none of those that the gateway or a proxy sets."""
HeaderValue = Annotated[
    str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[!-~]([ -~]*[!-~])?$")
]
"""Printable ASCII without a space at either end."""


class WebhookCreate(Input):
    url: WebhookUrl
    types: Filters = Field(default_factory=list)
    """Event types, in full or in short (`message.stored`); empty means all."""
    connector_ids: Filters = Field(default_factory=list)
    """Empty: all."""
    active: bool = True
    body: WebhookBody = WebhookBody.CLOUDEVENTS
    """The media type: `application/cloudevents+json`, or `application/json` for frameworks that parse nothing else. The octets
    are the same."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Additional headers for the receiver, such as `Authorization`. They are stored encrypted and never shown."""


class WebhookUpdate(Input):
    url: WebhookUrl | None = None
    types: Filters | None = None
    connector_ids: Filters | None = None
    active: bool | None = None
    body: WebhookBody | None = None
    headers: dict[HeaderName, HeaderValue | None] | None = None
    """Merged with the stored headers: null removes a header, `***` keeps it. A change of scheme, host or port removes all
    headers that the request does not contain."""

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
    body: WebhookBody
    headers: dict[str, str]
    """The names of the receiver's headers; every value is `***`."""
    failing_since: Time | None
    """The time of the first failed attempt since the webhook last accepted an event."""
    resting_until: Time | None
    """Nothing is delivered until then."""
    disabled_reason: DisabledReason | None
    """Why the gateway has switched it off: `gone` (410), or `failing` (it has accepted nothing for 60 hours)."""
    disabled_at: Time | None
    created_at: Time
    updated_at: Time


class WebhookCreated(WebhookRead):
    secret: str
    """Only this answer shows it. It has the form of Standard Webhooks (`whsec_…`)."""


class DeliveryRead(Output):
    id: str
    event_id: str
    event_type: str
    status: DeliveryStatus
    attempts: int
    last_attempt_at: Time | None
    next_attempt_at: Time | None
    duration_ms: int | None
    """The duration of the last attempt."""
    response_status: int | None
    response_text: str | None
    """The first 2 kB of a text that a public receiver answered."""
    error_code: str | None


class SecretRotation(Input):
    previous_valid_s: Annotated[int, Field(ge=0, le=7 * 86400)] = 86400
    """How long the previous secret also signs; set 0 if it has leaked."""


class WebhookReplay(Input):
    """Deliver the events after this time again."""

    since: AwareDatetime


class WebhookTestRead(Output):
    ok: bool
    response_status: int | None
    error_code: str | None


class ReplayCount(Output):
    queued: int
