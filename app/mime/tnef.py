"""Reads winmail.dat, the attachment in which Outlook packs its content (TNEF, [MS-OXTNEF]; properties by [MS-OXPROPS]).

It is a flat sequence of attributes, some of which hold a list of MAPI properties. If the data is damaged or cut off, the
result is what came before. A size only selects a piece of the data, so no result can be larger than the data.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.mime.charset import decode
from app.mime.model import Defects

SIGNATURE = bytes.fromhex("789f3e22")
ATTRIBUTES_MAX = 20_000
PROPERTIES_MAX = 5_000
VALUES_MAX = 10_000

_ATTRIBUTE = struct.Struct("<BHHI")  # level, id, type, length; after the data a checksum of two octets
_BODY, _MESSAGE_CLASS, _DATA, _TITLE = 0x800C, 0x8008, 0x800F, 0x8010
_RENDER_DATA, _MESSAGE_PROPERTIES, _ATTACHMENT_PROPERTIES, _CODEPAGE = 0x9002, 0x9003, 0x9005, 0x9007

_PR_BODY, _PR_HTML, _PR_RTF, _PR_INTERNET_CPID = 0x1000, 0x1013, 0x1009, 0x3FDE
_PR_DATA, _PR_LONG_NAME, _PR_NAME, _PR_DISPLAY_NAME = 0x3701, 0x3707, 0x3704, 0x3001
_PR_MIME_TAG, _PR_CONTENT_ID = 0x370E, 0x3712

_OBJECT, _STRING8, _UNICODE, _BINARY = 0x0D, 0x1E, 0x1F, 0x102
_FIXED_OCTETS = {
    0x02: 4, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x0A: 4, 0x0B: 4, 0x14: 8, 0x40: 8, 0x48: 16,
}  # fmt: skip
_MULTIPLE = 0x1000
_NAMED_FROM = 0x8000
_MESSAGE_INTERFACE = bytes.fromhex("0703020000000000c000000000000046")  # IID_IMessage: a mail inside
_CODEPAGES = {
    65001: "utf-8", 1200: "utf-16-le", 20127: "us-ascii", 20866: "koi8-r", 21866: "koi8-u", 28591: "iso-8859-1",
    28592: "iso-8859-2", 28595: "iso-8859-5", 28597: "iso-8859-7", 28599: "iso-8859-9", 28605: "iso-8859-15",
    50220: "iso-2022-jp", 51932: "euc-jp", 51949: "euc-kr", 936: "gb18030", 54936: "gb18030", 932: "shift_jis",
    949: "euc-kr", 950: "big5", 874: "windows-874",
}  # fmt: skip


@dataclass(slots=True)
class TnefFile:
    name: str = ""
    content: bytes = b""
    media_type: str = ""
    content_id: str = ""
    is_mail: bool = False
    """The content is TNEF itself: an attached mail."""


@dataclass(slots=True)
class Tnef:
    files: list[TnefFile] = field(default_factory=list)
    message_class: str = ""
    charset: str = ""
    """The charset of text that is not Unicode."""
    html_charset: str = ""
    text: str | bytes = b""
    html: str | bytes = b""
    compressed_rtf: bytes = b""
    is_whole: bool = True


def charset_of(codepage: int) -> str:
    """The charset with this number in Windows. Empty if there is none."""
    known = _CODEPAGES.get(codepage)
    if known is not None:
        return known
    if 1250 <= codepage <= 1258:
        return f"windows-{codepage}"
    return f"cp{codepage}" if 0 < codepage < 1000 else ""


def read_tnef(data: bytes) -> Tnef | None:
    """The packed content. None: this is no TNEF."""
    if not data.startswith(SIGNATURE):
        return None
    found = Tnef()
    for attribute, value in _attributes(data, found):
        _take(found, attribute, value)
    return found


def _attributes(data: bytes, found: Tnef) -> Iterator[tuple[int, bytes]]:
    at = len(SIGNATURE) + 2  # the key
    for _ in range(ATTRIBUTES_MAX):
        if at + _ATTRIBUTE.size > len(data):
            found.is_whole = found.is_whole and not data[at:].strip(b"\0\r\n")
            return
        level, attribute, _, length = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if level not in (1, 2):
            break
        yield attribute, data[at : at + length]
        at += length + 2
        if at > len(data) + 2:
            break
    found.is_whole = False


def _take(found: Tnef, attribute: int, value: bytes) -> None:
    if attribute == _RENDER_DATA:
        found.files.append(TnefFile())
    elif attribute == _CODEPAGE:
        found.charset = charset_of(int.from_bytes(value[:4], "little"))
    elif attribute == _MESSAGE_CLASS:
        found.message_class = value.rstrip(b"\0").decode("ascii", "replace").lower()
    elif attribute == _BODY:
        found.text = found.text or value.rstrip(b"\0")
    elif attribute == _MESSAGE_PROPERTIES:
        _take_message(found, value)
    elif found.files:
        _take_attached(found, found.files[-1], attribute, value)


def _take_message(found: Tnef, value: bytes) -> None:
    for identifier, stated in _properties(value, found):
        if identifier == _PR_BODY:
            found.text = stated
        elif identifier == _PR_HTML:
            found.html = stated
        elif identifier == _PR_RTF and isinstance(stated, bytes):
            found.compressed_rtf = stated
        elif identifier == _PR_INTERNET_CPID and isinstance(stated, bytes):
            found.html_charset = charset_of(int.from_bytes(stated, "little"))


def _take_attached(found: Tnef, file: TnefFile, attribute: int, value: bytes) -> None:
    if attribute == _TITLE:
        file.name = file.name or _text(value, found.charset)
    elif attribute == _DATA:
        file.content = value
    elif attribute == _ATTACHMENT_PROPERTIES:
        stated = dict(_properties(value, found))
        names = (_text(stated.get(key, b""), found.charset) for key in (_PR_LONG_NAME, _PR_NAME))
        file.name = next((name for name in names if name), file.name)
        file.name = file.name or _text(stated.get(_PR_DISPLAY_NAME, b""), found.charset)
        file.media_type = _text(stated.get(_PR_MIME_TAG, b""), found.charset).strip().lower()
        file.content_id = _text(stated.get(_PR_CONTENT_ID, b""), found.charset)
        inner = stated.get(_PR_DATA, b"")
        if isinstance(inner, bytes) and inner and not file.content:
            file.is_mail = inner.startswith(_MESSAGE_INTERFACE)
            file.content = inner[len(_MESSAGE_INTERFACE) :] if file.is_mail else inner


def _text(value: str | bytes, charset: str) -> str:
    return (
        value
        if isinstance(value, str)
        else decode(value.rstrip(b"\0"), charset, Defects(), where="winmail.dat")
    )


class _Cursor:
    """Reads octets one after the other. After the end, results are empty and `ended` is true."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self.ended = False

    def octets(self, count: int) -> bytes:
        """This number of octets. Their end is padded to a multiple of four."""
        value = self._data[self._at : self._at + count]
        self._at += count + -count % 4
        self.ended = self.ended or len(value) < count
        return value

    def number(self) -> int:
        return int.from_bytes(self.octets(4), "little")


