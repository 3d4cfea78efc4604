"""The only reader of the host's time, so that tests can move it and nothing else reads it by accident."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present instant, aware, UTC, to the microsecond."""
    return datetime.now(UTC)
