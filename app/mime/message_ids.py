"""Reads Message-ID, In-Reply-To and References (RFC 5322 §3.6.4), and the irregular forms that mailers write.

Two mails belong together if both give the same text here, so an identifier has one spelling: with its brackets, without
white space. A text that may be a person's address is no identifier: an answer must not join a stranger's conversation.
"""

import html
import re

from app.mime.encoded_words import decode_value, decode_words
from app.mime.model import DefectCode, Defects
from app.mime.text import clean_line

MESSAGE_ID_MAX_OCTETS = 998
"""The length of a header line (RFC 5322 §2.1.1). More than 2,700 would be too long for an index of PostgreSQL."""

_ORDINARY = re.compile(rb"\s*+(?:<[!#-&(-;=?-Z^-~]{1,500}+>\s*+)++")
_BRACKETED = re.compile(r"<[^<>]++>")
_WORDS_OUTSIDE = re.compile(
    r"<[^<>\s]{1,998}+>|(?:=\?[^?\s]{1,80}\?[bBqQ]\?(?:[^?]|\?(?!=)){0,1000}+\?=\s*+)++"
)
_TOKEN = re.compile(
    r"<[<\s]{0,8}+(?P<id>[^<>]{1,1200}+)>|\((?P<comment>[^()<>]*+(?:<[^<>()]*+>[^()<>]*+)*+)\)"
    r'|"(?P<quoted>[^"]*+)"|(?P<word>[^\s<>()",;]++)'
)
_COMMENT = re.compile(r"\([^()]*+\)")
_SPACES = re.compile(r"\s+")


def read_message_ids(raw: bytes, defects: Defects, *, where: str) -> tuple[str, ...]:
    """The identifiers of a field, in order, each with its angle brackets.

    A word without brackets is an identifier if nothing else is there, or if all words have an "@". "your message of
    Monday to jan@firma.cz" contains none.
    """
    if _ORDINARY.fullmatch(raw):
        return tuple(_BRACKETED.findall(raw.decode("ascii")))
    value = decode_value(raw, defects, where=where)
    if "=?" in value:
        value = _WORDS_OUTSIDE.sub(lambda found: _decoded(found.group(), defects, where), value)
    if "&lt;" in value:
        value = html.unescape(value)
    ids, has_prose = _scan(value)
    if value.strip(" <>") and (not ids or "<" not in value):
        defects.record(DefectCode.BAD_MESSAGE_ID, where)
    if has_prose and len(ids) > 1 and not value.lstrip().startswith("<"):
        # "Message from Jan <jan@firma.cz> of Monday <87x@firma.cz>": people come before the identifier of the mail.
        ids = ids[-1:]
    return tuple(f"<{text}>" for each in ids if (text := _cut(clean_line(each, MESSAGE_ID_MAX_OCTETS))))


def _cut(text: str) -> str:
    return text if text.isascii() else text.encode()[:MESSAGE_ID_MAX_OCTETS].decode("utf-8", "ignore")


def _decoded(found: str, defects: Defects, where: str) -> str:
    return found if found.startswith("<") else decode_words(found, defects, where=where) + " "


def _scan(value: str) -> tuple[list[str], bool]:
    """The identifiers, and whether there are other words between them."""
    bracketed: list[str] = []
    within_quotes: list[str] = []
    all_in_order: list[str] = []
    words: list[str] = []
    for token in _TOKEN.finditer(value):
        if token["id"] is not None:
            ids = _split(token["id"])
            bracketed += ids
            all_in_order += ids
        elif token["quoted"] is not None:
            inner = token["quoted"].strip()
            if inner.startswith("<"):
                within_quotes += [
                    each for found in _TOKEN.finditer(inner) for each in _split(found["id"] or "")
                ]
            elif inner:
                words.append(inner)
                all_in_order.append(inner)
        elif token["word"] is not None and (word := token["word"].strip("'")):
            words.append(word)
            all_in_order.append(word)
    if all("@" in word and not _SPACES.search(word) for word in words):
        return all_in_order or within_quotes, False
    if not bracketed and len(words) == 1 and not _SPACES.search(words[0]) and not within_quotes:
        return words, False
    return bracketed or within_quotes, True


def _split(text: str) -> list[str]:
    """One identifier that was folded, or several that share a pair of brackets."""
    if "(" in text and _SPACES.search(text):
        text = _COMMENT.sub("", text)  # RFC 5322 §4.5.4: <1234 @ local(a comment) .example>
    words = text.strip("\"' \t").split() if text.count('"') < 3 else text.split()
    if len(words) > 1 and all("@" in word for word in words):
        return words
    return ["".join(words)] if words else []
