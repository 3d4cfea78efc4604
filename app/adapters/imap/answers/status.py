"""Reads response codes, and the result of SELECT, which consists of them.

    resp-text      = ["[" resp-text-code "]" SP] [text]                            RFC 9051 §9; no text: legal there
    resp-text-code = "ALERT" / "READ-ONLY" / "UIDNEXT" SP nz-number / "UIDVALIDITY" SP nz-number / "UIDNOTSTICKY"
                   / "CAPABILITY" 1*(SP capability) / atom [SP 1*<any TEXT-CHAR except "]">]

Tolerated: any case, a code anywhere in the text of any status, missing numbers (`[UIDNEXT]`) and impossible ones
(UIDVALIDITY 0), which count as unknown.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.adapters.imap.answers import numbers
from app.adapters.imap.answers.response import STATUSES, Response

_CODE = re.compile(rb"\[([A-Za-z][A-Za-z0-9-]*+)(?:[ \t]++([^\[\]]*+))?\]")
_FIRST_CODE = re.compile(rb"\s*+\[([A-Za-z][A-Za-z0-9-]*+)(?:[ \t]++([^\]]*+))?\]")
MAX_TEXT_OCTETS = 256 * 1024
MAX_CODES = 20
"""The largest number of codes in one text."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The result of SELECT. None: the server gave no possible value."""

    uidvalidity: int | None
    uidnext: int | None
    exists: int
    uid_not_sticky: bool
    is_read_only: bool = False


def code_of(text: bytes) -> str | None:
    """The response code at the beginning of a status text, in capitals."""
    found = _FIRST_CODE.match(text)
    return found[1].decode("ascii").upper() if found is not None else None


def codes_in(responses: Iterable[Response], text: bytes) -> Iterator[tuple[str, bytes]]:
    """All response codes of an answer with their values: first from the untagged responses, then from the tagged one."""
    for each in [response.texts[0] for response in responses if response.kind in STATUSES] + [text]:
        for count, found in enumerate(_CODE.finditer(each[:MAX_TEXT_OCTETS])):
            if count == MAX_CODES:
                break
            yield found[1].decode("ascii").upper(), (found[2] or b"").strip()


def read_select(responses: Iterable[Response], text: bytes) -> Selected:
    """The result of SELECT or EXAMINE (RFC 9051 §6.3.2)."""
    kept = list(responses)
    exists = [response.number for response in kept if response.kind == "EXISTS"]
    codes = dict(codes_in(kept, text))
    return Selected(
        uidvalidity=numbers.uid(codes.get("UIDVALIDITY", b"")),
        uidnext=numbers.uid(codes.get("UIDNEXT", b"")),
        exists=min((exists[-1] if exists else None) or 0, numbers.MAX_UID),
        uid_not_sticky="UIDNOTSTICKY" in codes,
        is_read_only="READ-ONLY" in codes and "READ-WRITE" not in codes,
    )
