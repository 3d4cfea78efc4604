"""SEARCH and ESEARCH.

    "SEARCH" *(SP nz-number) [SP "(" "MODSEQ" SP n ")"]                         RFC 3501 §7.2.5, RFC 7162
    "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data)           RFC 9051 §7.3.4
    search-return-data = "MIN" SP nz-number / "MAX" … / "ALL" SP sequence-set / "COUNT" SP number

Servers with IMAP4rev2 answer SEARCH with ESEARCH. Tolerated: several lines, sets instead of numbers, commas.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.adapters.imap.answers import numbers
from app.adapters.imap.answers.response import Response

MAX_FOUND = 1_000_000
"""The largest number of UIDs from a search in a whole folder. If there are more, the highest UIDs are returned."""

_BRACKETED = re.compile(rb"\([^()]*+\)")
_ALL = re.compile(rb"\bALL[ \t]++([0-9:,*]++)", re.IGNORECASE)
_MIN_MAX = re.compile(rb"\b(?:MIN|MAX)[ \t]++(\d++)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """The UIDs that a search found, ascending."""

    uids: list[int]
    is_answered: bool
    """Whether there was an answer: some servers send none if nothing is found, and some never send one."""


def read_search(responses: Iterable[Response], wanted: Sequence[int] | None = None) -> Found:
    """The UIDs in the answers. With `wanted`, which is ascending, only these UIDs."""
    is_answered = False
    uids: set[int] = set()
    for low, high in _ranges(responses):
        is_answered = True
        if low == 0:
            continue
        if wanted is not None:
            uids.update(numbers.within(low, high, wanted))
        else:
            uids.update(range(max(low, high - MAX_FOUND + 1), high + 1))
            if len(uids) > 2 * MAX_FOUND:
                uids = set(sorted(uids)[-MAX_FOUND:])
    return Found(sorted(uids)[-MAX_FOUND:], is_answered)


def _ranges(responses: Iterable[Response]) -> Iterator[tuple[int, int]]:
    """The found ranges. Each answer begins with a (0, 0)."""
    for response in responses:
        if response.kind not in {"SEARCH", "ESEARCH"}:
            continue
        yield 0, 0
        for text in response.texts:
            for first, last in numbers.ranges(_set_in(response.kind, text)):
                yield min(first, last), max(first, last)


def _set_in(kind: str, text: bytes) -> bytes:
    if kind == "SEARCH":
        return _BRACKETED.sub(b" ", text)
    found = _ALL.search(text)
    return found[1] if found is not None else b" ".join(_MIN_MAX.findall(text))
