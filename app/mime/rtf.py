r"""Reads RTF from winmail.dat as text, or as the HTML that Outlook has hidden in it ([MS-OXRTFCP], [MS-OXRTFEX])."""

import re
import struct
from dataclasses import dataclass, replace

from app.mime.charset import decode
from app.mime.model import Defects

RTF_MAX_OCTETS = 512 * 1024
GROUPS_MAX = 500

_HEAD = struct.Struct("<IIII")  # compressed and raw size, kind, checksum
_COMPRESSED, _PLAIN = 0x75465A4C, 0x414C454D  # "LZFu", "MELA"
# The content of the dictionary before the first octet.
_PRIMER = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans "
    rb"SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0" + b"\r\n" + rb"\par "
    rb"\pard\plain\f0\fs20\b\i\u\tab\tx"
)
_WINDOW = 4096

_TOKEN = re.compile(
    rb"\\'([0-9a-fA-F]{2})|\\([a-zA-Z]{1,32})(-?[0-9]{1,9})?+ ?|\\([^a-zA-Z])|([{}])|[\r\n]++|[^\\{}\r\n]++"
)
_UNSEEN = frozenset(
    b"colortbl stylesheet info pict object header footer headerf footerf xmlnstbl listtable listoverridetable rsidtbl "
    b"generator themedata colorschememapping datastore latentstyles fldinst footnote pntext".split()
)
_SIGNS = {
    b"par": "\n", b"line": "\n", b"sect": "\n", b"page": "\n", b"row": "\n", b"cell": " ", b"tab": "\t",
    b"lquote": "\u2018", b"rquote": "\u2019", b"ldblquote": "\u201c", b"rdblquote": "\u201d", b"bullet": "\u2022",
    b"endash": "\u2013", b"emdash": "\u2014",
}  # fmt: skip
_FONT_CHARSETS = {
    77: "macintosh", 128: "shift_jis", 129: "euc-kr", 134: "gb18030", 136: "big5", 161: "windows-1253",
    162: "windows-1254", 163: "windows-1258", 177: "windows-1255", 178: "windows-1256", 186: "windows-1257",
    204: "windows-1251", 222: "windows-874", 238: "windows-1250",
}  # fmt: skip


def decompress_rtf(data: bytes) -> bytes:
    """The RTF, at most RTF_MAX_OCTETS of it. Empty: this is no compressed RTF."""
    if len(data) < _HEAD.size:
        return b""
    _, size, kind, _ = _HEAD.unpack_from(data)
    size = min(size, RTF_MAX_OCTETS)
    if kind == _PLAIN:
        return data[_HEAD.size : _HEAD.size + size]
    return _decompress(data, size) if kind == _COMPRESSED else b""


def _decompress(data: bytes, size: int) -> bytes:
    out = bytearray(_PRIMER)
    wanted = len(_PRIMER) + size
    at = _HEAD.size
    while at < len(data) and len(out) < wanted:
        control = data[at]
        at += 1
        for bit in range(8):
            if not control >> bit & 1:
                out += data[at : at + 1]
                at += 1
                continue
            if at + 2 > len(data):
                return bytes(out[len(_PRIMER) : wanted])
            reference = data[at] << 8 | data[at + 1]
            at += 2
            distance = (len(out) - (reference >> 4)) % _WINDOW
            if distance == 0 or distance > len(out):  # §2.2.3: a reference to the present position is the end
                return bytes(out[len(_PRIMER) : wanted])
            length = (reference & 15) + 2
            piece = out[-distance:][:length]
            out += (piece * length)[:length]
    return bytes(out[len(_PRIMER) : wanted])


@dataclass(frozen=True, slots=True)
class _Group:
    """The settings inside the open braces."""

    unseen: bool = False
    fonts: bool = False
    html: bool = False
    """Inside a tag of the HTML from which the RTF was made."""
    only_rtf: bool = False
    """Inside text that was added to the HTML only for its look."""
    charset: str = ""
    fallbacks: int = 1
    """The number of characters after each Unicode character, for readers that do not know Unicode."""


