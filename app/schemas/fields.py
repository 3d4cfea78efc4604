"""The types of the fields that callers send and get. Input forbids unknown fields. No output holds a stored secret.

Times are RFC 3339 in UTC. Ids are strings without a meaning for callers.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

CONTROL_CHARACTERS = "".join(map(chr, (*range(0x20), 0x7F)))
# These characters make a text look like another one (Unicode Standard Annex 9).
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _no_control_characters(value: str) -> str:
    if any(character in CONTROL_CHARACTERS + BIDI_CONTROLS for character in value):
        raise ValueError("must not contain control characters")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("must be valid Unicode") from exc
    return value


Time = Annotated[
    AwareDatetime,
    PlainSerializer(_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    AfterValidator(_no_control_characters),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_no_control_characters)]
"""Not trimmed: names of users and folders may begin or end with a space."""
Id = Annotated[str, StringConstraints(max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
"""An id from a caller. A text in another form cannot be an id (PostgreSQL would refuse a NUL)."""
Host = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, to_lower=True, min_length=1, max_length=253, pattern=r"^[!-.0-?A-~]+$"
    ),
    Field(examples=["imap.example.com"]),
]
"""Printable ASCII without `/` and `@`. A name in another script is written in its `xn--` form, so that it cannot look
like a different name."""
Port = Annotated[int, Field(ge=1, le=65535)]
EmailAddress = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, max_length=254, pattern=r"^[^\s@<>,;\x00-\x20]+@[^\s@<>,;\x00-\x20]+$"
    ),
    AfterValidator(_no_control_characters),
    Field(examples=["orders@example.com"]),
]


class Input(BaseModel):
    """The base of everything that a caller sends. It cannot be changed after its check."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


CURSOR_MAX_CHARS = 200
Cursor = Annotated[str, StringConstraints(max_length=CURSOR_MAX_CHARS)]
Limit = Annotated[int, Field(ge=1, le=200)]


class ListQuery(Input):
    """The part of a list that a caller wants. Lists with filters add their own fields. A misspelt filter is refused; otherwise
    the list would return everything."""

    after: Cursor | None = None
    """The `next_cursor` of the previous page."""
    limit: Limit = 50


class Output(BaseModel):
    """The base of everything that a caller gets."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


Item = TypeVar("Item")


class Page(Output, Generic[Item]):
    """A part of a list. `next_cursor` is the `after` of the next request."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """`MessagePage` for `Page[MessageRead]`; of a union, the first decides. Generated clients have these names."""
        first = (get_args(params[0]) or params)[0]
        return f"{first.__name__.removesuffix('Read')}Page"

    # Pydantic reads docstrings where a class is made. For a generic class that is the place of each use.
    model_config = ConfigDict(use_attribute_docstrings=False)

    data: list[Item]
    next_cursor: str | None
    has_more: bool


def normalised_folder(name: str) -> str:
    """The name of a folder in a form for comparison without the server: INBOX in any case is INBOX."""
    return "INBOX" if name.upper() == "INBOX" else name
