"""The names of folders, between the octets on the wire and what a person reads.

    mailbox = "INBOX" / astring                        RFC 3501: modified UTF-7 (§5.1.3); RFC 9051: UTF-8

A folder is kept by its own octets, which are sent back as they came; what is shown is made of them as well as can be:
servers send a lone `&` (`R&D`), UTF-8 and Latin-1 as they are, tabs. No name can be made of octets that hold a line
end or NUL: a command must not hold them.
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
    """A name to show; None where there is none. `is_utf8`: the server speaks IMAP4rev2 alone."""
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
    """What stands between `&` and `-`: UTF-16 in a base64 of its own; None where it is none, and stands for itself."""
    if not encoded:
        return "&"
    padded = encoded.replace(b",", b"/") + b"=" * (-len(encoded) % 4)
    try:
        text = base64.b64decode(padded, validate=True).decode("utf-16-be")
    except (binascii.Error, ValueError):
        return None
    return text or None
