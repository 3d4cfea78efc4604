"""Identifiers of our own rows: UUID version 7 (RFC 9562 §5.7), opaque to callers, ascending in time for our indexes."""

import secrets
import time


def new_id() -> str:
    """A fresh identifier: 32 hexadecimal digits, ascending by the millisecond of its making."""
    milliseconds = time.time_ns() // 1_000_000
    random_a = secrets.randbits(12)
    random_b = secrets.randbits(62)
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b
    return f"{value:032x}"
