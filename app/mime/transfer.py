"""Decodes Content-Transfer-Encoding (RFC 2045 §6), tolerantly: damaged base64 gives what can be read.

Mailing lists and virus scanners paste plain text after a part that is base64. Read as base64, this text is garbage, and in
a file it would be octets that nobody sent. So text that is no base64 is kept apart (`Decoded.pasted`).
"""

import binascii
import re
from dataclasses import dataclass

from app.mime.model import DefectCode, Defects
from app.mime.uuencode import decode_uuencoded

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NEITHER_LETTER_NOR_PADDING = bytes(set(range(256)) - set(_ALPHABET + b"="))
_BASE64_OCTETS = _ALPHABET + b"=\r\n \t"
_IDENTITY = frozenset({"", "7bit", "8bit", "binary", "7-bit", "8-bit", "none", "7bits", "8bits", "plain"})
_BASE64 = frozenset({"base64", "base-64", "x-base64", "b64"})
_QUOTED_PRINTABLE = frozenset(
    {"quoted-printable", "quotedprintable", "quoted_printable", "x-quoted-printable", "quoted printable"}
)
_UUENCODE = frozenset({"x-uuencode", "uuencode", "x-uue", "uue", "x-uu", "x-uuencoded", "uuencoded"})

# Lines of base64, perhaps quoted (">"), as many as there are.
_LINES = re.compile(rb"(?:[ \t>]*+[A-Za-z0-9+/]*+=*+[ \t]*+\r?\n)*+(?:[ \t>]*+[A-Za-z0-9+/]++=*+[ \t]*+\Z)?+")
# Padded base64 with words after it on the same line.
_PADDED = re.compile(rb"[ \t>]*+[A-Za-z0-9+/]{6,}+=++(?=[ \t]++[^\s=])")
_WORDS_BEHIND = re.compile(rb"=++[ \t]++[^\s=]")
_LONG_LINE = re.compile(rb"^[ \t>]*+[A-Za-z0-9+/]{40,}+=*+[ \t]*+\r?$", re.M)
_GAP = re.compile(rb"\n[ \t]*+\r?\n")
GAPS_MAX = 20
_WORD = re.compile(rb"[A-Za-z\x80-\xff]{2}")
# The line before a mail in an mbox, or the first field of a mail: another mail follows, perhaps with base64 of its own.
_OTHER_MAIL = re.compile(rb"From [^\r\n]{1,200}+\r?\n|[A-Za-z][A-Za-z-]{1,60}+:[ \t]")
# These occur between words, and in content that is neither text nor base64. Noise on a line of base64 does not look so.
_SPACED = re.compile(rb"[^\s>][ \t]+[^\s=]|[\x00-\x08\x80-\xff]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# RFC 2045 §6.7 (3): white space after the "=" of a soft line break was added on the way.
_PADDED_BREAK = re.compile(rb"=[ \t]++(?=\r?\n|\Z)")
# Text this short may be a word whose letters are all in the alphabet of base64.
SHORT_MAX_OCTETS = 60


@dataclass(frozen=True, slots=True)
class Decoded:
    content: bytes
    pasted: bytes = b""
    """Plain text that somebody on the way added after the encoded content."""


def decode_base64(data: bytes) -> tuple[bytes, bool]:
    """The octets, and whether the base64 was well-formed.

    `a2b_base64` stops at the first padding. So it would cut off pieces that were encoded one by one and put together.
    """
    pad = data.find(b"=")
    try:
        if pad < 0 or not data[pad:].strip(b"=\r\n \t"):
            return binascii.a2b_base64(data), True
    except binascii.Error:
        pass
    pieces = []
    for letters in data.translate(None, _NEITHER_LETTER_NOR_PADDING).split(b"="):
        if letters:
            # A single letter after a group of four holds no whole octet.
            whole = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
            pieces.append(binascii.a2b_base64(whole + b"=" * (-len(whole) % 4)))
    return b"".join(pieces), False


def decoded_size(data: bytes, encoding: str) -> int | None:
    """The number of octets in correct base64, without decoding it. None: only decoding can tell."""
    if encoding not in _BASE64 or len(data) <= SHORT_MAX_OCTETS:
        return None
    others = data.translate(None, _ALPHABET)
    spaces = others.translate(None, b"=")
    padding = len(others) - len(spaces)
    letters = len(data) - len(spaces)
    pad = data.find(b"=")
    if spaces.strip(b"\r\n \t") or letters % 4 or padding > 2 or (padding and data[pad:].strip(b"=\r\n \t")):
        return None
    return letters // 4 * 3 - padding


def decode_transfer(
    data: bytes, encoding: str, defects: Defects, *, where: str, is_text: bool = False
) -> Decoded:
    """Decode the content. An unknown encoding counts as no encoding (RFC 2045 §6.4 forbids guessing)."""
    if encoding in _BASE64:
        decoded, well_formed = _decode_base64_part(data, is_text=is_text)
        if not well_formed:
            defects.record(DefectCode.BAD_TRANSFER_ENCODING, f"base64 in {where}")
        return decoded
    if encoding in _QUOTED_PRINTABLE:
        if b"= " in data or b"=\t" in data:
            data = _PADDED_BREAK.sub(b"=", data)
        return Decoded(binascii.a2b_qp(data))
    if encoding in _UUENCODE:
        content = decode_uuencoded(data)
        if content is not None:
            return Decoded(content)
        defects.record(DefectCode.BAD_TRANSFER_ENCODING, f"{encoding} in {where}")
    elif encoding not in _IDENTITY:
        defects.record(DefectCode.BAD_TRANSFER_ENCODING, f"{encoding[:60]} in {where}")
    return Decoded(data)


def _decode_base64_part(data: bytes, *, is_text: bool) -> tuple[Decoded, bool]:
    only_base64 = not data.translate(None, _BASE64_OCTETS)
    if only_base64 and not _has_odd_length(data) and not _WORDS_BEHIND.match(data, data.find(b"=")):
        content, well_formed = decode_base64(data)
        if is_text and len(data) <= SHORT_MAX_OCTETS and not _may_be_text(content, cut_off=False):
            return Decoded(data), False  # a word of plain text that looks like base64 by chance
        return Decoded(content), well_formed
    at = _base64_end(data)
    content, _ = decode_base64(data[:at])
    is_short = is_text and only_base64 and len(data) <= SHORT_MAX_OCTETS
    is_word = is_short and not _may_be_text(content, cut_off=True)
    if at == 0 or is_word:
        return Decoded(data), False
    pasted = data[at:].strip(b"\r\n")
    return Decoded(content, pasted if _WORD.search(pasted) else b""), False


def _has_odd_length(data: bytes) -> bool:
    return len(data.translate(None, b"\r\n \t")) % 4 != 0


def _may_be_text(content: bytes, *, cut_off: bool) -> bool:
    """Whether the content of short base64 can be text. Cut-off base64 is rare, so its content must look like good text."""
    if cut_off and not content.isascii():
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return False
    return not _CONTROL.search(content)


def _base64_end(data: bytes) -> int:
    """Where the base64 ends and plain text begins. 0: nothing is base64. The end: nothing is text."""
    lines = _LINES.match(data)
    at = lines.end() if lines else 0
    padded = _PADDED.match(data, at)
    if padded and _may_be_text(decode_base64(padded[0])[0], cut_off=True):
        return padded.end()
    if data[:at].rstrip().endswith(b"=") and _SPACED.search(data, at, at + SHORT_MAX_OCTETS):
        return at  # words after padding: the rest does not belong to the base64, whatever it contains
    if data[:at].strip() and _OTHER_MAIL.match(data, at) and not _has_odd_length(data[:at]):
        return at
    if _LONG_LINE.search(data, at):
        return len(data)  # damaged lines between good ones are noise
    gaps = [gap.start() for gap in _GAP.finditer(data, 0, at)][-GAPS_MAX:]
    for gap in reversed(gaps):
        if _is_base64_paragraph(data[gap:at], data[:gap]):
            break
        at = gap
    if data[:at].strip():
        return at
    return 0 if _SPACED.search(data) else len(data)


def _is_base64_paragraph(paragraph: bytes, before: bytes) -> bool:
    """Whether the letters after an empty line continue the base64, and are not the first words of a footer."""
    if _LONG_LINE.search(paragraph):
        return True
    if not paragraph.strip() or before.rstrip().endswith(b"="):
        return False
    return not _has_odd_length(paragraph)
