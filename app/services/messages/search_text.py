"""Folds text for search. The searched text and the query pass the same function, so `zlutoucky` finds `Žluťoučký`. The database
cannot do this, because the collations of SQLite and PostgreSQL differ."""

import re
import unicodedata

from app.errors import FieldFault, InvalidInput
from app.mime.model import Address, ParsedMail
from app.mime.text import clean_line

SEARCH_TEXT_MAX_CHARS = 1_000_000
QUERY_MAX_CHARS = 200

# Only the blocks of diacritical marks: combining characters of other scripts (Indic vowels) are part of the word.
_DIACRITICS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
_NOT_DECOMPOSED = str.maketrans({"ł": "l", "đ": "d", "ø": "o", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe"})


def fold(text: str) -> str:
    """The text without case and diacritics, with single spaces instead of white space."""
    if text.isascii():
        return " ".join(text.lower().split())
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return " ".join(_DIACRITICS.sub("", decomposed).translate(_NOT_DECOMPOSED).split())


def of_mail(mail: ParsedMail) -> str:
    """Subject, addresses and text of a mail, folded."""
    people = [mail.from_, *mail.reply_to, *mail.to, *mail.cc]
    parts = [mail.subject or "", *(_address(person) for person in people if person), mail.text or ""]
    return fold("\n".join(parts)[:SEARCH_TEXT_MAX_CHARS])


def words_of(query: str, *, field: str = "q") -> list[str]:
    """The folded words of a search, each of which must occur. Never empty.

    Raises:
        InvalidInput: the query contains nothing to search for, so it would select everything.
    """
    words = fold(clean_line(query, QUERY_MAX_CHARS)).split()
    if not words:
        raise InvalidInput(FieldFault(f"/{field}", "contains nothing to search for"))
    return words


def _address(person: Address) -> str:
    return f"{person.name or ''} {person.address}"
