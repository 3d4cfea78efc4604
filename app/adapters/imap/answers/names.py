"""Converts the names of folders between the octets in commands and the names that people read.

    mailbox = "INBOX" / astring                        RFC 3501: modified UTF-7 (§5.1.3); RFC 9051: UTF-8

A folder keeps its own octets, which are sent back unchanged. The shown name is decoded from them as well as possible:
servers send a single `&` (`R&D`), raw UTF-8 and Latin-1, tabs. Octets with a line end or NUL give no name, because a command
must not contain them.
"""

import base64
import binascii
import re

from imapclient import imap_utf7

MAX_NAME_OCTETS = 4096

_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*+)-")
_NEVER = re.compile(rb"[\r\n\0]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def shown(octets: bytes, *, is_utf8: bool = False) -> str | None:
    """The name to show. None: there is none. `is_utf8`: the server has IMAP4rev2 alone."""
    if not octets or len(octets) > MAX_NAME_OCTETS or _NEVER.search(octets):
        return None
    text = _text(octets) if is_utf8 else _from_utf7(octets)
    return "".join(REPLACEMENT if ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0 else each for each in text)


def on_the_wire(name: str, *, is_utf8: bool = False) -> bytes:
    """The octets of a name that no server has listed."""
    octets: bytes = name.encode("utf-8", "replace") if is_utf8 else imap_utf7.encode(name)
    return octets


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _from_utf7(octets: bytes) -> str:
    parts: list[str] = []
    end = 0
    for found in _SHIFTED.finditer(octets):
        decoded = _unshifted(found[1])
        if decoded is None:
            continue
        parts += [_text(octets[end : found.start()]), decoded]
        end = found.end()
    return "".join([*parts, _text(octets[end:])])


def _unshifted(encoded: bytes) -> str | None:
    """Decode the text between `&` and `-`: UTF-16 in a special base64. None: it is not encoded, so it stays as it is."""
    if not encoded:
        return "&"
    padded = encoded.replace(b",", b"/") + b"=" * (-len(encoded) % 4)
    try:
        text = base64.b64decode(padded, validate=True).decode("utf-16-be")
    except (binascii.Error, ValueError):
        return None
    return text or None
