"""STATUS.

    "STATUS" SP mailbox SP "(" [status-att-list] ")"                                RFC 9051 §7.3.5
    status-att-val = ("MESSAGES" SP number) / ("UIDNEXT" SP nz-number) / ("UIDVALIDITY" SP nz-number) / …

Tolerated: missing, doubled or unknown items, a name with brackets or spaces and without quotes (the items come last).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.adapters.imap.answers import numbers
from app.adapters.imap.answers.response import Response

_ITEM = re.compile(rb"(?<![A-Za-z0-9.-])([A-Za-z][A-Za-z0-9.-]*+)[ \t]++(\d{1,20})(?!\d)")


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """The counters that STATUS gave for a folder that is not selected. None: it gave no possible value."""

    uidvalidity: int | None
    uidnext: int | None
    messages: int | None


def read_status(responses: Iterable[Response]) -> FolderStatus:
    """The last STATUS in an answer."""
    items: dict[bytes, bytes] = {}
    for response in responses:
        if response.kind == "STATUS":
            _before, bracket, last = response.texts[-1].rpartition(b"(")
            items = {found[1].upper(): found[2] for found in _ITEM.finditer(last)} if bracket else {}
    return FolderStatus(
        uidvalidity=numbers.uid(items.get(b"UIDVALIDITY", b"")),
        uidnext=numbers.uid(items.get(b"UIDNEXT", b"")),
        messages=numbers.number(items.get(b"MESSAGES", b""), most=numbers.MAX_UID),
    )
