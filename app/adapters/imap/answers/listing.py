"""LIST.

    "LIST" SP "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox [SP mbox-list-extended]
                                                                                    RFC 9051 §9
    mailbox = "INBOX" / astring;   astring = 1*ASTRING-CHAR / string;   `[` is an ASTRING-CHAR, `{` `(` `%` are not

Tolerated: names without quotes that contain spaces, tabs, quotes and brackets (they reach to the end of the line), a
backslash that escapes nothing, delimiters without quotes, with no or several characters, attributes in any case, a row
that comes twice. A row without a readable name is left out and counted.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.adapters.imap.answers import names
from app.adapters.imap.answers.response import Response

MAX_ROWS = 50_000
MAX_ROW_OCTETS = 4 * names.MAX_NAME_OCTETS
SPECIAL_USES = frozenset({"\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash"})
"""RFC 6154 §2."""

_ATTRIBUTES = re.compile(rb"[ \t]*+(?:\(([^)]*+)\)|NIL)[ \t]*+", re.IGNORECASE)
_DELIMITER = re.compile(rb'(?:"((?:[^"\\]|\\.)*+)"|([^\s"(]{1,8}))(?:[ \t]|\Z)')
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"[ \t]*+(?:\(.*)?\Z', re.DOTALL)
_EXTENDED = re.compile(
    rb'(?<![ \t])[ \t]++\((?:"?(?:CHILDINFO|OLDNAME)"?)[ \t].*\Z', re.IGNORECASE | re.DOTALL
)
_ESCAPED = re.compile(rb'\\(["\\])')


@dataclass(frozen=True, slots=True)
class Row:
    """One folder as the server lists it."""

    octets: bytes
    """Its name as it is sent back."""
    delimiter: str | None
    attributes: frozenset[str]
    """In the spelling of RFC 6154 and 9051, as `\\Trash`."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The rows in the server's order, no name twice."""

    rows: list[Row]
    left_out: int


def read_list(responses: Iterable[Response]) -> Listing:
    """The rows of an answer to LIST. Two rows with one name become one, with the attributes of both."""
    rows: dict[bytes, Row] = {}
    left_out = 0
    for response in responses:
        if response.kind not in {"LIST", "XLIST"}:
            continue
        row = _row(response)
        if row is None or (len(rows) >= MAX_ROWS and row.octets not in rows):
            left_out += 1
            continue
        before = rows.get(row.octets)
        if before is not None:
            row = Row(row.octets, before.delimiter, before.attributes | row.attributes)
        rows[row.octets] = row
    return Listing(list(rows.values()), left_out)


def _row(response: Response) -> Row | None:
    text = response.texts[0]
    if len(text) > MAX_ROW_OCTETS:
        return None
    attributes = _ATTRIBUTES.match(text)
    flags = frozenset(_flag(word) for word in (attributes[1] or b"").split()) if attributes else frozenset()
    position = attributes.end() if attributes else 0
    delimiter = _DELIMITER.match(text, position)
    if delimiter is None:
        return None
    name = _name(response, text[delimiter.end() :])
    if names.shown(name) is None:
        return None
    return Row(name, _delimiter(delimiter), flags)


def _name(response: Response, text: bytes) -> bytes:
    text = text.lstrip(b" ")
    if not text and response.literals:
        return response.literals[0]
    quoted = _QUOTED.match(text)
    if quoted is not None:
        return _ESCAPED.sub(rb"\1", quoted[1])
    if text.startswith(b'"') and text.rstrip().endswith(b'"') and len(text.rstrip()) > 1:
        return _ESCAPED.sub(rb"\1", text.rstrip()[1:-1])  # quotes within quotes
    return _EXTENDED.sub(b"", text).strip(b" ")


def _delimiter(found: re.Match[bytes]) -> str | None:
    octets = _ESCAPED.sub(rb"\1", found[1]) if found[1] is not None else found[2]
    if octets.upper() == b"NIL" and found[1] is None:
        return None
    return octets.decode("latin-1") if len(octets) == 1 else None


def _flag(word: bytes) -> str:
    text = word[:100].decode("latin-1")
    return "\\" + text[1:].capitalize() if text.startswith("\\") else text
