"""Makes sets of UIDs for commands (RFC 9051 §4.1.1). Pure."""

from collections.abc import Iterator, Sequence

MAX_SET_OCTETS = 900
"""RFC 9051 and RFC 2683 §3.2.1.5 ask clients for lines of about 1,000 octets."""


def uid_sets(uids: Sequence[int]) -> Iterator[str]:
    """The UIDs as sets of at most 900 octets each. Consecutive UIDs become ranges."""
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
