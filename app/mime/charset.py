"""Decodes octets to text by the name of a charset, which the sender chose and may have invented.

The parser process is sandboxed: it can import nothing after its first mail. So our own table turns a name into a decoder
of a fixed list, and all decoders of that list are loaded before (`load_codecs`). Of 7,710 collected mails, 38 use a name
that no registry knows (DEFAULT, X-GBK, GB2312_CHARSET, …).
"""

import codecs
import re
from collections.abc import Callable

from app.mime.charset_labels import CODECS, look_up
from app.mime.model import DefectCode, Defects

REPLACEMENT = "\ufffd"

# ISO 8859-2 has only control codes at 80-9F; Windows-1250 has Š Ť Ž š ť ž there. Czech webmails mislabel it.
_C1 = re.compile(rb"[\x80-\x9f]")
_HIGH_OCTETS = bytes(range(128, 256))
_PRINTABLE_ASCII = re.compile(rb"[\t\r\n -~]*+")
# U+FFFD too: no pair of octets stands for it.
_NO_CP932 = re.compile("[\uf8f0-\uf8f3\ufffd]")
# If this many octets are all ASCII, the text is ASCII, and not UTF-16 or UTF-32.
_WIDE_MIN_OCTETS = 8
_SEVEN_BIT = frozenset({"hz", "utf-7", *(name for name in CODECS if name.startswith("iso2022"))})

_resolved: dict[str, str | None] = {}
_RESOLVED_MAX = 1000


def python_codec(label: str) -> str | None:
    """Python's name of a charset. "": the label names none. None: the label is unknown."""
    if label not in _resolved:
        if len(_resolved) >= _RESOLVED_MAX:
            _resolved.clear()
        _resolved[label] = look_up(label)
    return _resolved[label]


def decode(data: bytes, label: str, defects: Defects, *, where: str) -> str:
    """Decode octets with a stated charset. Never fails; a defect records octets that do not fit.

    Without a usable label, the text is UTF-8 if it is valid UTF-8 or nearly (no other text looks like it by chance),
    otherwise Windows-1252. The result may hold controls and, from UTF-7, surrogates: the gate in `text` comes later.
    """
    codec = python_codec(label)
    if codec is None:
        defects.record(DefectCode.UNKNOWN_CHARSET, f"{label[:60]} in {where}")
        codec = ""
    if codec in ("", "ascii", "utf-8"):
        return _decode_utf8(data, codec, defects, where)
    fitting = _fitting(codec, data)
    if fitting != codec and fitting == "utf-8":
        defects.record(DefectCode.BAD_ENCODING, f"{codec} in {where}")
    if fitting == "cp932":
        return _decode_cp932(data, defects, where)
    is_wider = fitting in _READERS and len(data) <= _WIDER_MAX_OCTETS
    strict, lenient = (_WIDER, _WIDER_OR_REPLACED) if is_wider else ("strict", "replace")
    try:
        return data.decode(fitting, strict)
    except UnicodeError:
        defects.record(DefectCode.BAD_ENCODING, f"{codec} in {where}")
    try:
        return data.decode(fitting, lenient)
    except UnicodeError:  # some decoders fail even with "replace"
        return data.decode("latin-1")


def _decode_cp932(data: bytes, defects: Defects, where: str) -> str:
    """Python makes private characters of the octets A0 and FD to FF, which stand for nothing (WHATWG Encoding §12.3)."""
    text = data.decode("cp932", "replace")
    if _NO_CP932.search(text):
        text = _NO_CP932.sub(REPLACEMENT, text)
        defects.record(DefectCode.BAD_ENCODING, f"cp932 in {where}")
    return text


def load_codecs() -> None:
    """Import every decoder now, together with the modules that it imports at its first use."""
    for codec in sorted(CODECS | {"latin-1"}):
        for probe in (b"Dobr\xfd den", b"\xb0\xa1\x1b$B!!\x1b(B"):
            probe.decode(codec, "replace")


def _decode_utf8(data: bytes, codec: str, defects: Defects, where: str) -> str:
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        defects.record(DefectCode.BAD_ENCODING, f"{codec or 'no charset'} in {where}")
    text = data.decode("utf-8", "replace")
    return text if codec == "utf-8" or _is_nearly_utf8(data, text) else data.decode("cp1252", "replace")


def _is_nearly_utf8(data: bytes, text: str) -> bool:
    """Whether most characters beyond ASCII are well-formed. The last may have been cut off.

    In upper-case Czech in Windows-1250 (MŮŽE) a pair may look like UTF-8, but only few of the letters do.
    """
    beyond_ascii = len(text) - len(data.translate(None, _HIGH_OCTETS))
    broken = text.count(REPLACEMENT)
    return beyond_ascii - broken > broken - text.endswith(REPLACEMENT)


