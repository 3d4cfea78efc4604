"""Only this module reads the host's time, so tests can move it, and no other code reads it by accident."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present time: aware, UTC, to the microsecond."""
    return datetime.now(UTC)
