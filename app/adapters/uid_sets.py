"""Sets of UIDs as they stand on the wire (RFC 9051 §4.1.1), and the COPYUID code (RFC 4315 §3). Pure."""

import re
from collections.abc import Iterator, Sequence

MAX_SET_OCTETS = 900
"""RFC 9051 and RFC 2683 §3.2.1.5 ask clients for lines of about 1,000 octets."""


def uid_sets(uids: Sequence[int]) -> Iterator[str]:
    """UIDs as sets for the wire, runs as ranges, each set at most 900 octets."""
    parts: list[str] = []
    length = 0
    for part in _ranges(sorted(set(uids))):
        if parts and length + len(part) + 1 > MAX_SET_OCTETS:
            yield ",".join(parts)
            parts, length = [], 0
        parts.append(part)
        length += len(part) + 1
    if parts:
        yield ",".join(parts)


def _ranges(uids: Sequence[int]) -> Iterator[str]:
    start = end = None
    for uid in uids:
        if end is not None and uid == end + 1:
            end = uid
            continue
        if start is not None:
            yield str(start) if start == end else f"{start}:{end}"
        start = end = uid
    if start is not None:
        yield str(start) if start == end else f"{start}:{end}"


def copied(code: bytes) -> dict[int, int]:
    """The pairs of a COPYUID code: `uidvalidity source-set target-set` (RFC 4315 §3)."""
    try:
        _uidvalidity, sources, targets = code.decode("ascii").split()
        return dict(zip(_expanded(sources), _expanded(targets), strict=True))
    except ValueError:
        return {}


def copyuid_in(answer: list[bytes]) -> list[bytes]:
    found = [re.match(rb"\[COPYUID ([^\]]+)\]", line or b"", re.IGNORECASE) for line in answer]
    return [match[1] for match in found if match]


def _expanded(uid_set: str) -> list[int]:
    uids: list[int] = []
    for part in uid_set.split(","):
        first, _, last = part.partition(":")
        low, high = int(first), int(last or first)
        if abs(high - low) > 1_000_000:
            raise ValueError("a UID set without measure")
        uids += range(low, high + 1) if low <= high else range(high, low + 1)
    return uids
