"""Recognises the kind of a line from a server by its first words.

    response-data     = "*" SP response-payload CRLF                                  RFC 9051 §9
    response-payload  = resp-cond-state / resp-cond-bye / mailbox-data / message-data / capability-data / …
    response-tagged   = tag SP resp-cond-state CRLF
    resp-cond-state   = ("OK" / "NO" / "BAD") SP resp-text
    continue-req      = "+" SP (resp-text / base64) CRLF

Tolerated: LF alone, keywords in any case, no text after a status, more than one space, a response code outside an `* OK`
(Exchange 2013 and Office 365 send `[COPYUID 124 10 233]` as a line of its own).
"""

import re
from dataclasses import dataclass

STATUSES = frozenset({"OK", "NO", "BAD", "BYE", "PREAUTH"})

_UNTAGGED = re.compile(rb"\*[ \t]*+(?:(\d{1,20})[ \t]++)?([A-Za-z][A-Za-z0-9-]*+)[ \t]?(.*)\Z", re.DOTALL)
_TAGGED = re.compile(rb"([A-Za-z0-9]{1,64})[ \t]++([A-Za-z]{2,3})(?![A-Za-z])[ \t]*+(.*)\Z", re.DOTALL)
_LITERAL = re.compile(rb"~?\{(\d{1,20})\+?\}\Z")


@dataclass(frozen=True, slots=True)
class Response:
    """An untagged response: its keyword in capitals, its number if it has one, and the rest: the texts before, between and
    after its literals, without line ends. There is one more text than there are literals."""

    kind: str
    number: int | None
    texts: tuple[bytes, ...]
    literals: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Tagged:
    """The end of an answer."""

    tag: bytes
    status: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Continuation:
    """The server waits for more data."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is not IMAP."""


Line = Response | Tagged | Continuation | Unreadable


def read_line(line: bytes) -> Line:
    """The kind and content of a line, which comes without its line end."""
    if line.startswith(b"+"):
        return Continuation(line[1:].lstrip(b" "))
    if line.startswith(b"["):
        return Response("OK", None, (line,))
    untagged = _UNTAGGED.match(line)
    if untagged is not None:
        number = int(untagged[1]) if untagged[1] is not None else None
        return Response(untagged[2].decode("ascii").upper(), number, (untagged[3],))
    tagged = _TAGGED.match(line)
    if tagged is not None and tagged[2].upper() in {b"OK", b"NO", b"BAD"}:
        return Tagged(tagged[1], tagged[2].decode("ascii").upper(), tagged[3])
    return Unreadable()


def literal_size(line: bytes) -> int | None:
    """The number of octets in the literal that follows this text (RFC 9051 §4.3). None: no literal follows."""
    if not line.endswith(b"}"):
        return None
    found = _LITERAL.search(line, max(0, len(line) - 25))
    return int(found[1]) if found is not None else None


def without_literal(line: bytes) -> bytes:
    """The text before the announcement of a literal."""
    return line[: line.rindex(b"{")].removesuffix(b"~")
