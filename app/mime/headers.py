"""Splits the header block of a mail or of a part into fields, within limits.

`email.parser` makes an object for each field: 100,000 headers cost it 5 s and 409 MB. This module keeps only fields that
are used: at most 64 KB of each field and 20 fields with one name. For addresses the limits are 1000 fields and 1 MB.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from app.mime import automatic
from app.mime.addresses import ADDRESSES_MAX, read_addresses
from app.mime.dates import read_date
from app.mime.encoded_words import decode_value, decode_words
from app.mime.message_ids import read_message_ids
from app.mime.model import Address, DefectCode, Defects
from app.mime.text import clean_line

FIELDS_MAX = 1000
# A mail with more than FIELDS_MAX fields is strange, but its Subject may still come last.
FIELDS_LOOKED_AT_MAX = 250_000
FIELD_MAX_OCTETS = 64 * 1024
SUBJECT_MAX_CHARS = 2000
REFERENCES_MAX = 100
SAME_FIELD_MAX = 20
ADDRESS_FIELDS_MAX = ADDRESSES_MAX
ADDRESS_FIELDS_MAX_OCTETS = 1024 * 1024

Fields = dict[bytes, list[bytes]]
"""Raw values by lower-case name, in the order of the mail, still folded and encoded."""

_FIELD = re.compile(rb"^([!-9;-~]{1,200}+)[ \t]*+:[ \t]*+([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.M)
# Lines that are no field and that further lines of the field before them follow.
_TORN = re.compile(rb"(?:\n(?:[^\s:][^:\n]{0,77}+\n)?[ \t]++[^\s][^\n]*+)++")
_NO_FIELD = re.compile(rb"\n[^\s][^\n]*+")
_ADDRESS_FIELDS = frozenset(b"from sender to cc bcc reply-to".split())
_WANTED = (
    _ADDRESS_FIELDS
    | automatic.FIELD_NAMES
    | frozenset(
        b"subject date message-id in-reply-to references content-type content-transfer-encoding "
        b"content-disposition content-id content-location".split()
    )
)


def field_lines(raw: bytes, begin: int, end: int) -> Iterator[re.Match[bytes]]:
    """The fields between two offsets: group 1 the name, group 2 the folded value."""
    return _FIELD.finditer(raw, begin, end)


def split_fields(raw: bytes, begin: int, end: int, defects: Defects) -> Fields:
    """The used fields of a header block. Lines that are no fields are skipped, as mail programs do."""
    fields: Fields = {}
    room = ADDRESS_FIELDS_MAX_OCTETS
    for count, match in enumerate(field_lines(raw, begin, end)):
        if count == FIELDS_MAX:
            defects.record(DefectCode.HEADERS_LIMIT, f"more than {FIELDS_MAX} headers")
        if count == FIELDS_LOOKED_AT_MAX:
            break
        name = match[1].lower()
        if name in _WANTED:
            value = match[2]
            if torn := _TORN.match(raw, match.end(), end):
                value += _NO_FIELD.sub(b"", torn[0])
                defects.record(DefectCode.BAD_HEADER, f"a line that is no field within {name.decode()}")
            if len(value) > FIELD_MAX_OCTETS:
                value = value[:FIELD_MAX_OCTETS]
                defects.record(DefectCode.HEADER_TRUNCATED, name.decode())
            if name in _ADDRESS_FIELDS:
                room -= len(value)
            same = fields.setdefault(name, [])
            if len(same) < (ADDRESS_FIELDS_MAX if name in _ADDRESS_FIELDS and room > 0 else SAME_FIELD_MAX):
                same.append(value.rstrip())
            elif name in _ADDRESS_FIELDS:
                defects.record(DefectCode.ADDRESSES_LIMIT, f"{name.decode()}: too many fields")
    return fields


def first(fields: Fields, name: bytes) -> bytes:
    """The first value of a field, empty if there is none."""
    return fields[name][0] if name in fields else b""


def read_subject(fields: Fields, charset: str, defects: Defects) -> str | None:
    if b"subject" not in fields:
        return None
    value = decode_value(first(fields, b"subject"), defects, where="subject", charset=charset)
    if "\x00" in value:
        defects.record(DefectCode.CONTROL_CHARACTERS, "subject")
    return clean_line(decode_words(value, defects, where="subject"), SUBJECT_MAX_CHARS)


def read_address_field(fields: Fields, name: bytes, charset: str, defects: Defects) -> tuple[Address, ...]:
    """The addresses of all fields of this name together."""
    found: list[Address] = []
    where = name.decode()
    for raw in fields.get(name, ()):
        value = decode_value(raw, defects, where=where, charset=charset)
        found += read_addresses(value, defects, where=where, room=ADDRESSES_MAX - len(found))
    return tuple(found)


def read_references(fields: Fields, defects: Defects) -> tuple[str, ...]:
    """The references. If there are too many, the oldest and the newest stay: they carry the conversation."""
    ids: tuple[str, ...] = ()
    for raw in fields.get(b"references", ()):
        ids += read_message_ids(raw, defects, where="references")
    if len(ids) > REFERENCES_MAX:
        defects.record(DefectCode.REFERENCES_LIMIT, f"{len(ids)}")
        ids = ids[:1] + ids[1 - REFERENCES_MAX :]
    return ids


def _sender(fields: Fields, charset: str, defects: Defects) -> Address | None:
    """The author: the first person with an address in From, otherwise in Sender."""
    first_named: Address | None = None
    for name in (b"from", b"sender"):
        found = read_address_field(fields, name, charset, defects)
        for each in found:
            if "@" in each.address:
                return each
        first_named = first_named or (found[0] if found else None)
    return first_named


def _answered(fields: Fields, people: tuple[Address, ...], defects: Defects) -> str | None:
    """The Message-ID of the mail that this one answers. An address of one of its people is no Message-ID."""
    addresses = {f"<{each.address}>".lower() for each in people}
    for raw in fields.get(b"in-reply-to", ()):
        ids = read_message_ids(raw, defects, where="in-reply-to")
        found = next((each for each in ids if len(ids) == 1 or each.lower() not in addresses), None)
        if found:
            return found
    return None


def _read_date(fields: Fields, defects: Defects) -> datetime | None:
    """The first Date with a valid time."""
    for raw in fields.get(b"date", ()):
        value = decode_words(decode_value(raw[:1000], defects, where="date"), defects, where="date")
        if moment := read_date(value, defects):
            return moment
        if raw.strip():
            defects.record(DefectCode.BAD_DATE, value[:100])
    return None


def read_envelope(fields: Fields, charset: str, defects: Defects) -> dict[str, Any]:
    """The fields of `ParsedMail` that come from the header alone."""
    message_ids = read_message_ids(first(fields, b"message-id"), defects, where="message-id")
    sender = _sender(fields, charset, defects)
    to = read_address_field(fields, b"to", charset, defects)
    cc = read_address_field(fields, b"cc", charset, defects)
    return {
        "message_id_header": message_ids[0] if message_ids else None,
        "in_reply_to": _answered(fields, (*to, *cc, *((sender,) if sender else ())), defects),
        "references": read_references(fields, defects),
        "from_": sender,
        "to": to,
        "cc": cc,
        "bcc": read_address_field(fields, b"bcc", charset, defects),
        "reply_to": read_address_field(fields, b"reply-to", charset, defects),
        "subject": read_subject(fields, charset, defects),
        "date_header": _read_date(fields, defects),
        "is_auto_reply": automatic.is_auto_reply(fields),
    }
