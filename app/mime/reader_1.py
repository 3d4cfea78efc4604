"""The rules by which reader 1 numbered and decoded attachments. It stored no positions, so its lists need its own rules.

This code does not change with later readers. Remove it when no database holds a list of reader 1 any more. The rules are
applied to the tree of today's reader; the listed sizes prove that both mean the same parts.
"""

import binascii
from collections.abc import Iterable, Sequence

from app.mime.headers import first
from app.mime.structure import Part

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_ALPHABET = bytes(set(range(256)) - set(_ALPHABET))
_NEVER_BODY = frozenset({"text/calendar", "text/vcard", "text/x-vcard", "text/directory", "text/csv"})


def find_parts(raw: bytes, root: Part, sizes: Sequence[int]) -> list[Part | None]:
    """The parts that reader 1 listed with these sizes, in its order. None: it is not certain which part it was."""
    leaves = _leaves(root)
    attached = [part for part in leaves if not _is_body(part)]
    found = _matched(attached, [len(decode(raw, part)) for part in attached], sizes)
    if found is None:
        found = _matched(leaves, [len(decode(raw, part)) for part in leaves], sizes)
    return found if found is not None else [None] * len(sizes)


def decode(raw: bytes, part: Part) -> bytes:
    """The content of a part, decoded from its transfer encoding as reader 1 did."""
    data = raw[part.begin : part.end]
    value = first(part.fields, b"content-transfer-encoding")
    stated = value[:100].decode("latin-1").partition(";")[0].partition("(")[0].strip(" \t\r\n\"'").lower()
    if stated == "base64":
        return _decode_base64(data)
    return binascii.a2b_qp(data) if stated in ("quoted-printable", "quotedprintable") else data


def _matched(parts: Sequence[Part], has: Sequence[int], sizes: Sequence[int]) -> list[Part | None] | None:
    """The parts with these sizes, in order. None: not all of them exist. A single None: more than one part is possible."""
    leftmost = _subsequence(range(len(has)), has, sizes)
    rightmost = _subsequence(range(len(has) - 1, -1, -1), has, sizes[::-1])
    if leftmost is None or rightmost is None:
        return None
    pairs = zip(leftmost, reversed(rightmost), strict=True)
    return [parts[left] if left == right else None for left, right in pairs]


def _subsequence(order: Iterable[int], has: Sequence[int], sizes: Sequence[int]) -> list[int] | None:
    """The first places, in this order, at which the sizes follow each other. None: there are none."""
    taken: list[int] = []
    for at in order:
        if len(taken) < len(sizes) and has[at] == sizes[len(taken)]:
            taken.append(at)
    return taken if len(taken) == len(sizes) else None


def _leaves(root: Part) -> list[Part]:
    """The leaves in the order of the mail. A container that reader 1 did not open is a leaf."""
    found: list[Part] = []
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.children and part.media_type.startswith("multipart/"):
            waiting += reversed(part.children)
        else:
            found.append(part)
    return found


def _is_body(part: Part) -> bool:
    if part.disposition == "attachment" or not part.media_type.startswith(("text/", "multipart/")):
        return False
    if part.media_type.startswith("multipart/"):
        return part.parent is None or part.begin == part.end or not part.parameters.get("boundary")
    if part.parent is None:
        return part.media_type not in _NEVER_BODY
    if part.media_type not in ("text/plain", "text/html"):
        return False
    if (
        part.parent.media_type == "multipart/related"
        and first(part.fields, b"content-id").strip().strip(b"<>").strip()
        and part.parent.children[0] is not part
    ):
        return False
    named = "filename" in part.disposition_parameters or "name" in part.parameters
    return not named or (part.parent.media_type == "multipart/alternative" and part.disposition != "inline")


def _decode_base64(data: bytes) -> bytes:
    pad = data.find(b"=")
    try:
        if pad < 0 or not data[pad:].strip(b"=\r\n \t"):
            return binascii.a2b_base64(data)
    except binascii.Error:
        pass
    pieces = []
    for piece in data.split(b"=") if pad >= 0 else [data]:
        letters = piece.translate(None, _NOT_ALPHABET)
        letters = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
        pieces.append(binascii.a2b_base64(letters + b"=" * (-len(letters) % 4)))
    return b"".join(pieces)
