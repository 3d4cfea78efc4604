"""The problem body (RFC 9457)."""

from typing import Annotated

from pydantic import Field

from app.schemas.fields import Output


class Fault(Output):
    pointer: str
    detail: str


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
