"""Reads uuencode (POSIX uuencode), as a transfer encoding, and as files that old programs write into plain text.

Inside text, only complete and well-formed data counts as a file, because a mail may also talk about uuencode.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

_BEGIN = re.compile(rb"^begin [0-7]{3,4} ([^\r\n]{1,255}?)[ \t]*+\r?\n", re.M)
# Lines of data, then the line without data (its back-quote or space may get lost on the way), then "end".
_FILE = re.compile(rb"((?:[!-`][ -`]{0,64}+\r?\n)*+)(?:[ \t]*+\r?\n)*+end[ \t]*+(?:\r?\n|\Z)")
_LINE = re.compile(rb"[^\r\n]+")
FILES_MAX = 100


@dataclass(frozen=True, slots=True)
class UuencodedFile:
    name: bytes
    content: bytes
    begin: int
    end: int
    """Its position in the text."""


def find_uuencoded_files(text: bytes) -> Iterator[UuencodedFile]:
    """The complete files in a text, in order, at most FILES_MAX."""
    at = found = 0
    while found < FILES_MAX and (begin := _BEGIN.search(text, at)):
        at = begin.end()
        file = _FILE.match(text, at)
        if file is None:
            continue
        content = _decode_lines(file[1], strict=True)
        if content is not None:
            yield UuencodedFile(begin[1], content, begin.start(), file.end())
            found += 1
            at = file.end()


def decode_uuencoded(data: bytes) -> bytes | None:
    """The octets of a uuencoded part. None: it is not uuencoded. Data that is cut off gives the octets so far."""
    begin = _BEGIN.search(data)
    if begin is None:
        return None
    file = _FILE.match(data, begin.end())
    if file is not None:
        return _decode_lines(file[1], strict=False)
    whole, _, last = data[begin.end() :].rpartition(b"\n")
    content = _decode_lines(whole, strict=False) or b""
    return content + (_decode_line(last) or b"")[: max(len(last) - 1, 0) * 3 // 4] if last else content


def _decode_lines(lines: bytes, *, strict: bool) -> bytes | None:
    """The octets up to the first line that is not uuencode. If strict, None in case of such a line."""
    decoded = []
    room = len(lines)
    for line in _LINE.finditer(lines):
        octets = _decode_line(line.group())
        # Lost spaces mean zeros, so two octets could mean 45. But no file is larger than its text.
        if octets is None or len(octets) > room:
            if strict:
                return None
            break
        room -= len(octets)
        decoded.append(octets)
    content = b"".join(decoded)
    return None if strict and not content else content


def _decode_line(line: bytes) -> bytes | None:
    length = (line[0] - 32) & 63
    letters = -(-length // 3) * 4
    # Trailing spaces mean zeros and may get lost. Some programs add a checksum of one or two letters.
    if not 32 <= line[0] <= 96 or len(line) - 1 > letters + 2:
        return None
    try:
        return binascii.a2b_uu(line[: 1 + letters])
    except binascii.Error:
        return None
