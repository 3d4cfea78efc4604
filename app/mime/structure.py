"""Finds the tree of a mail's parts in one pass. The tree holds offsets into the bytes as received.

It searches for all open boundaries at once, with `bytes.find`. A search for each level would read a mail of depth 100 a
hundred times, and `email.parser` reads line by line in Python (16 MB/s; 1 M empty parts cost it 335 MB). Parts are
decoded only when they are needed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.mime.header_end import early_end, find_header, has_known_field, without_indent
from app.mime.headers import Fields, field_lines, first, split_fields
from app.mime.model import DefectCode, Defects
from app.mime.parameters import read_parameters

DEPTH_MAX = 100
PARTS_MAX = 1000
# The largest number of lines that begin with "--" and are no boundary (signatures, tables, patches). More is an attack.
FALSE_BOUNDARIES_MAX = 1_000_000
BOUNDARY_LINE_MAX_OCTETS = 1000
# How far to look for the kind of line ends that a mail has.
FIRST_MAX_OCTETS = 16 * 1024
# How far into a multipart to search for a boundary that its header does not name.
GUESS_MAX_OCTETS = 64 * 1024

_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_FIELD_START = re.compile(rb"[!-9;-~]{1,200}+[ \t]*+:")
_BLANK_LINE = re.compile(rb"\r?\n")
_DELIMITER_AND_FIELD = re.compile(
    rb"^(--[^\s-][^\r\n]{0,200}?)[ \t]*+\r?\n(?=content-[a-z-]{1,50}+:)", re.I | re.M
)


@dataclass(slots=True)
class Part:
    """A leaf, or a multipart with children. Content is `raw[begin:end]`, still transfer-encoded."""

    raw: bytes
    """The bytes to which the offsets refer: the mail, or the content of a container inside it."""
    fields: Fields
    media_type: str
    parameters: dict[str, str]
    disposition: str
    disposition_parameters: dict[str, str]
    begin: int
    end: int
    depth: int
    parent: "Part | None" = None
    children: list["Part"] = field(default_factory=list)
    spare: bool = False
    """Text from a container. It is the message only if the mail has no other text."""
    place: str = ""
    """For content of a container: the position of the container."""
    kept: bool = False
    """A container that was opened and still is an attachment, because not everything in it could be read."""

    @property
    def is_multipart(self) -> bool:
        return bool(self.children)

    @property
    def locator(self) -> str:
        """The position of the part: the position of its container and the offset of its content, which no two parts share. It is
        stored with messages, so every later reader must find the positions of today."""
        return f"{self.place}{self.begin}"

    @property
    def content(self) -> bytes:
        """The octets of the body, still transfer-encoded."""
        return self.raw[self.begin : self.end]

    @property
    def stated_name(self) -> str:
        """The file name that the sender gave. Empty if there is none."""
        return self.disposition_parameters.get("filename") or self.parameters.get("name") or ""

    @property
    def transfer_encoding(self) -> str:
        value = first(self.fields, b"content-transfer-encoding")
        return value[:100].decode("latin-1").partition(";")[0].partition("(")[0].strip(" \t\r\n\"'").lower()

    @property
    def content_id(self) -> str | None:
        value = first(self.fields, b"content-id")[:998].decode("utf-8", "replace").strip().strip("<>").strip()
        return value or None


@dataclass(slots=True)
class _Open:
    """A multipart whose end has not been found yet."""

    part: Part
    delimiter: bytes
    shadowed: int | None
    """The level of an outer multipart with the same boundary."""


class _BlankLines:
    """Finds the next blank line. It remembers what it has read, so that all calls together read the mail once.

    A mail has usually one kind of line end, so the other kind is only searched for up to the blank line that was found.
    """

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._none: dict[bytes, tuple[int, int]] = {}
        """By kind, from where to where none begins. At the second place one may begin."""
        self._kinds = (
            (b"\n\r\n", b"\n\n") if raw.find(b"\n\r\n", 0, FIRST_MAX_OCTETS) >= 0 else (b"\n\n", b"\n\r\n")
        )

    def after(self, at: int) -> tuple[int, int]:
        """For the first empty line from here: the end of the line before it, and the start of the line after it."""
        size = len(self._raw)
        end = body = size
        for kind in self._kinds:
            asked, known = self._none.get(kind, (at, at))
            begin = known if asked <= at <= known else at
            found = self._raw.find(kind, begin, end + len(kind) - 1)
            until = found if found >= 0 else max(begin, end)
            self._none[kind] = (asked if begin == known else at, until)
            if 0 <= found < end:
                end, body = found, found + len(kind)
        return end, body


_BEGINNING = len(b"--xy")
_AFTER_DELIMITER = (b"", b"\r", b"\n", b" ", b"\t", b"-")


class _Walker:
    def __init__(self, raw: bytes, defects: Defects, depth: int, parts: int, place: str) -> None:
        self._raw, self._defects = raw, defects
        self._depth, self._parts, self._place = depth, parts, place
        self._blanks = _BlankLines(raw)
        self._open: list[_Open] = []
        self._levels: dict[bytes, int] = {}
        self._beginnings: frozenset[bytes] = frozenset()
        """The first octets of the open delimiters. A line with another beginning needs no closer look."""
        self._leaf: Part | None = None
        self._false = 0
        self._charset = ""
        """The charset of the first text. File names in raw octets are in this charset too."""

    def walk(self) -> Part:
        root = self._root()
        self._enter(root)
        at = root.begin - 1  # the line end before the body: the first delimiter may be its first line
        while self._open and self._false <= FALSE_BOUNDARIES_MAX:
            hit = self._raw.find(b"\n--", at)
            if hit < 0:
                break
            if self._raw[hit + 1 : hit + 1 + _BEGINNING] not in self._beginnings:
                self._false += 1
                at = hit + 1
                continue
            found = self._delimiter(hit)
            at = self._take(hit, *found) if found else self._line_end(hit + 1)
        if self._open:
            if self._parts <= PARTS_MAX:
                self._defects.record(
                    DefectCode.UNCLOSED_MULTIPART, f"boundary {self._open[-1].delimiter!r:.80}"
                )
            self._close(0, len(self._raw))
        return root

    def _root(self) -> Part:
        raw = self._raw
        begin, is_guess = find_header(raw)
        if begin is None:
            # There is no header: the text begins here, after the empty line that would have ended the header.
            self._defects.record(DefectCode.NO_HEADERS)
            blank = _BLANK_LINE.match(raw)
            return self._part({}, blank.end() if blank else 0, None)
        if is_guess:
            self._defects.record(DefectCode.BAD_HEADER, "the first line is no field")
        end, body = self._blanks.after(begin)
        if end == len(raw):
            end = body = self._header_without_end(begin)
        end, body = self._header_end(begin, end, body)
        return self._part(split_fields(raw, begin, end, self._defects), body, None)

    def _header_end(self, begin: int, end: int, body: int) -> tuple[int, int]:
        """Where a header ends and its text begins. `end` and `body` are the values according to the next empty line."""
        early = early_end(self._raw, begin, end)
        if early is None:
            return end, body
        self._defects.record(DefectCode.BAD_HEADER, "no empty line after the header")
        return early

    def _header_without_end(self, begin: int) -> int:
        """Without an empty line, the header ends at the first line that is no field."""
        at = begin
        for match in field_lines(self._raw, begin, len(self._raw)):
            if match.start() != at:
                break
            at = min(match.end() + 1, len(self._raw))
        self._defects.record(DefectCode.BAD_HEADER, "no empty line after the header")
        return at

    def _line_end(self, at: int) -> int:
        end = self._raw.find(b"\n", at)
        return len(self._raw) if end < 0 else end

    def _delimiter(self, hit: int) -> tuple[int, bool] | None:
        """If the line after this line end is a delimiter: the level of its multipart, and whether it ends that multipart."""
        line_end = self._line_end(hit + 1)
        if line_end - hit <= BOUNDARY_LINE_MAX_OCTETS:
            line = self._raw[hit + 1 : line_end].rstrip(b" \t\r")
            level = self._levels.get(line)
            if level is not None:
                return level, False
            if line.endswith(b"--") and (level := self._levels.get(line[:-2].rstrip(b" \t"))) is not None:
                return level, True
        self._false += 1
        return None

    def _take(self, hit: int, level: int, is_end: bool) -> int:
        """Handle a delimiter line. Returns where to search for the next one."""
        line_end = self._line_end(hit + 1)
        # RFC 2046 §5.1.1: the line end before a delimiter belongs to the delimiter.
        content_end = hit - 1 if self._raw[hit - 1 : hit] == b"\r" else hit
        self._close(level if is_end else level + 1, content_end)
        if is_end:
            return line_end
        self._parts += 1
        if self._parts > PARTS_MAX:
            self._defects.record(DefectCode.PARTS_LIMIT, f"more than {PARTS_MAX} parts; the rest is not read")
            self._close(0, content_end)
            return line_end
        part = self._read_part(min(line_end + 1, len(self._raw)), self._open[-1].part)
        self._enter(part)
        return max(part.begin - 1, line_end)

    def _read_part(self, begin: int, parent: Part) -> Part:
        raw = self._raw
        blank = _BLANK_LINE.match(raw, begin)
        if blank:
            return self._part({}, blank.end(), parent)
        if not _FIELD_START.match(raw, begin):
            return self._part({}, begin, parent)
        end, body = self._blanks.after(begin)
        hit = raw.find(b"\n--", begin - 1, end)
        while hit >= 0 and self._false <= FALSE_BOUNDARIES_MAX:
            if self._delimiter(hit):
                end = hit
                body = hit + 1  # an empty part: the delimiter comes before the header ends
                if not has_known_field(raw, begin, end):
                    return self._part({}, begin, parent)  # text whose first line looks like a field
                break
            hit = raw.find(b"\n--", hit + 1, end)
        end, body = self._header_end(begin, end, body)
        return self._part(split_fields(raw, begin, end, self._defects), body, parent)

    def _part(self, fields: Fields, begin: int, parent: Part | None) -> Part:
        in_digest = parent is not None and parent.media_type == "multipart/digest"
        media_type = "message/rfc822" if in_digest else "text/plain"  # RFC 2046 §5.1.5, RFC 2045 §5.2
        stated, parameters = self._parameters(fields, b"content-type")
        disposition, disposition_parameters = self._parameters(fields, b"content-disposition")
        # "text/plain charset=utf-8": the semicolon is missing
        head = stated.split(None, 1)[0].partition("(")[0] if stated else ""
        if _MEDIA_TYPE.fullmatch(head):
            media_type = head
        elif stated and stated != "text":
            self._defects.record(DefectCode.BAD_CONTENT_TYPE, stated)
            if parameters.get("name") or disposition_parameters.get("filename"):
                media_type = "application/octet-stream"
        return Part(
            self._raw, fields, media_type, parameters, disposition.split(None, 1)[0] if disposition else "",
            disposition_parameters, begin, len(self._raw), parent.depth + 1 if parent else self._depth, parent,
            place=self._place,
        )  # fmt: skip

    def _parameters(self, fields: Fields, name: bytes) -> tuple[str, dict[str, str]]:
        value = first(fields, name)
        if not value:
            return "", {}
        found = read_parameters(value, self._defects, where=name.decode(), charset=self._charset)
        if not self._charset and name == b"content-type" and not found[0].startswith("multipart/"):
            self._charset = found[1].get("charset", "")
        return found

    def _enter(self, part: Part) -> None:
        """Put a part into the tree; a multipart with a boundary waits for its children."""
        if part.parent is not None:
            part.parent.children.append(part)
        self._leaf = None
        if part.media_type.startswith("multipart/"):
            delimiter = self._delimiter_of(part)
            if delimiter and part.depth >= DEPTH_MAX:
                self._defects.record(
                    DefectCode.DEPTH_LIMIT, f"deeper than {DEPTH_MAX}; what is inside is not read"
                )
            elif delimiter:
                self._open.append(_Open(part, delimiter, self._levels.get(delimiter)))
                self._levels[delimiter] = len(self._open) - 1
                self._beginnings |= {(delimiter + octet)[:_BEGINNING] for octet in _AFTER_DELIMITER}
                return
        self._leaf = part

    def _delimiter_of(self, part: Part) -> bytes:
        """The line before each part of a multipart. Empty if there is none and none can be guessed."""
        boundary = part.parameters.get("boundary", "").strip()
        stated = b"--" + boundary.encode("utf-8", "replace") if boundary else b""
        # Only for the whole mail is it worth a search to check that the named boundary exists.
        if stated and (part.parent is not None or self._raw.find(stated, part.begin) >= 0):
            return stated
        self._defects.record(DefectCode.MISSING_BOUNDARY, part.media_type)
        guess = _DELIMITER_AND_FIELD.search(self._raw, part.begin, part.begin + GUESS_MAX_OCTETS)
        return guess[1] if guess and guess[1] not in self._levels else stated

    def _close(self, level: int, end: int) -> None:
        """End the open leaf and all multiparts from this level on."""
        if self._leaf is not None:
            self._leaf.end = max(end, self._leaf.begin)
            self._leaf = None
        while len(self._open) > level:
            ended = self._open.pop()
            if ended.shadowed is None:
                del self._levels[ended.delimiter]
            else:
                self._levels[ended.delimiter] = ended.shadowed
            ended.part.end = max(end, ended.part.begin)
            if not ended.part.children:
                self._defects.record(DefectCode.MISSING_BOUNDARY, "a multipart without parts")


def read_tree(raw: bytes, defects: Defects, *, depth: int = 0, parts: int = 0, place: str = "") -> Part:
    """The root part. Never fails: content that is no multipart, or has no parts, is one leaf.

    For the content of a container, `depth`, `parts` and `place` say how deep it is, how many parts there are already, and
    the position of the container.
    """
    return _Walker(raw, defects, depth, parts, place).walk()


def all_parts(root: Part) -> Iterator[Part]:
    """The part and all parts inside it, in the order of the mail."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += reversed(part.children)


def normalise(raw: bytes, defects: Defects) -> bytes:
    """Correct line ends. A mail whose lines end with a bare CR (old Macintosh), or with CR CR LF (gateways that add a CR that
    is already there), would be one endless header."""
    raw = without_indent(raw)
    if b"\r" in raw[:65536] and b"\n" not in raw:
        defects.record(DefectCode.BARE_CR, "lines end in CR")
        return raw.replace(b"\r", b"\n")
    line_end = raw.find(b"\n", 0, 65536)
    if line_end >= 2 and raw[line_end - 2 : line_end] == b"\r\r":
        defects.record(DefectCode.BARE_CR, "lines end in CR CR LF")
        return raw.replace(b"\r\r\n", b"\r\n")
    return raw


def header_charset(root: Part) -> str:
    """The charset of raw octets in the header: its own charset, otherwise that of the first text that names one."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if said := part.parameters.get("charset", ""):
            return said
        waiting += reversed(part.children)
    return ""
