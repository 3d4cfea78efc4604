"""Encodes and folds the values of headers (RFC 5322, RFC 2047).

The gateway does this itself, because the folding of `email` differs between releases: 3.11 loses the quotes around a comma in
a long display name.
"""

import base64
import re
from collections.abc import Sequence

from app.mime.control_characters import has_controls
from app.mime.entered_addresses import Mailbox

_PLAIN_NAME = re.compile(r"[A-Za-z0-9]+(?: [A-Za-z0-9]+)*")
# With what RFC 5322 does not allow and programs write: spaces, odd characters, up to a whole line.
_MSG_ID = re.compile(r"<[!-;=?-~](?:[ !-;=?-~]{0,992}[!-;=?-~])?>")
_LINE_CHARS = 66  # beside the longest name of a header of ours, a line stays below RFC 5322's 78
_WORD_OCTETS = 36
_LONGEST_LINE = 998  # RFC 5322 §2.1.1


def usable_msg_id(value: str | None) -> str | None:
    """A Message-ID from a received mail, if a header of ours can hold it. A space in it stays: its mailer looks for it so."""
    if value is None or not _MSG_ID.fullmatch(value) or has_controls(value):
        return None
    return value


def msg_id(value: str) -> str:
    """A Message-ID of ours, or one from `usable_msg_id`.

    Raises:
        ValueError: it is neither.
    """
    if usable_msg_id(value) is None:
        raise ValueError("not a Message-ID")
    return value


def addresses(mailboxes: Sequence[Mailbox]) -> str:
    """The value of a header with addresses, each on a line of its own."""
    return ",\r\n ".join(_mailbox(mailbox) for mailbox in mailboxes)


def _mailbox(mailbox: Mailbox) -> str:
    if mailbox.name is None or not mailbox.name.strip():
        return mailbox.address
    name = mailbox.name.strip()
    if _PLAIN_NAME.fullmatch(name) and len(name) < _LINE_CHARS:
        phrase = name
    elif name.isascii() and "=?" not in name and len(name) < _LINE_CHARS:
        phrase = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        phrase = encoded_words(name)
    fold = "\r\n" if len(phrase) + len(mailbox.address) > _LINE_CHARS else ""
    return f"{phrase}{fold} <{mailbox.address}>"


def unstructured(value: str) -> str:
    """The text unchanged if it is ASCII, does not look like an encoded word, and can be folded at single spaces."""
    if not value.isascii() or "=?" in value:
        return encoded_words(value)
    lines = [""]
    for word in re.split(r"(?<=[^ ])(?= [^ ])", value):
        if len(word) > _LINE_CHARS:
            return encoded_words(value)
        if len(lines[-1]) + len(word) > _LINE_CHARS:
            lines.append("")
        lines[-1] += word
    return "\r\n".join(lines)


def encoded_words(value: str) -> str:
    """Encoded words (RFC 2047 §2) of at most 75 characters. None ends inside a character (§5)."""
    words, octets = [], b""
    for character in value:
        encoded = character.encode()
        if len(octets) + len(encoded) > _WORD_OCTETS:
            words.append(octets)
            octets = b""
        octets += encoded
    words.append(octets)
    return "\r\n ".join(f"=?utf-8?B?{base64.b64encode(word).decode()}?=" for word in words)


def folded(name: str, words: Sequence[str]) -> str:
    """Each word on a line of its own, the first behind the name of the header if there is room."""
    is_long = len(name) + 2 + len(words[0]) > _LONGEST_LINE
    return "\r\n ".join(["", *words] if is_long else words)
