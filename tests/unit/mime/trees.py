"""MIME trees of any nesting, charset and encoding, drawn by hypothesis, with what a reader must find in them.

Every text begins with a word of its own (`slovo1`), every file with octets of its own, so that what is lost or mixed up
is seen. `broken` mails are such trees, damaged: nothing is promised of them but an answer.
"""

import base64
import quopri
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes

from hypothesis import strategies as st

DEPTH_MAX = 5
CHARSETS = {
    "us-ascii": "plain words",
    "utf-8": "Příliš žluťoučký kůň 漢字 🐎",
    "iso-8859-1": "Grüße, déjà vu",
    "iso-8859-2": "Příliš žluťoučký kůň",
    "windows-1250": "Příliš žluťoučký kůň – „úpěl“",
    "windows-1251": "Съешь ещё этих мягких",
    "windows-1252": "“naïve” – café €",
    "koi8-r": "Съешь ещё этих мягких",
    "iso-2022-jp": "会議の件です",
    "shift_jis": "会議の件です",
    "euc-jp": "会議の件です",
    "gb2312": "会议通知",
    "gbk": "会议通知",
    "gb18030": "会议通知 🐎",
    "big5": "會議通知",
    "euc-kr": "회의 안내",
    "iso-8859-15": "20 €, œuvre",
    "iso-8859-9": "İstanbul'da görüşürüz",
    "utf-16": "Příliš žluťoučký kůň",
}
NAMES = (
    "faktura.pdf",
    "Příloha č. 1.pdf",
    "smlouva; kopie.pdf",
    'uvozovky ".pdf',
    "漢字.pdf",
    "a" * 120 + "ž.pdf",
)
FILE_TYPES = (
    "application/pdf",
    "application/octet-stream",
    "image/png",
    "application/zip",
    "audio/mpeg",
    "x-own/kind",
)


@dataclass
class Tree:
    """A mail, or a part of one, and what is in it."""

    raw: bytes
    texts: list[str] = field(default_factory=list)
    """Words that the text must show, each the only one of its kind."""
    files: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """The names of the files. None: a reader may choose."""


class _Counter:
    """Numbers for words, files and boundaries of one mail."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        self.last += 1
        return self.last


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A well-formed mail."""
    counter = _Counter()
    root = _part(draw, counter, draw(st.integers(0, DEPTH_MAX)), is_root=True)
    subject = draw(
        st.sampled_from(["Test", "=?utf-8?q?k=C5=AF=C5=88?=", "=?iso-2022-jp?b?GyRCMnE1RBsoQg==?="])
    )
    head = f"From: Jana <jana@firma.cz>\r\nTo: info@firma.cz\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
    return Tree(head.encode() + root.raw, root.texts, root.files, root.names)


def _part(draw: st.DrawFn, counter: _Counter, depth: int, *, is_root: bool = False) -> Tree:
    if depth == 0:
        return _text(draw, counter) if is_root or draw(st.booleans()) else _file(draw, counter)
    kind = draw(
        st.sampled_from(["mixed", "mixed", "related", "alternative", "signed", "parallel", "own-kind"])
    )
    if kind == "alternative":
        return _alternative(draw, counter)
    count = 1 if kind in ("related", "signed") else draw(st.integers(1, 3))
    parts = [_part(draw, counter, depth - 1, is_root=number == 0) for number in range(count)]
    if kind == "mixed" and draw(st.booleans()):
        parts.append(_mail(draw, counter))
    return _joined(draw, counter, kind, parts)


def _text(draw: st.DrawFn, counter: _Counter, kind: str = "plain", word: str | None = None) -> Tree:
    word = word or f"slovo{counter.next()}"
    charset = draw(st.sampled_from(sorted(CHARSETS)))
    words = f"{word} {CHARSETS[charset]}"
    lines = draw(
        st.lists(st.sampled_from(["", "line", "-- ", "--", "x" * 200, ">From here", "a=3D b ="]), max_size=4)
    )
    text = "\r\n".join([words, *lines, ""])
    if kind == "html":
        text = f"<html><body><p>{words}</p></body></html>\r\n"
    octets = text.encode(charset)
    needs = ["base64", "quoted-printable"]
    if charset != "utf-16":
        needs.append("8bit")
    label = draw(st.sampled_from([charset, charset.upper(), f'"{charset}"']))
    header = f"Content-Type: text/{kind}; charset={label}"
    return Tree(_leaf(draw, header, octets, needs), [words])


def _file(draw: st.DrawFn, counter: _Counter) -> Tree:
    octets = f"soubor{counter.next()}-".encode() + draw(st.binary(max_size=300))
    kind = draw(st.sampled_from(FILE_TYPES))
    name = draw(st.sampled_from(NAMES))
    header = (
        f"Content-Type: {kind}\r\nContent-Disposition: attachment{draw(st.sampled_from(_NAME_FORMS))(name)}"
    )
    encodings = ["base64", "quoted-printable"]
    stated = None if '"' in name or len(name.encode()) > 100 else name
    return Tree(_leaf(draw, header, octets, encodings), [], [octets], [stated])


def _mail(draw: st.DrawFn, counter: _Counter) -> Tree:
    """An attached mail: a file, whatever is in it."""
    inner = _part(draw, counter, draw(st.integers(0, 2)), is_root=True).raw
    content = b"From: jan@firma.cz\r\nSubject: inner\r\n" + inner
    raw = b"Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n" + content
    return Tree(raw, [], [content], [None])