def _fitting(codec: str, data: bytes) -> str:
    """The codec that fits the octets, if they cannot be in the named one."""
    if codec == "iso8859-2":
        return "cp1250" if _C1.search(data) else codec
    if codec.startswith(("utf-16", "utf-32")):
        return _fitting_unicode(codec, data)
    if codec in _SEVEN_BIT and not data.isascii():
        for other in ("utf-8", "cp932") if b"\x1b" not in data else ():
            if _fits(data, other):
                return other
    return codec


def _fits(data: bytes, codec: str) -> bool:
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        return False
    return codec != "cp932" or not _NO_CP932.search(text)


def _fitting_unicode(codec: str, data: bytes) -> str:
    """UTF-16 and UTF-32 in the byte order of the mark (RFC 2781 §3.3), otherwise in the order that the zeros show."""
    if len(data) >= _WIDE_MIN_OCTETS and _PRINTABLE_ASCII.fullmatch(data):
        return "utf-8"
    if codec.startswith("utf-32"):
        marked = data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE))
        return codec if marked or codec != "utf-32" else _by_zeros(data[0::4], data[3::4], codec)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return codec if codec != "utf-16" else _by_zeros(data[0::2], data[1::2], codec)


def _by_zeros(firsts: bytes, lasts: bytes, codec: str) -> str:
    return f"{codec}-be" if firsts.count(0) > lasts.count(0) else f"{codec}-le"


# The functions below read the wider forms of charsets. They are called at each place where Python's decoder stops.
_WIDER, _WIDER_OR_REPLACED = "mail.wider", "mail.wider-or-replaced"
# Each place costs 2 µs in Python. A text with this many places would cost a second.
_WIDER_MAX_OCTETS = 512 * 1024
# How far back to look for the escape sequence that selects the present set. A line of ISO-2022 is shorter.
_ESCAPE_WITHIN_OCTETS = 1000


def _microsoft_japanese(data: bytes, at: int) -> str | None:
    """A pair of JIS X 0208 that only Windows has (CP51932, CP50221): NEC's row 13, IBM's rows 89 to 92.

    Windows-31J has all of them, under a number that is computed from row and cell.
    """
    pair = data[at : at + 2]
    if len(pair) < 2 or (pair[0] < 0x80) != (pair[1] < 0x80):
        return None
    row, cell = (pair[0] & 0x7F) - 0x21, (pair[1] & 0x7F) - 0x21
    if not (0 <= row < 94 and 0 <= cell < 94):
        return None
    lead = 0x81 + row // 2 if row < 62 else 0xC1 + row // 2
    trail = cell + 0x9F if row % 2 else cell + 0x40 + (cell >= 63)
    try:
        return bytes((lead, trail)).decode("cp932")
    except UnicodeDecodeError:
        return None


def _iso_2022_japanese(data: bytes, at: int) -> str | None:
    if 0xA1 <= data[at] <= 0xDF:  # half-width katakana, in eight bits (CP50221)
        return chr(0xFF61 + data[at] - 0xA1)
    escape = data.rfind(b"\x1b", max(0, at - _ESCAPE_WITHIN_OCTETS), at)
    is_pair = data[at] < 0x80 and escape >= 0 and data.startswith((b"\x1b$B", b"\x1b$@"), escape)
    return _microsoft_japanese(data, at) if is_pair else None


def _hong_kong(data: bytes, at: int) -> str | None:
    if not 0x81 <= data[at] <= 0xFE:
        return None
    try:
        return data[at : at + 2].decode("big5hkscs")
    except UnicodeDecodeError:
        return None


def _euro_of_gbk(data: bytes, at: int) -> str | None:
    return "€" if data[at] == 0x80 else None  # WHATWG Encoding §10.1.1


_Reader = Callable[[bytes, int], str | None]
_READERS: dict[str, tuple[_Reader, int]] = {
    "euc_jp": (_microsoft_japanese, 2),
    "cp950": (_hong_kong, 2),
    "gb18030": (_euro_of_gbk, 1),
    **{name: (_iso_2022_japanese, 0) for name in CODECS if name.startswith("iso2022_jp")},
}


def _read_wider(error: UnicodeError) -> tuple[str | None, int]:
    """The character at the place where the decoder stopped, if there is one, and the place where it must continue."""
    assert isinstance(error, UnicodeDecodeError)
    reader, octets = _READERS[error.encoding]
    data, at = error.object, error.start
    char = reader(data, at)
    if char is None:
        return None, error.end
    return char, at + (octets or (1 if data[at] >= 0x80 else 2))


def _wider(error: UnicodeError) -> tuple[str, int]:
    char, after = _read_wider(error)
    if char is None:
        raise error
    return char, after


def _wider_or_replaced(error: UnicodeError) -> tuple[str, int]:
    char, after = _read_wider(error)
    return char or REPLACEMENT, after


codecs.register_error(_WIDER, _wider)
codecs.register_error(_WIDER_OR_REPLACED, _wider_or_replaced)
