"""Reads address lists (RFC 5322 §3.4 with the obsolete forms), tolerantly and in one pass.

40 KB of unclosed quotes in a To header cost the standard library 12 s, 100 KB of commas 53 s; parentheses end in
RecursionError. This reader looks at each character a bounded number of times: after a quote or comment without an end,
all later characters of that kind count as ordinary characters.
"""

import re
from urllib.parse import unquote

from app.mime.encoded_words import decode_words
from app.mime.model import Address, DefectCode, Defects
from app.mime.text import clean_line

ADDRESSES_MAX = 1000
NAME_MAX_CHARS = 500
ADDRESS_MAX_CHARS = 500

# An encoded word is one piece: commas and colons in it, which RFC 2047 forbids, are not separators.
_RUN = re.compile(r'(?:[^"(<,;:=]++|=\?[^?\s]{1,80}\?[bBqQ]\?[^?\s]*+\?=|=)++')
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.S)
# RFC 5322 §3.4.1: a quoted local part belongs to the address, with its spaces and quotes.
_QUOTED_ADDRESS = re.compile(
    r'"(?:[^"\\]++|\\.)*+"(?:\.(?:[^\s<>@",;:()\\.]{1,64}+|"(?:[^"\\]|\\.){0,64}+")){0,20}+'
    r"\s?@\s?(?:[^\s<>@\",;:()\\\[\]]++|\[[^\s\[\]]{1,100}+\])", re.S,
)  # fmt: skip
# Doubled brackets too: <<jana@firma.cz>>
_ANGLE = re.compile(r'<[<\s]*+((?:[^<>"]++|"[^"<>]*+")*+)>(?:\s*+>)*+')
_OPEN_ANGLE = re.compile(r"<[<\s]*+([^<>,;]*+)")
_ESCAPED = re.compile(r"\\(.)", re.S)
_PARENTHESIS = re.compile(r"\\.|[()]", re.S)
_INNER_COMMENT = re.compile(r"\([^()]*+\)")
_SPACES = re.compile(r"\s+")
# White space inside a word. Around dots and "@" it is allowed (RFC 5322 §4.4).
_SPACE_IN_WORD = re.compile(r"[^\s.@:<>]\s++[^\s.@<>]")
_SIMPLE = re.compile(r"\s*+(?:([A-Za-z0-9 _'.\-]*+)<([^'\s<>@\",;:()\\]++@[^\s<>@\",;:()\\]++)>|"
                     r"([^'\s<>@\",;:()\\]++@[^\s<>@\",;:()\\]++))\s*+")  # fmt: skip


# Texts that programs write in place of recipients.
_NOBODY = re.compile(
    r"[\W_]*+(?:(?:undisclosed|unlisted|unspecified|unknown|hidden|suppressed|no)[\W_]*+recipients?"
    r"|recipients?[\W_]*+list[\W_]*+(?:not[\W_]*+shown|suppressed)|list[\W_]*+suppressed|no[\W_]*+to[\W_]*+header(?:[\W_]*+on[\W_]*+input)?+|skryt[ií][\W_]*+příjemci"
    r"|neuveden[íé][\W_]*+příjemci|nezveřejnění[\W_]*+příjemci|destinataires?[\W_]*+inconnus?"
    r"|verborgene[\W_]*+empfänger|nicht[\W_]*+angegebene[\W_]*+empfänger|ukryci[\W_]*+odbiorcy"
    r"|destinatari[\W_]*+(?:nascosti|non[\W_]*+divulgati)|destinatarios[\W_]*+ocultos)[\W_]*+", re.I,
)  # fmt: skip
# A group without members in place of an address: <undisclosed-recipients:;>, Undisclosed-Recipient:@firma.cz
_EMPTY_GROUP = re.compile(r"\s*+[^@:;<>]{1,100}+:\s*+;?\s*+(?:@[^\s;]*+;?\s*+)?")
_SCHEME = re.compile(r"(?:mailto|smtp)\s*:\s*", re.I)
_SCHEME_WORD = re.compile(r"(?:^|[\s\[])(?:mailto|smtp)\s*$", re.I)
_PLAIN_LOCAL = re.compile(r"[^\s<>@\",;:()\\\[\].]++(?:\.[^\s<>@\",;:()\\\[\].]++)*+")
_WORD = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"|[^\s",;])++', re.S)
_NAME_PIECES_MAX = 4


