"""FETCH.

    message-data = nz-number SP ("EXPUNGE" / ("FETCH" SP msg-att))                               RFC 9051 §9
    msg-att      = "(" (msg-att-dynamic / msg-att-static) *(SP …) ")"
    msg-att-static = "INTERNALDATE" SP date-time / "RFC822.SIZE" SP number64
                   / "BODY" section ["<" number ">"] SP nstring / "UID" SP uniqueid / …

Tolerated: items in any order, one mail's items in several responses, items and mails that nobody requested, two responses
on one line, values of another type, impossible sizes and dates.

Not tolerated, because bytes would be assigned to the wrong mail:
- A response that names no UID, or two, or one that was not requested, belongs to no mail: it is dropped and counted. (The
  sequence number in front does not help: it changes with each EXPUNGE.)
- If the response does not continue correctly after a body, the announced length of the body was wrong (Domino). The
  connection is out of step, and nothing of the answer can be trusted.
"""

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.adapters.imap.answers import numbers
from app.adapters.imap.answers.dates import read_internal_date
from app.adapters.imap.answers.response import Response
from app.adapters.imap.answers.tokens import Cursor, Kind, Token

MAX_ITEMS = 100
"""The largest number of items in one response; no request asks for so many."""

_BODIES: dict[str, tuple[bytes, ...]] = {
    "header": (b"BODY[HEADER]", b"RFC822.HEADER"),
    "body": (b"BODY[]<0>",),
    "rest": (b"BODY[]<",),
}
"""How the names of items with octets of the mail begin, by fields of `Fetched`. The first that fits counts."""
_NEXT = re.compile(rb"[ \t]*+\*[ \t]++\d{1,20}[ \t]++FETCH[ \t]++\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The values of one mail. None: the server sent no value, or an impossible one."""

    uid: int
    size_octets: int | None = None
    internal_date: datetime | None = None
    body: bytes | None = None
    rest: bytes | None = None
    """A part of the body that does not begin at its beginning."""
    header: bytes | None = None
    flags: frozenset[str] | None = None
    has_date_defect: bool = False
    """There was an INTERNALDATE, but it is not a valid date."""


@dataclass(frozen=True, slots=True)
class FetchAnswer:
    """The mails by UID, only requested ones."""

    mails: dict[int, Fetched]
    dropped: int
    """Responses that belong to no mail, or could not be read."""
    is_out_of_step: bool
    """Whether a literal was longer or shorter than announced."""


class _Broken(Exception):
    """The response does not continue correctly."""


def read_fetch(responses: Iterable[Response], wanted: Set[int] | None) -> FetchAnswer:
    """The answers to a UID FETCH of these mails. None: of any mails."""
    mails: dict[int, Fetched] = {}
    dropped = 0
    is_out_of_step = False
    for response in responses:
        if response.kind != "FETCH":
            continue
        found, is_whole = _read(response)
        is_out_of_step |= not is_whole and bool(response.literals)
        for mail in found:
            if mail is None or not mail.uid or (wanted is not None and mail.uid not in wanted):
                dropped += 1
            else:
                mails[mail.uid] = _merged(mails.get(mail.uid), mail)
        dropped += not is_whole
    return FetchAnswer(mails, dropped, is_out_of_step)


def _read(response: Response) -> tuple[list[Fetched | None], bool]:
    """The mails on one line (None: it belongs to no mail), and whether the line could be read to its end."""
    cursor = Cursor(response)
    found: list[Fetched | None] = []
    try:
        while True:
            found.append(_mail(cursor))
            if not cursor.peek():
                return found, not cursor.is_at_literal
            # `…)* 2 FETCH (…`: the line end between two responses is missing.
            if not _passes_next(cursor):
                return found, False
    except _Broken:
        return found, False


def _passes_next(cursor: Cursor) -> bool:
    words = [cursor.value().octets for _ in range(3)]
    return _NEXT.match(b" ".join(words) + b" ") is not None


def _mail(cursor: Cursor) -> Fetched | None:
    """The items between two brackets. None: they do not name exactly one UID."""
    if not cursor.accept(b"("):
        raise _Broken
    items: dict[str, Any] = {}
    uids: set[int] = set()
    for _ in range(MAX_ITEMS):
        if cursor.accept(b")"):
            return Fetched(uids.pop(), **items) if len(uids) == 1 else None
        name = cursor.name()
        if not name:
            raise _Broken
        value = cursor.value()
        is_missing = value.kind is Kind.END and not _is_without_value(cursor)
        if is_missing or not cursor.goes_on_well:
            raise _Broken
        if name == b"UID":
            uids.add(numbers.uid(value.octets) or 0)
        else:
            items |= _item(name, value)
    raise _Broken


def _is_without_value(cursor: Cursor) -> bool:
    """Whether the value is missing, as in `INTERNALDATE)`."""
    return cursor.peek() == b")"


def _item(name: bytes, value: Token) -> dict[str, Any]:
    """The value of an item, as fields of `Fetched`."""
    octets = value.octets if value.kind in {Kind.STRING, Kind.ATOM} else None
    if name == b"RFC822.SIZE":
        return {"size_octets": numbers.number(octets or b"", most=numbers.MAX_SIZE_OCTETS)}
    if name == b"INTERNALDATE":
        moment = read_internal_date(octets or b"")
        return {"internal_date": moment, "has_date_defect": moment is None}
    if name == b"FLAGS" and value.kind is Kind.LIST:
        words = value.octets[: 64 * 1024].decode("latin-1").split()
        return {"flags": frozenset(word.lower() for word in words)}
    # NIL, or a value of another type, is no body: see `FetchedMail.raw`.
    if value.kind is not Kind.STRING:
        return {}
    if name in {b"BODY[]", b"RFC822"}:
        return {"body": octets}
    field = next((field for field, names in _BODIES.items() if name.startswith(names)), None)
    return {field: octets} if field is not None else {}


def _merged(one: Fetched | None, other: Fetched) -> Fetched:
    """The values of two responses about one mail. A value of the later one counts only if the earlier one has none."""
    if one is None:
        return other
    return Fetched(
        uid=one.uid,
        size_octets=other.size_octets if one.size_octets is None else one.size_octets,
        internal_date=one.internal_date or other.internal_date,
        body=other.body if one.body is None else one.body,
        rest=other.rest if one.rest is None else one.rest,
        header=other.header if one.header is None else one.header,
        flags=other.flags if one.flags is None else one.flags,
        has_date_defect=one.has_date_defect or other.has_date_defect,
    )
