"""Identifiers of our own rows: UUID version 7 (RFC 9562 §5.7). For callers they have no meaning. They ascend with time,
which keeps our indexes small and fast."""

import hashlib
import secrets
import time


def new_id() -> str:
    """A new identifier: 32 hexadecimal digits, in ascending order of the millisecond of creation."""
    milliseconds = time.time_ns() // 1_000_000
    random_a = secrets.randbits(12)
    random_b = secrets.randbits(62)
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b
    return f"{value:032x}"


def conversation_of_root(connector_id: str, header: str) -> str:
    """The identifier of the conversation in a mailbox that begins with the mail of this Message-ID."""
    return hashlib.sha256(f"{connector_id}\n{header}".encode()).hexdigest()[:32]
