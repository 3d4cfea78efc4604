"""Finds control characters in the values of headers, also in the text of encoded words.

Python up to 3.12 decodes `=?UTF-8?Q?=0A?=Bcc: a@b` while it folds, and writes the line break into the header.
"""

import base64
import re

from app.errors import FieldFault, InvalidInput

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bBqQ])\?(.*?)\?=")
_MAX_DECODING_ROUNDS = 5
_Q_OCTET = re.compile(rb"=([0-9A-Fa-f]{2})")


def refuse_controls(value: str, pointer: str) -> None:
    """Refuse a header value that contains a control character, also inside encoded words.

    Raises:
        InvalidInput: with `pointer`.
    """
    if not is_unicode(value):
        raise InvalidInput(FieldFault(pointer, "must be valid Unicode"))
    if has_controls(value):
        raise InvalidInput(FieldFault(pointer, "must not contain control characters, encoded or not"))


def has_controls(value: str) -> bool:
    """Whether the value contains a control character or line separator, at any depth of encoded words."""
    for _ in range(_MAX_DECODING_ROUNDS):
        if _CONTROLS.search(value):
            return True
        words = [_decoded(*match) for match in _ENCODED_WORD.findall(value)]
        if any(any(octet < 0x20 or octet == 0x7F for octet in octets) for octets, _ in words):
            return True
        replacements = iter(text for _, text in words)
        decoded = _ENCODED_WORD.sub(lambda _match: next(replacements), value)  # noqa: B023 - used at once
        if decoded == value:
            return False
        value = decoded
    return True  # nobody nests them so deep without bad intent


def is_unicode(value: str) -> bool:
    """Whether the text has no half of a surrogate pair, which no octets can stand for."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decoded(charset: str, encoding: str, payload: str) -> tuple[bytes, str]:
    """The octets of an encoded word, and their text as far as it is known."""
    octets = payload.encode()
    if encoding in "qQ":
        octets = _Q_OCTET.sub(lambda match: bytes([int(match[1], 16)]), octets.replace(b"_", b" "))
    else:
        kept = re.sub(rb"[^A-Za-z0-9+/]", b"", octets)
        kept = kept[: len(kept) - (len(kept) % 4 == 1)]
        octets = base64.b64decode(kept + b"=" * (-len(kept) % 4))
    try:
        return octets, octets.decode(charset.partition("*")[0], "replace")
    except (LookupError, ValueError):
        return octets, octets.decode("utf-8", "replace")
