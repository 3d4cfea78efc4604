"""The problem body (RFC 9457)."""

from typing import Annotated

from pydantic import Field

from app.schemas.fields import Output


class Fault(Output):
    pointer: str
    detail: str


class FeedCursors(Output):
    """The cursors with which a caller can begin again, if their cursor is not one of this feed."""

    oldest: str
    """The position before the oldest event that is kept."""
    latest: str
    """The position at the end of the feed."""


class Problem(Output):
    """The body of every error answer, `application/problem+json`."""

    type: Annotated[str, Field(description="leads to the explanation of the code, `/docs/errors#…`")]
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    request_id: str
    errors: list[Fault] | None = None
    cursors: FeedCursors | None = None
    """Only with `cursor_gone`."""
