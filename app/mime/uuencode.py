"""Files in uuencode (POSIX uuencode): as a transfer encoding, and written into plain text by old programs.

Inside text only what is complete and well-formed is taken for a file: a mail may talk about uuencode.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

_BEGIN = re.compile(rb"^begin [0-7]{3,4} ([^\r\n]{1,255}?)[ \t]*+\r?\n", re.M)
# Lines of data, the line without data (its back-quote or space may be lost on the way), "end".
_FILE = re.compile(rb"((?:[!-`][ -`]{0,64}+\r?\n)*+)(?:[ \t]*+\r?\n)*+end[ \t]*+(?:\r?\n|\Z)")
_LINE = re.compile(rb"[^\r\n]+")
FILES_MAX = 100


@dataclass(frozen=True, slots=True)
class UuencodedFile:
    name: bytes
    content: bytes
    begin: int
    end: int
    """Where it stands in the text."""


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
    """The octets of a part that is uuencoded; None where it is not. What is cut off gives what came."""
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
    """The octets up to the first line that is no uuencode; when strict, None where there is such a line."""
    decoded = []
    room = len(lines)
    for line in _LINE.finditer(lines):
        octets = _decode_line(line.group())
        # Lost spaces stand for zeros: two octets could mean 45. No file is larger than its text.
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
    # Trailing spaces stand for zeros and get lost; some programs add a checksum of one or two letters.
    if not 32 <= line[0] <= 96 or len(line) - 1 > letters + 2:
        return None
    try:
        return binascii.a2b_uu(line[: 1 + letters])
    except binascii.Error:
        return None