class _Reader:
    def __init__(self, value: str, defects: Defects, where: str, room: int, is_decoded: bool = False) -> None:
        self._value, self._defects, self._where, self._room = value, defects, where, room
        self._is_decoded = is_decoded
        self._found: list[Address] = []
        self._pieces: list[str] = []
        """Names without an address since the last comma; the next text may be their other half."""
        self._quotes = self._comments = True
        self._semicolons = False
        self._reset()

    def _reset(self) -> None:
        self._phrase: list[str] = []
        self._quoted_addresses: list[str] = []
        self._has_at = False
        self._comment = ""
        self._angle: str | None = None
        self._phrase_to_angle = 0

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
            self._flush()
        if len(self._found) > self._room:
            del self._found[self._room :]
            self._defects.record(DefectCode.ADDRESSES_LIMIT, f"{self._where}: more than {ADDRESSES_MAX}")
        return self._found

    def _special(self, at: int) -> int:
        char = self._value[at]
        if char == '"' and self._quotes:
            return self._quote(at)
        if char == "(" and self._comments:
            return self._parenthesis(at)
        if char == "<":
            return self._bracket(at)
        if char in ",;":
            self._finish()
            if char == ";":
                self._semicolons = True
                self._flush()
            return at + 1
        if char == ":" and self._angle is None and not self._has_at:
            self._colon()
        else:
            self._phrase.append(char)
        return at + 1

    def _colon(self) -> None:
        """A colon follows the name of a group, whose members follow up to the semicolon, or `mailto`."""
        before = "".join(self._phrase[-1:])
        if scheme := _SCHEME_WORD.search(before):
            self._phrase[-1] = before[: scheme.start()] + " "
        else:
            self._reset()

    def _quote(self, at: int) -> int:
        quoted = _QUOTED.match(self._value, at)
        if quoted is None:
            self._quotes = False
            self._defects.record(DefectCode.BAD_ADDRESS, f"unclosed quote in {self._where}")
            return at + 1
        follows = self._value[quoted.end() : quoted.end() + 1]
        if follows in ("@", ".", " ") and (address := _QUOTED_ADDRESS.match(self._value, at)):
            before = "".join(self._phrase[-1:])
            opening = (
                before[len(before.rstrip(".").rstrip(_LOCAL_CHARACTERS)) :] if before.endswith(".") else ""
            )
            if opening:
                self._phrase[-1] = before.removesuffix(opening)
            self._quoted_addresses.append(opening + address.group())
            self._has_at = True
            return address.end()
        self._phrase.append(_ESCAPED.sub(r"\1", quoted.group(1)))
        return quoted.end()

    def _parenthesis(self, at: int) -> int:
        end = self._comment_end(at)
        if end is None:
            self._comments = False
            self._defects.record(DefectCode.BAD_ADDRESS, f"unclosed comment in {self._where}")
            self._phrase.append("(")
            return at + 1
        self._comment = self._comment or self._value[at + 1 : end - 1]
        if self._value[end : end + 1] not in ("@", "."):  # RFC 5322: jana(in the office)@firma.cz
            self._phrase.append(" ")
        return end

    def _bracket(self, at: int) -> int:
        match = _ANGLE.match(self._value, at) or _OPEN_ANGLE.match(self._value, at)
        if match is None:
            self._phrase.append("<")
            return at + 1
        content = match.group(1)
        if self._angle is not None and "@" in self._angle:
            phrase = self._phrase[self._phrase_to_angle :]
            del self._phrase[self._phrase_to_angle :]
            if content == self._angle and not "".join(phrase).strip():
                return match.end()  # the same address again
            self._finish()  # the comma is missing
            self._phrase = phrase
        elif self._angle is not None:
            self._phrase.insert(self._phrase_to_angle, f"<{self._angle}>" if self._angle.strip() else "")
        self._angle = content
        self._phrase_to_angle = len(self._phrase)
        return match.end()

    def _comment_end(self, at: int) -> int | None:
        depth = 0
        for match in _PARENTHESIS.finditer(self._value, at):
            depth += {"(": 1, ")": -1}.get(match.group(), 0)
            if depth == 0:
                return match.end()
        return None

    def _finish(self) -> None:
        """Take the text between two separators."""
        if not self._phrase and self._angle is None and not self._quoted_addresses and not self._comment:
            return
        phrase, angle, comment = "".join(self._phrase).strip(), self._angle, self._comment
        quoted = self._quoted_addresses
        self._reset()
        if angle is not None and "@" not in angle and "=?" in angle:
            angle = decode_words(angle, self._defects, where=self._where)
        if angle is not None and _EMPTY_GROUP.fullmatch(angle):
            return
        if angle is not None and ("@" in angle or angle.strip()):
            addresses = _addresses_in(angle)
            if len(addresses) == 1 and '"' not in angle and _SPACE_IN_WORD.search(_without_comments(angle)):
                self._defects.record(DefectCode.BAD_ADDRESS, f"white space in an address in {self._where}")
            self._take(phrase, addresses, comment, has_angle=True)
        else:
            self._without_angle(phrase, quoted, comment)

    def _without_angle(self, phrase: str, quoted: list[str], comment: str) -> None:
        words = _joined(phrase.split()) if "@" in phrase else phrase.split()
        with_at = quoted + [word for word in words if "@" in word and "=?" not in word and "<" not in word]
        if with_at:
            phrase = " ".join(word for word in words if "@" not in word)
            self._take(phrase, [address for word in with_at for address in _addresses_in(word)], comment)
            return
        text = decode_words(phrase, self._defects, where=self._where) if "=?" in phrase else phrase
        if "@" in text and not self._is_decoded:
            # Everything is in one encoded word or one pair of quotes, so these do not say what is a name.
            room = self._room - len(self._found)
            self._found += _Reader(text, self._defects, self._where, room, is_decoded=True).read()
            return
        if not phrase:
            comment = comment.strip()
            if "@" in comment and not _SPACES.search(comment):
                self._take("", _addresses_in(comment), "")
            return  # a comment alone names nobody
        if phrase and not _NOBODY.fullmatch(text) and not _NOBODY.fullmatch(phrase):
            self._pieces.append(phrase)
            if len(self._pieces) > _NAME_PIECES_MAX:
                self._alone(self._pieces.pop(0))

    def _take(self, phrase: str, addresses: list[str], comment: str, *, has_angle: bool = False) -> None:
        """Take a person with an address, and further persons if the commas between them are missing."""
        if self._pieces and (phrase or has_angle):
            phrase = ", ".join([*self._pieces, phrase] if phrase else self._pieces)
            self._pieces.clear()
        self._flush()
        name = self._decoded(phrase) or self._decoded(comment)
        if not addresses:
            self._alone(name)
        for address in addresses:
            if "@" not in address:
                self._defects.record(DefectCode.BAD_ADDRESS, f"no address in {self._where}")
            self._found.append(Address(name or None, address))
            name = ""

    def _flush(self) -> None:
        """Take the names without an address. If semicolons separate people, a comma separates the halves of a name."""
        if self._semicolons and len(self._pieces) > 1:
            self._pieces = [", ".join(self._pieces)]
        for piece in self._pieces:
            self._alone(piece)
        self._pieces.clear()

    def _alone(self, piece: str) -> None:
        """Take somebody without an address. A single word is the name of a local mailbox (MAILER-DAEMON)."""
        self._defects.record(DefectCode.BAD_ADDRESS, f"no address in {self._where}")
        if len(piece.split()) == 1 and "=?" not in piece:
            self._found += [Address(None, each) for each in [_bare(piece)] if each]
        elif name := self._decoded(piece):
            self._found.append(Address(name, ""))

    def _decoded(self, text: str) -> str:
        text = text.strip()
        if not self._is_decoded:
            text = decode_words(text, self._defects, where=self._where)
        text = clean_line(_SPACES.sub(" ", text[: 4 * NAME_MAX_CHARS]), NAME_MAX_CHARS)
        if text.startswith('"') and text.count('"') == 2 and text.endswith('"'):
            text = text[1:-1].strip() or text
        return text


