"""Address lists (RFC 5322 §3.4 with the obsolete forms), tolerantly and in one pass.

40 KB of unclosed quotes in a To header cost the standard library 12 s, 100 KB of commas 53 s; parentheses
end in RecursionError. Here every character is looked at a bounded number of times: a quote or comment that
found no end makes all later ones of its kind ordinary characters.
"""

import re

from app.mime.encoded_words import decode_words
from app.mime.model import Address, DefectCode, Defects
from app.mime.text import clean_line

ADDRESSES_MAX = 1000
NAME_MAX_CHARS = 500
ADDRESS_MAX_CHARS = 500

# An encoded word is one piece: commas and colons in it, which RFC 2047 forbids, separate nothing.
_RUN = re.compile(r'(?:[^"(<,;:=]++|=\?[^?\s]{1,80}\?[bBqQ]\?[^?\s]*+\?=|=)++')
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.S)
_ANGLE = re.compile(r'<((?:[^<>"]++|"[^"<>]*+")*+)>')
_OPEN_ANGLE = re.compile(r"<([^<>,;]*+)")
_ESCAPED = re.compile(r"\\(.)", re.S)
_PARENTHESIS = re.compile(r"\\.|[()]", re.S)
_INNER_COMMENT = re.compile(r"\([^()]*+\)")
_SPACES = re.compile(r"\s+")
_SIMPLE = re.compile(r"\s*+(?:([A-Za-z0-9 _'.\-]*+)<([^\s<>@\",;:()\\]++@[^\s<>@\",;:()\\]++)>|"
                     r"([^\s<>@\",;:()\\]++@[^\s<>@\",;:()\\]++))\s*+")  # fmt: skip


class _Reader:
    def __init__(self, value: str, defects: Defects, where: str, room: int) -> None:
        self._value, self._defects, self._where, self._room = value, defects, where, room
        self._found: list[Address] = []
        self._quotes = self._comments = True
        self._reset()

    def _reset(self) -> None:
        self._phrase: list[str] = []
        self._has_at = False
        self._comment = ""
        self._angle: str | None = None

    def read(self) -> list[Address]:
        at, value = 0, self._value
        while at < len(value):
            if run := _RUN.match(value, at):
                self._phrase.append(run.group())
                self._has_at = self._has_at or "@" in run.group()
                at = run.end()
            else:
                at = self._special(at)
                if len(self._found) > self._room:
                    break
        else:
            self._finish()
        if len(self._found) > self._room:
            del self._found[self._room :]
            self._defects.note(DefectCode.ADDRESSES_LIMIT, f"{self._where}: more than {ADDRESSES_MAX}")
        return self._found

    def _special(self, at: int) -> int:
        char = self._value[at]
        if char == '"' and self._quotes:
            if quoted := _QUOTED.match(self._value, at):
                self._phrase.append(_ESCAPED.sub(r"\1", quoted.group(1)))
                return quoted.end()
            self._quotes = False
            self._defects.note(DefectCode.BAD_ADDRESS, f"unclosed quote in {self._where}")
        elif char == "(" and self._comments:
            if end := self._comment_end(at):
                self._comment = self._comment or self._value[at + 1 : end - 1]
                if self._value[end : end + 1] not in ("@", "."):  # RFC 5322: jana(in the office)@firma.cz
                    self._phrase.append(" ")
                return end
            self._comments = False
            self._defects.note(DefectCode.BAD_ADDRESS, f"unclosed comment in {self._where}")
        elif char == "<" and self._angle is None:
            if match := _ANGLE.match(self._value, at) or _OPEN_ANGLE.match(self._value, at):
                self._angle = match.group(1)
                return match.end()
        elif char in ",;":
            self._finish()
            return at + 1
        elif char == ":" and self._angle is None and not self._has_at:
            self._reset()  # the name of a group: its members follow, up to the semicolon
            return at + 1
        self._phrase.append(char)
        return at + 1

    def _comment_end(self, at: int) -> int | None:
        depth = 0
        for match in _PARENTHESIS.finditer(self._value, at):
            depth += {"(": 1, ")": -1}.get(match.group(), 0)
            if depth == 0:
                return match.end()
        return None

    def _finish(self) -> None:
        phrase = "".join(self._phrase).strip()
        angle, comment = self._angle, self._comment
        self._reset()
        if angle is None:
            if not phrase:
                return
            words = phrase.split()
            with_at = [word for word in words if "@" in word]
            if with_at:
                self._found += [Address(None, _bare(word)) for word in with_at[1:]]
                angle = with_at[0]
                phrase = " ".join(word for word in words if "@" not in word)
            elif len(words) == 1 and "=?" not in phrase:
                angle, phrase = phrase, ""
            else:
                angle = ""
        address = _bare(angle)
        name = self._decoded(phrase) or self._decoded(comment)
        if "@" not in address:
            self._defects.note(DefectCode.BAD_ADDRESS, f"no address in {self._where}")
        if address or name:
            self._found.append(Address(name or None, address))

    def _decoded(self, text: str) -> str:
        text = decode_words(text.strip(), self._defects, where=self._where)
        return clean_line(_SPACES.sub(" ", text[: 4 * NAME_MAX_CHARS]), NAME_MAX_CHARS)


def _bare(address: str) -> str:
    """An addr-spec without route (RFC 5322 §4.4 obs-route) and white space."""
    address = _INNER_COMMENT.sub("", address).strip()
    if address.startswith("@") and ":" in address:
        address = address.rpartition(":")[2]
    return clean_line(_SPACES.sub("", address[: 2 * ADDRESS_MAX_CHARS]), ADDRESS_MAX_CHARS)


def read_addresses(value: str, defects: Defects, *, where: str, room: int = ADDRESSES_MAX) -> list[Address]:
    """The addresses of a header, members of groups included, at most `room` of them."""
    if room > 0 and len(value) < ADDRESS_MAX_CHARS and (simple := _SIMPLE.fullmatch(value)):
        name, address = (simple[1] or "").strip(), simple[2] or simple[3]
        return [Address(name or None, clean_line(address, ADDRESS_MAX_CHARS))]
    return _Reader(value, defects, where, room).read()
