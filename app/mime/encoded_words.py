"""RFC 2047: text in headers. The standard library's reader is quadratic on 1 MB of encoded words and raises
on unknown charsets; this one goes over the value once.
"""

import binascii
import re

from app.mime.charset import decode
from app.mime.model import Defects
from app.mime.transfer import decode_base64

_START = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?")


def decode_value(value: bytes, defects: Defects, *, where: str, charset: str = "") -> str:
    """Unfold a header's octets and decode raw 8-bit text: UTF-8, else the mail's own charset, else 1252.

    RFC 6532 allows only UTF-8; old mailers write what their desk speaks.
    """
    if b"\n" in value or b"\r" in value:
        value = value.replace(b"\r", b"").replace(b"\n", b"")
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        pass
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return decode(value, charset if charset.lower() != "utf-8" else "", defects, where=where)


def decode_words(value: str, defects: Defects, *, where: str) -> str:
    """Replace encoded words by what they say; everything else stays.

    White space between two encoded words is dropped, and neighbours of one charset are joined before
    decoding: mailers split multi-octet characters, though RFC 2047 §5 forbids it.
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
    """All encoded words: start, end, charset, octets. Every "?=" is looked for once, so this is linear."""
    found = []
    at = 0
    while match := _START.search(value, at):
        end = value.find("?=", match.end())
        if end < 0:
            break
        # "=?utf-8?Q?=41?=": the payload may begin with "=", so the end is not looked for inside the start.
        charset, encoding = match.group(1).partition("*")[0].lower(), match.group(2)
        payload = value[match.end() : end].encode("utf-8", "replace")
        if encoding in "bB":
            data, _ = decode_base64(payload)
        else:
            data = binascii.a2b_qp(payload.replace(b" ", b"_"), header=True)
        found.append((match.start(), end + 2, charset, data))
        at = end + 2
    return found
