"""Reads text in headers (RFC 2047). The standard library's reader is quadratic on 1 MB of encoded words and raises on
unknown charsets; this one reads the value once.
"""

import binascii
import re

from app.mime.charset import decode, python_codec
from app.mime.model import Defects
from app.mime.transfer import decode_base64

_START = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?")
_START_OCTETS = re.compile(rb"=\?([^?\s]{1,80})\?([bBqQ])\?")
_HIGH = re.compile(rb"[\x80-\xff]++")
_ESCAPE_OCTETS = re.compile("[0-9A-F]{2}")


def decode_value(value: bytes, defects: Defects, *, where: str, charset: str = "") -> str:
    """Unfold the octets of a header and decode raw 8-bit text: as UTF-8, otherwise in the mail's charset, otherwise as 1252.

    RFC 6532 allows only UTF-8, but old mailers write in their local charset. Raw octets inside an encoded word are in the
    charset of the word: they become escapes here, so that `decode_words` reads them with the others.
    """
    if b"\n" in value or b"\r" in value:
        value = value.replace(b"\r", b"").replace(b"\n", b"")
    if value.isascii():
        return value.decode("ascii")
    if b"=?" in value:
        value = _escape_words(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        pass
    said = charset if charset.lower() not in ("utf-8", "utf8", "us-ascii") else ""
    return decode(value, "" if said and _is_mostly_utf8(value) else said, defects, where=where)


def _is_mostly_utf8(value: bytes) -> bool:
    """Whether most octets beyond ASCII are well-formed UTF-8. Then single octets were damaged; a one-octet charset would
    have more errors."""
    text = value.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return sum(char > "\x7f" for char in text) > 2 * broken


def _escape_words(value: bytes) -> bytes:
    """Turn encoded words into ASCII: raw octets in Q become escapes, raw octets in B are dropped (RFC 2045 §6.8)."""
    out: list[bytes] = []
    done = at = 0
    while match := _START_OCTETS.search(value, at):
        end = value.find(b"?=", match.end())
        if end < 0:
            break
        payload = value[match.end() : end]
        if not payload.isascii():
            is_q = match[2] in b"qQ"
            # Raw octets are often not in the named charset, if that is a one-octet charset.
            label = b"utf-8" if is_q and _is_other_utf8(match[1].decode("latin-1"), payload) else match[1]
            out += [value[done : match.start()], b"=?", label, b"?", match[2], b"?"]
            out.append(_HIGH.sub(_escape if is_q else b"", payload))
            done = end
        at = end + 2
    return b"".join([*out, value[done:]])


def _is_other_utf8(label: str, payload: bytes) -> bool:
    codec = python_codec(label.partition("*")[0]) or ""
    if not codec.startswith(("iso8859", "cp125", "ascii", "koi8", "mac")):
        return False
    try:
        binascii.a2b_qp(payload, header=True).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _escape(match: re.Match[bytes]) -> bytes:
    return b"".join(b"=%02X" % octet for octet in match.group())


def decode_words(value: str, defects: Defects, *, where: str) -> str:
    """Replace encoded words by their text; everything else stays.

    White space between two encoded words is dropped. Neighbours with one charset are joined before they are decoded,
    because mailers split multi-octet characters, although RFC 2047 §5 forbids it.
    """
    if "=?" not in value:
        return value
    out: list[str] = []
    pending: list[bytes] = []
    pending_charset = ""
    done = 0

    def flush() -> None:
        if pending:
            out.append(decode(b"".join(pending), pending_charset, defects, where=where))
            pending.clear()

    for start, end, charset, data in _words(value):
        between = value[done:start]
        if between and not (pending and between.isspace()):
            flush()
            out.append(between)
        if charset != pending_charset:
            flush()
            pending_charset = charset
        pending.append(data)
        done = end
    flush()
    out.append(value[done:])
    return "".join(out)


def _words(value: str) -> list[tuple[int, int, str, bytes]]:
    """All encoded words: start, end, charset, octets. It searches for each "?=" once, so it is linear."""
    found = []
    at = 0
    while match := _START.search(value, at):
        end = _end_of_word(value, match.end(), match.group(2) in "qQ")
        if end < 0:
            break
        # "=?utf-8?Q?=41?=": the payload may begin with "=", so search for the end only after the start.
        charset, encoding = match.group(1).partition("*")[0].lower(), match.group(2)
        payload = value[match.end() : end].encode("utf-8", "replace")
        if encoding in "bB":
            data, _ = decode_base64(payload)
        else:
            data = binascii.a2b_qp(payload.replace(b" ", b"_"), header=True)
        found.append((match.start(), end + 2, charset, data))
        at = end + 2
    return found


def _end_of_word(value: str, at: int, is_q: bool) -> int:
    """The end of the payload. A raw question mark before an escape (`?=C5`) is not the end if a later end exists."""
    end = value.find("?=", at)
    while is_q and end >= 0 and _ESCAPE_OCTETS.match(value, end + 2):
        later = value.find("?=", end + 2)
        if later < 0 or " " in value[end:later] or "=?" in value[end:later]:
            break
        end = later
    return end
