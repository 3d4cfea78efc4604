"""The root of all errors."""

from typing import ClassVar


class GatewayError(Exception):
    """Root of all errors the gateway raises on purpose."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    default_detail: ClassVar[str] = "Something went wrong inside the gateway."

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)