def read_rtf(rtf: bytes) -> tuple[str, bool]:
    """The text of an RTF, and whether the text is the HTML from which the RTF was made."""
    return _Reader(rtf).read()


class _Reader:
    def __init__(self, rtf: bytes) -> None:
        self._rtf = rtf
        self._is_html = b"\\fromhtml1" in rtf[:4096]
        self._group = _Group(charset="windows-1252")
        self._outer: list[_Group] = []
        self._font_charsets: dict[int, str] = {}
        self._font = 0
        self._after_star = False
        self._skip = 0
        self._octets = bytearray()
        self._out: list[str] = []

    def read(self) -> tuple[str, bool]:
        for token in _TOKEN.finditer(self._rtf):
            hexadecimal, word, number, sign, brace = token.groups()
            if hexadecimal is not None:
                self._take_octets(bytes.fromhex(hexadecimal.decode()))
            elif word is not None:
                self._take_word(word, int(number) if number else None)
            elif sign is not None:
                self._take_sign(sign)
            elif brace is not None:
                self._take_brace(brace)
            elif token.group()[0] not in b"\r\n":
                self._take_octets(token.group())
        self._flush()
        return "".join(self._out), self._is_html

    @property
    def _is_seen(self) -> bool:
        group = self._group
        return not (group.unseen or group.fonts or (group.only_rtf and not group.html))

    def _take_octets(self, octets: bytes) -> None:
        self._after_star = False
        skipped = min(self._skip, len(octets))
        self._skip -= skipped
        if self._is_seen:
            self._octets += octets[skipped:]

    def _take_sign(self, sign: bytes) -> None:
        self._after_star = sign == b"*"
        if sign in b"\\{}":
            self._take_octets(sign)
        elif sign == b"~":
            self._say("\xa0")
        elif sign in b"\r\n":
            self._say("\n")
        elif sign == b"_":
            self._say("-")

    def _take_brace(self, brace: bytes) -> None:
        self._flush()
        self._after_star = False
        self._skip = 0
        if brace == b"{":
            if len(self._outer) < GROUPS_MAX:
                self._outer.append(self._group)
        elif self._outer:
            self._group = self._outer.pop()

    def _take_word(self, word: bytes, number: int | None) -> None:
        after_star, self._after_star = self._after_star, False
        if word == b"htmltag":
            self._flush()
            self._group = replace(self._group, html=True, unseen=not self._is_html)
        elif word in _UNSEEN or (after_star and word != b"htmltag"):
            self._flush()
            self._group = replace(self._group, unseen=True)
        elif word == b"fonttbl":
            self._group = replace(self._group, fonts=True)
        elif word == b"htmlrtf":
            self._flush()
            self._group = replace(self._group, only_rtf=number != 0)
        elif word in _SIGNS:
            self._say(_SIGNS[word])
        elif number is not None:
            self._take_numbered(word, number)

    def _take_numbered(self, word: bytes, number: int) -> None:
        if word == b"u":
            self._say(chr(number % 0x10000))
            self._skip = self._group.fallbacks
        elif word == b"uc":
            self._group = replace(self._group, fallbacks=min(max(number, 0), 10))
        elif word == b"ansicpg":
            self._group = replace(
                self._group, charset=f"windows-{number}" if number >= 1250 else f"cp{number}"
            )
        elif word == b"f":
            self._font = number
            charset = self._font_charsets.get(number)
            if charset and charset != self._group.charset and not self._group.fonts:
                self._flush()
                self._group = replace(self._group, charset=charset)
        elif word == b"fcharset" and self._group.fonts and number in _FONT_CHARSETS:
            self._font_charsets[self._font] = _FONT_CHARSETS[number]

    def _say(self, text: str) -> None:
        if self._is_seen:
            self._flush()
            self._out.append(text)

    def _flush(self) -> None:
        """Decode the collected octets together, because two octets may be one character."""
        if self._octets:
            self._out.append(decode(bytes(self._octets), self._group.charset, Defects(), where="RTF"))
            self._octets.clear()
