"""Content-Transfer-Encoding (RFC 2045 §6) undone, tolerantly: damaged base64 gives what can be read."""

import binascii

from app.mime.model import DefectCode, Defects

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_ALPHABET = bytes(set(range(256)) - set(_ALPHABET))
_IDENTITY = frozenset({"", "7bit", "8bit", "binary", "7-bit", "8-bit", "none"})


def decode_base64(data: bytes) -> tuple[bytes, bool]:
    """The octets, and whether the base64 was well-formed.

    `a2b_base64` stops at the first padding, so pieces encoded one by one and pasted together would be cut.
    """
    pad = data.find(b"=")
    try:
        if pad < 0 or not data[pad:].strip(b"=\r\n \t"):
            return binascii.a2b_base64(data), True
    except binascii.Error:
        pass
    pieces = []
    for piece in data.split(b"=") if pad >= 0 else [data]:
        letters = piece.translate(None, _NOT_ALPHABET)
        # One letter over four holds no whole octet.
        letters = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
        pieces.append(binascii.a2b_base64(letters + b"=" * (-len(letters) % 4)))
    return b"".join(pieces), False


def decode_transfer(data: bytes, encoding: str, defects: Defects, *, where: str) -> bytes:
    """Undo the encoding; an unknown one is read as if there were none (RFC 2045 §6.4 forbids guessing)."""
    if encoding == "base64":
        content, well_formed = decode_base64(data)
        if not well_formed:
            defects.note(DefectCode.BAD_TRANSFER_ENCODING, f"base64 in {where}")
        return content
    if encoding in ("quoted-printable", "quotedprintable"):
        return binascii.a2b_qp(data)
    if encoding not in _IDENTITY:
        defects.note(DefectCode.BAD_TRANSFER_ENCODING, f"{encoding[:60]} in {where}")
    return data