def _alternative(draw: st.DrawFn, counter: _Counter) -> Tree:
    """Text and HTML that say the same: whichever is shown, the word is there."""
    word = f"slovo{counter.next()}"
    plain, html = _text(draw, counter, "plain", word), _text(draw, counter, "html", word)
    joined = _joined(draw, counter, "alternative", [plain, html])
    return Tree(joined.raw, [word])


def _joined(draw: st.DrawFn, counter: _Counter, kind: str, parts: list[Tree]) -> Tree:
    boundary = f"{draw(st.sampled_from(['b', '=_b', 'b b', '----=_Part', 'b_' + 'x' * 50]))}{counter.next()}"
    prologue = draw(st.sampled_from([b"", b"This is a multi-part message.\r\n"]))
    lines = [prologue]
    for each in parts:
        padding = draw(st.sampled_from([b"", b" ", b"\t "]))
        lines += [b"--", boundary.encode(), padding, b"\r\n", each.raw, b"\r\n"]
    lines += [b"--", boundary.encode(), b"--", draw(st.sampled_from([b"", b"\r\n", b"\r\nepilogue\r\n"]))]
    fold = draw(st.sampled_from([" ", "\r\n ", "\r\n\t"]))
    header = f'Content-Type: multipart/{kind};{fold}boundary="{boundary}"\r\n\r\n'
    return Tree(
        header.encode() + b"".join(lines),
        [text for each in parts for text in each.texts],
        [octets for each in parts for octets in each.files],
        [name for each in parts for name in each.names],
    )


def _leaf(draw: st.DrawFn, header: str, octets: bytes, encodings: list[str]) -> bytes:
    encoding = draw(st.sampled_from(encodings))
    stated = draw(st.sampled_from([encoding, encoding.upper(), f" {encoding} "]))
    encoders: dict[str, Callable[[bytes], bytes]] = {"base64": _base64, "quoted-printable": _quoted}
    body = encoders[encoding](octets) if encoding in encoders else octets
    return f"{header}\r\nContent-Transfer-Encoding: {stated}\r\n\r\n".encode() + body


def _base64(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


def _quoted(octets: bytes) -> bytes:
    """Line ends of the text stay line ends; other CR and LF are encoded, as RFC 2045 §6.7 asks of a file's."""
    lines = [
        quopri.encodestring(line, quotetabs=True).replace(b"\r", b"=0D").replace(b"=\n", b"=\r\n")
        for line in octets.split(b"\r\n")
    ]
    return b"\r\n".join(line.replace(b"\n", b"=0A") if b"=\r\n" not in line else line for line in lines)


# File names, as RFC 2231 has them, as RFC 2047 does not but mailers do, and raw.


def _extended(name: str) -> str:
    return f"; filename*=utf-8''{quote_from_bytes(name.encode())}"


def _continued(name: str) -> str:
    octets = name.encode()
    pieces = [octets[at : at + 20] for at in range(0, len(octets), 20)]
    first, *rest = [quote_from_bytes(piece) for piece in pieces]
    further = "".join(f";\r\n filename*{n}*={piece}" for n, piece in enumerate(rest, start=1))
    return f";\r\n filename*0*=utf-8''{first}{further}"


def _encoded_word(name: str) -> str:
    return f'; filename="=?utf-8?B?{base64.b64encode(name.encode()).decode()}?="'


def _raw(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'; filename="{escaped}"'


_NAME_FORMS = (_extended, _continued, _encoded_word, _raw)


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A mail that is damaged in one to three ways."""
    raw = draw(trees()).raw
    for _ in range(draw(st.integers(1, 3))):
        raw = _damaged(draw, raw)
    return raw


def _damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    at, to = sorted(draw(st.tuples(st.integers(0, len(raw)), st.integers(0, len(raw)))))
    how = draw(st.sampled_from(["cut", "gap", "twice", "swap", "octets", "bare LF", "bare CR"]))
    if how == "cut":
        return raw[:to]
    if how == "gap":
        return raw[:at] + raw[min(at + 60, len(raw)) :]
    if how == "twice":
        return raw[:to] + raw[at:]
    if how == "octets":
        return raw[:at] + draw(st.binary(min_size=1, max_size=20)) + raw[at:]
    if how == "bare LF":
        return raw.replace(b"\r\n", b"\n")
    if how == "bare CR":
        return raw[:at] + raw[at:to].replace(b"\r\n", b"\r") + raw[to:]
    old, new = draw(st.sampled_from(_SWAPS))
    return raw.replace(old, new)


_SWAPS = (
    (b"boundary=", b"boundry="),
    (b'boundary="', b'boundary="other'),
    (b"base64", b"quoted-printable"),
    (b"quoted-printable", b"base64"),
    (b"base64", b"x-uuencode"),
    (b"8bit", b"x-unknown"),
    (b"multipart/mixed", b"multipart/digest"),
    (b"application/", b"message/rfc822"),
    (b"text/plain", b"text"),
    (b"charset=", b"charset=x-"),
    (b"utf-8", b"unicode_escape"),
    (b"iso-2022-jp", b"idna"),
    (b"; ", b" "),
    (b"?=", b"?"),
    (b"''", b"'"),
    (b"filename", b"filename*1"),
    (b"\r\n\r\n", b"\r\n"),
    (b"Content-Type", b" Content-Type"),
    (b"application/pdf", b"application/pkcs7-mime; smime-type=signed-data"),
    (b"application/zip", b"application/ms-tnef"),
)
