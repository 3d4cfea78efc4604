"""The header block of a mail or of a part: cut into fields by hand, within limits.

`email.parser` makes an object of each field: 100,000 headers cost it 5 s and 409 MB. Here only fields that
somebody asks for are kept, at most 64 KB of each and 20 of a name.
"""

import re
from collections.abc import Iterator
from typing import Any

from app.mime.addresses import ADDRESSES_MAX, read_addresses
from app.mime.dates import read_date
from app.mime.encoded_words import decode_value, decode_words
from app.mime.model import Address, DefectCode, Defects
from app.mime.text import clean_line

FIELDS_MAX = 1000
# Beyond FIELDS_MAX a mail is odd, but its Subject may still come last.
FIELDS_LOOKED_AT_MAX = 250_000
FIELD_MAX_OCTETS = 64 * 1024
SUBJECT_MAX_CHARS = 2000
MESSAGE_ID_MAX_CHARS = 998
REFERENCES_MAX = 100
SAME_FIELD_MAX = 20

Fields = dict[bytes, list[bytes]]
"""Raw values by lower-case name, in the order of the mail, still folded and encoded."""

_FIELD = re.compile(rb"^([!-9;-~]{1,200}+)[ \t]*+:[ \t]*+([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.M)
_WANTED = frozenset(
    b"subject from sender to cc bcc reply-to date message-id in-reply-to references return-path "
    b"auto-submitted x-auto-response-suppress x-autoreply x-autorespond x-auto-reply-from precedence "
    b"content-type content-transfer-encoding content-disposition content-id content-location".split()
)
_ID = re.compile(rb"<([^<>\s]{1,998})>")


def field_lines(raw: bytes, begin: int, end: int) -> Iterator[re.Match[bytes]]:
    """The fields between two offsets: group 1 the name, group 2 the folded value."""
    return _FIELD.finditer(raw, begin, end)


def split_fields(raw: bytes, begin: int, end: int, defects: Defects) -> Fields:
    """The wanted fields of a header block. Lines that are no fields are skipped, as mail programs do."""
    fields: Fields = {}
    for count, match in enumerate(field_lines(raw, begin, end)):
        if count == FIELDS_MAX:
            defects.note(DefectCode.HEADERS_LIMIT, f"more than {FIELDS_MAX} headers")
        if count == FIELDS_LOOKED_AT_MAX:
            break
        name = match[1].lower()
        if name in _WANTED:
            value = match[2]
            if len(value) > FIELD_MAX_OCTETS:
                value = value[:FIELD_MAX_OCTETS]
                defects.note(DefectCode.HEADER_TRUNCATED, name.decode())
            same = fields.setdefault(name, [])
            if len(same) < SAME_FIELD_MAX:
                same.append(value.rstrip())
    return fields


def first(fields: Fields, name: bytes) -> bytes:
    """The first value of a field, empty if there is none."""
    return fields[name][0] if name in fields else b""


def read_subject(fields: Fields, charset: str, defects: Defects) -> str | None:
    if b"subject" not in fields:
        return None
    value = decode_value(first(fields, b"subject"), defects, where="subject", charset=charset)
    if "\x00" in value:
        defects.note(DefectCode.CONTROL_CHARACTERS, "subject")
    return clean_line(decode_words(value, defects, where="subject"), SUBJECT_MAX_CHARS)


def read_address_field(fields: Fields, name: bytes, charset: str, defects: Defects) -> tuple[Address, ...]:
    """The addresses of all fields of this name together."""
    found: list[Address] = []
    where = name.decode()
    for raw in fields.get(name, ()):
        value = decode_value(raw, defects, where=where, charset=charset)
        found += read_addresses(value, defects, where=where, room=ADDRESSES_MAX - len(found))
    return tuple(found)


def read_message_ids(raw: bytes, defects: Defects, *, where: str) -> tuple[str, ...]:
    """The identifiers of a field, with their angle brackets; what is in none is put into them."""
    ids = _ID.findall(raw)
    if not ids:
        ids = [word for word in re.split(rb"[\s<>]+", raw[:MESSAGE_ID_MAX_CHARS]) if word][:1]
        if raw.strip():
            defects.note(DefectCode.BAD_MESSAGE_ID, where)
    return tuple(f"<{text}>" for each in ids if (text := clean_line(each.decode("utf-8", "replace"), 998)))


def read_references(fields: Fields, defects: Defects) -> tuple[str, ...]:
    """The oldest and the newest are kept where there are too many: they carry the conversation."""
    ids = read_message_ids(first(fields, b"references"), defects, where="references")
    if len(ids) > REFERENCES_MAX:
        defects.note(DefectCode.REFERENCES_LIMIT, f"{len(ids)}")
        ids = ids[:1] + ids[1 - REFERENCES_MAX :]
    return ids


def read_envelope(fields: Fields, charset: str, defects: Defects) -> dict[str, Any]:
    """The fields of `ParsedMail` that come from the header alone."""
    message_ids = read_message_ids(first(fields, b"message-id"), defects, where="message-id")
    answered = read_message_ids(first(fields, b"in-reply-to"), defects, where="in-reply-to")
    senders = read_address_field(fields, b"from", charset, defects)
    if not senders:
        senders = read_address_field(fields, b"sender", charset, defects)
    date = first(fields, b"date")
    moment = read_date(date.decode("latin-1"))
    if moment is None and date:
        defects.note(DefectCode.BAD_DATE, date[:100].decode("latin-1"))
    return {
        "message_id_header": message_ids[0] if message_ids else None,
        "in_reply_to": answered[0] if answered else None,
        "references": read_references(fields, defects),
        "from_": senders[0] if senders else None,
        "to": read_address_field(fields, b"to", charset, defects),
        "cc": read_address_field(fields, b"cc", charset, defects),
        "bcc": read_address_field(fields, b"bcc", charset, defects),
        "reply_to": read_address_field(fields, b"reply-to", charset, defects),
        "subject": read_subject(fields, charset, defects),
        "date_header": moment,
        "is_auto_reply": is_auto_reply(fields),
    }


def is_auto_reply(fields: Fields) -> bool:
    """Whether a machine wrote it, so that no machine may answer it (RFC 3834 §2, §5; RFC 5321 §4.5.5)."""
    submitted = first(fields, b"auto-submitted").lower().partition(b";")[0].strip()
    if submitted and submitted != b"no":
        return True
    # Exchange: people's mail may suppress receipts (DR, RN, NRN); only machines refuse answers ([MS-OXCMAIL]).
    suppress = first(fields, b"x-auto-response-suppress").lower()
    if any(word.strip() in (b"all", b"oof", b"autoreply") for word in suppress.split(b",")):
        return True
    if first(fields, b"precedence").strip().lower() in (b"auto_reply", b"auto-reply"):
        return True
    if b"return-path" in fields and first(fields, b"return-path").strip() == b"<>":
        return True
    return any(name in fields for name in (b"x-autoreply", b"x-autorespond", b"x-auto-reply-from"))