def _properties(data: bytes, found: Tnef) -> Iterator[tuple[int, str | bytes]]:
    """The identifiers and values of a list of MAPI properties. If a property has several values, the first."""
    cursor = _Cursor(data)
    for _ in range(min(cursor.number(), PROPERTIES_MAX)):
        head = cursor.number()
        kind, identifier = head & 0xFFFF, head >> 16
        if identifier >= _NAMED_FROM:
            cursor.octets(16)
            is_numbered = cursor.number() == 0
            cursor.number() if is_numbered else cursor.octets(cursor.number())
        value = _value(cursor, kind)
        if value is None or cursor.ended:
            found.is_whole = False
            return
        yield identifier, value


def _value(cursor: _Cursor, kind: int) -> str | bytes | None:
    """The value. None: its length is unknown."""
    fixed = _FIXED_OCTETS.get(kind & ~_MULTIPLE)
    is_variable = kind & ~_MULTIPLE in (_OBJECT, _STRING8, _UNICODE, _BINARY)
    if fixed is None and not is_variable:
        return None
    count = cursor.number() if is_variable or kind & _MULTIPLE else 1
    first = b""
    for n in range(min(count, VALUES_MAX)):
        value = cursor.octets(fixed if fixed is not None else cursor.number())
        first = first if n else value
        if cursor.ended:
            break
    if kind & ~_MULTIPLE == _UNICODE:
        return first.decode("utf-16-le", "replace").rstrip("\0")
    return first.rstrip(b"\0") if kind & ~_MULTIPLE == _STRING8 else first
