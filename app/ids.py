"""Identifiers of our own rows: UUID version 7 (RFC 9562 §5.7). Callers do not interpret them; they ascend in time for the
sake of our indexes."""

import secrets
import time


def new_id() -> str:
    """A new identifier: 32 hexadecimal digits, in ascending order of the millisecond of creation."""
    milliseconds = time.time_ns() // 1_000_000
    random_a = secrets.randbits(12)
    random_b = secrets.randbits(62)
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b
    return f"{value:032x}"
