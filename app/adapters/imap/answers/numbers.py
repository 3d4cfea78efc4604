"""Numbers and sets of UIDs.

number      = 1*DIGIT          0 <= n < 4,294,967,296                 RFC 9051 §9
nz-number   = digit-nz *DIGIT
uid-set     = (uniqueid / uid-range) *("," uid-set)                   RFC 4315 §4
uid-range   = (uniqueid ":" uniqueid)      2:4 and 4:2 are the same
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

MAX_UID = 0xFFFF_FFFF
MAX_SIZE_OCTETS = (1 << 63) - 1
"""RFC 9051 §9: number64."""

_DIGITS = re.compile(rb"\d{1,20}\Z")
_RANGE = re.compile(rb"(\d++)(?::(\d++|\*))?")


def number(octets: bytes, *, most: int) -> int | None:
    """A number from 0 to `most`. None: the octets are no such number."""
    if not _DIGITS.match(octets):
        return None
    value = int(octets)
    return value if value <= most else None


def uid(octets: bytes) -> int | None:
    """A UID or UIDVALIDITY: 1 to 2^32 - 1."""
    return number(octets, most=MAX_UID) or None


def ranges(octets: bytes) -> Iterator[tuple[int, int]]:
    """The ranges in a set, with their ends in the order of the text. A single UID is a range of one. `*` is the highest UID.
    Text that is no UID is skipped."""
    for found in _RANGE.finditer(octets):
        first = uid(found[1])
        last = first if found[2] is None else MAX_UID if found[2] == b"*" else uid(found[2])
        if first is not None and last is not None:
            yield first, last


def within(low: int, high: int, wanted: Sequence[int]) -> Sequence[int]:
    """The wanted UIDs that are in a range, ascending."""
    return wanted[bisect_left(wanted, low) : bisect_right(wanted, high)]
