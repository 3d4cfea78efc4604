"""COPYUID, the proof of a copy or a move.

    resp-code-copy = "COPYUID" SP nz-number SP uid-set SP uid-set                   RFC 4315 §3, RFC 9051 §7.1

The first set holds the UIDs here, the second the UIDs there, in the same order. Tolerated: the code in an untagged or the
tagged response, or in none (Exchange); a malformed or empty code (Outlook.com), which then proves nothing. A set is never
expanded beyond the number of mails in the request: 400 octets can name 400 million UIDs.
"""

from collections.abc import Iterable, Set

from app.adapters.imap.answers import numbers
from app.adapters.imap.answers.response import Response
from app.adapters.imap.answers.status import codes_in


def read_copyuid(responses: Iterable[Response], text: bytes, wanted: Set[int]) -> dict[int, int]:
    """The mails among these that have been copied, with their UIDs there."""
    copied: dict[int, int] = {}
    for code, value in codes_in(responses, text):
        if code == "COPYUID":
            copied.update(_pairs(value, wanted))
    return copied


def _pairs(value: bytes, wanted: Set[int]) -> dict[int, int]:
    words = value.split()
    if len(words) != 3 or numbers.uid(words[0]) is None:
        return {}
    sources, targets = (_expanded(word, len(wanted)) for word in words[1:])
    is_sound = sources is not None and targets is not None and len(sources) == len(targets)
    if not is_sound or len(set(targets or ())) != len(targets or ()):
        return {}
    pairs = zip(sources or (), targets or (), strict=True)
    return {source: target for source, target in pairs if source in wanted}


def _expanded(uid_set: bytes, most: int) -> list[int] | None:
    """The UIDs of a set in its order. None: there are more than `most`, or one of them is no UID."""
    uids: list[int] = []
    for part in uid_set.split(b",", most + 1):
        first, colon, last = part.partition(b":")
        low, high = numbers.uid(first), numbers.uid(last if colon else first)
        if low is None or high is None or abs(high - low) >= most - len(uids):
            return None
        uids += range(low, high + 1) if low <= high else range(high, low + 1)
    return uids