_LOCAL_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+-/=?^_`{|}~"


def _joined(words: list[str]) -> list[str]:
    """The words. Spaces inside an address (RFC 5322 §4.4) do not split it: jana @ firma.cz, jana@firma . cz"""
    joined: list[str] = []
    for word in words:
        if joined and _belong_together(joined[-1], word):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _belong_together(before: str, word: str) -> bool:
    if len(before) > ADDRESS_MAX_CHARS:
        return False
    if word.startswith("@"):
        return word == "@" or "." in word
    if before.endswith("@"):
        return "." in word
    return "@" in before and (before.endswith(".") or word.startswith("."))


def _without_comments(text: str) -> str:
    return _INNER_COMMENT.sub("", text[: 4 * ADDRESS_MAX_CHARS]).strip()


def _addresses_in(text: str) -> list[str]:
    """The addresses in a pair of brackets or in a word. Usually there is one."""
    text = _without_comments(text)
    if text.count("@") > 1 and not text.startswith("@"):
        several = [_bare(word) for word in _WORD.findall(text) if "@" in word]
        if several and all(0 < each.find("@") < len(each) - 1 for each in several):
            return several
    address = _bare(text)
    return [address] if address and not (address.startswith("@") and address.count("@") == 1) else []


def _bare(address: str) -> str:
    """An addr-spec without route (RFC 5322 §4.4 obs-route), scheme and white space. Necessary quotes stay."""
    address = _INNER_COMMENT.sub("", address[: 4 * ADDRESS_MAX_CHARS]).strip(" \t\r\n<>,;")
    if "[" not in address.lstrip("["):
        address = address.strip("[]")  # Jana [mailto:jana@firma.cz], but not jana@[192.0.2.1]
    if address[:1] == address[-1:] == "'":
        address = address[1:-1]
    if scheme := _SCHEME.match(address):
        address = address[scheme.end() :].partition("?")[0]
        address = unquote(address) if "@" not in address else address
    if address.startswith("@") and ":" in address:
        address = address.rpartition(":")[2]
    if '"' not in address:
        return clean_line(_SPACES.sub("", address[: 2 * ADDRESS_MAX_CHARS]), ADDRESS_MAX_CHARS)
    local, at, domain = address.rpartition("@")
    if not at or address.endswith('"'):
        return _bare(address.replace('"', ""))
    local = local.strip()
    inner = local[1:-1]
    if local.startswith('"') and local.endswith('"') and _PLAIN_LOCAL.fullmatch(inner):
        local = inner
    return clean_line(f"{local}@{_SPACES.sub('', domain)}", ADDRESS_MAX_CHARS)


def read_addresses(value: str, defects: Defects, *, where: str, room: int = ADDRESSES_MAX) -> list[Address]:
    """The addresses of a header, including members of groups, at most `room` of them."""
    if room > 0 and len(value) < ADDRESS_MAX_CHARS and (simple := _SIMPLE.fullmatch(value)):
        name, address = (simple[1] or "").strip(), simple[2] or simple[3]
        return [Address(name or None, clean_line(address, ADDRESS_MAX_CHARS))]
    if "&lt;" in value and "&gt;" in value:  # the value was escaped for a web page
        value = value.replace("&lt;", "<").replace("&gt;", ">")
    return _Reader(value, defects, where, room).read()
