"""The problem body (RFC 9457)."""

from app.schemas.fields import Output


class Fault(Output):
    pointer: str
    detail: str


class Problem(Output):
    """The body of every error answer, `application/problem+json`."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    request_id: str
    errors: list[Fault] | None = None
