"""Writes the name of an attachment into its headers (RFC 2183, RFC 2231), so that programs of any age can read it.

A name in ASCII stands as it is, however long: some programs do not join the pieces of RFC 2231 and show "tcmime.bin". Any
other name is written twice: by RFC 2231 in Content-Disposition, and as encoded words in Content-Type, where older programs
look (RFC 2047 §5 does not allow it, and Outlook, Gmail and Thunderbird do it).
"""

import re
import unicodedata
from urllib.parse import quote

NAME_MAX_CHARS = 255
DEFAULT_NAME = "attachment"

_PIECE_CHARS = 54
_PLAIN = re.compile(r"(?! )[ !#-\[\]-~]{1,900}(?<! )")  # a line has at most 998 octets (RFC 5322 §2.1.1)
_JOINERS = frozenset("\u200c\u200d")


def without_marks(name: str) -> str:
    """The name without invisible marks: they come along where a name is copied, and can disguise its end.

    The joiners of Persian and of composed emoji stay between two characters beyond ASCII, where they can be seen.
    """
    kept = []
    for at, character in enumerate(name):
        if unicodedata.category(character) == "Cf":
            around = name[at - 1 : at] + name[at + 1 : at + 2]
            if character not in _JOINERS or len(around) < 2 or not all(each > "\x7f" for each in around):
                continue
        kept.append(character)
    return "".join(kept).strip() or DEFAULT_NAME


def is_plain(name: str) -> bool:
    """Whether the name can stand in quotes as it is."""
    return _PLAIN.fullmatch(name) is not None and "=?" not in name


def filename_parameter(name: str) -> str:
    """The parameter `filename` of Content-Disposition, in pieces if it is long (RFC 2231 §3 and §4)."""
    if is_plain(name):
        return f'filename="{name}"'
    pieces = ["utf-8''"]
    for character in name:
        encoded = quote(character, safe="")
        if len(pieces[-1]) + len(encoded) > _PIECE_CHARS:
            pieces.append("")
        pieces[-1] += encoded
    if len(pieces) == 1:
        return f"filename*={pieces[0]}"
    return ";\r\n ".join(f"filename*{number}*={piece}" for number, piece in enumerate(pieces))
