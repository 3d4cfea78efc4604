"""Reads the words of a response, one after the other (RFC 9051 §4).

    string    = quoted / literal
    quoted    = DQUOTE *QUOTED-CHAR DQUOTE
    nil       = "NIL"
    atom      = 1*ATOM-CHAR
    list      = "(" … ")"

Tolerated: tabs instead of spaces, atoms of any other characters, numbers instead of strings, quotes without an end (they
reach to the end of the text).
"""

import re
from dataclasses import dataclass
from enum import Enum

from app.adapters.imap.answers.response import Response

_SPACES = re.compile(rb"[ \t]*+")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)("?)', re.DOTALL)
_ATOM = re.compile(rb'[^\s()"]++')
_NAME = re.compile(rb"[^\s()\[\"]++(?:\[[^\]]*+\](?:<\d++>)?)?")
_ESCAPED = re.compile(rb'\\(["\\])')
_LIST_PART = re.compile(rb'[^()"]++|"(?:[^"\\]|\\.)*+"?|[()]', re.DOTALL)
MAX_LIST_OCTETS = 64 * 1024
MAX_LIST_PARTS = 10_000


class Kind(Enum):
    """The kind of a token."""

    STRING = "string"
    ATOM = "atom"
    NIL = "nil"
    LIST = "list"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A value. The octets of a list are the text between its brackets, without its literals."""

    kind: Kind
    octets: bytes = b""


END = Token(Kind.END)


class Cursor:
    """Reads a response from left to right. It looks at each octet a constant number of times."""

    def __init__(self, response: Response) -> None:
        self._texts = response.texts
        self._literals = response.literals
        self._part = 0
        self._position = 0

    def _skip_spaces(self) -> None:
        found = _SPACES.match(self._texts[self._part], self._position)
        assert found is not None  # the pattern also matches the empty text
        self._position = found.end()

    @property
    def is_at_literal(self) -> bool:
        """Whether the text has ended and a literal follows."""
        return self._position >= len(self._texts[self._part]) and self._part < len(self._literals)

    @property
    def goes_on_well(self) -> bool:
        """Whether the next text may follow a value: a space, a bracket, or the end."""
        return self._texts[self._part][self._position : self._position + 1] in {b"", b" ", b"\t", b")"}

    def peek(self) -> bytes:
        """The next octet that is no space. Empty at the end of the text."""
        self._skip_spaces()
        return self._texts[self._part][self._position : self._position + 1]

    def accept(self, octet: bytes) -> bool:
        """Skip this octet, if it is the next one. Returns whether it was."""
        if self.peek() != octet:
            return False
        self._position += 1
        return True

    def name(self) -> bytes:
        """The name of an item with its section, as `BODY[HEADER]<0>`, in capitals. Empty if there is none."""
        self._skip_spaces()
        found = _NAME.match(self._texts[self._part], self._position)
        if found is None:
            return b""
        self._position = found.end()
        return found[0].upper()

    def value(self) -> Token:
        """The next value. `END`: there is none."""
        octet = self.peek()
        if octet == b'"':
            return self._quoted()
        if octet == b"(":
            return self._list()
        if octet == b")":
            return END
        if octet:
            return self._atom()
        return self._literal()

    def _quoted(self) -> Token:
        found = _QUOTED.match(self._texts[self._part], self._position)
        assert found is not None
        self._position = found.end()
        return Token(Kind.STRING, _ESCAPED.sub(rb"\1", found[1]))

    def _atom(self) -> Token:
        found = _ATOM.match(self._texts[self._part], self._position)
        if found is None:  # a control character, which counts as space
            self._position = len(self._texts[self._part])
            return self._literal()
        self._position = found.end()
        return Token(Kind.NIL) if found[0].upper() == b"NIL" else Token(Kind.ATOM, found[0])

    def _literal(self) -> Token:
        if self._part >= len(self._literals):
            return END
        octets = self._literals[self._part]
        self._part += 1
        self._position = 0
        return Token(Kind.STRING, octets)

    def _list(self) -> Token:
        depth = 0
        content: list[bytes] = []
        kept = 0
        for _ in range(MAX_LIST_PARTS):
            found = _LIST_PART.match(self._texts[self._part], self._position)
            if found is None:
                if self._literal() is END:
                    return Token(Kind.LIST, b"".join(content))
                continue
            self._position = found.end()
            depth += {b"(": 1, b")": -1}.get(found[0], 0)
            if depth == 0:
                return Token(Kind.LIST, b"".join(content)[1:])
            if kept < MAX_LIST_OCTETS:
                content.append(found[0])
                kept += len(found[0])
        # Nobody requested such a list, so skip the rest of the response.
        self._position = len(self._texts[self._part])
        return Token(Kind.LIST, b"".join(content))
