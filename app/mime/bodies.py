"""Which parts are the message and which are attached, and the message as text and as safe HTML.

multipart/alternative offers the same thing twice (RFC 2046 §5.1.4: plainest first); all other multiparts put
one after the other, and Apple Mail and mailing lists do put several texts into one mail.
"""

import html as html_entities
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from app.mime.attachments import decode_part
from app.mime.charset import decode
from app.mime.model import DefectCode, Defects
from app.mime.plain import render_html, strip_tags, unflow
from app.mime.sanitise import HTML_MAX_CHARS, is_html_bomb, sanitise_html
from app.mime.structure import Part
from app.mime.text import clean_text

TEXT_MAX_CHARS = 1024 * 1024

_CID = re.compile(r"cid:([^\s\"'<>)]{1,500})", re.I)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.I)
_NEVER_BODY = frozenset({"text/calendar", "text/vcard", "text/x-vcard", "text/directory", "text/csv"})


@dataclass(slots=True)
class Section:
    """A piece of the message: the same in plain and in HTML, of which one may be missing."""

    plain: list[Part] = field(default_factory=list)
    rich: list[Part] = field(default_factory=list)


def _is_body(part: Part) -> bool:
    if part.disposition == "attachment" or not part.media_type.startswith(("text/", "multipart/")):
        return False
    if part.media_type.startswith("multipart/"):
        # Without boundary or parts it is read as text, else nobody would see what it says; too deep: opaque.
        return part.parent is None or part.begin == part.end or not part.parameters.get("boundary")
    if part.parent is None:
        return part.media_type not in _NEVER_BODY
    if part.media_type not in ("text/plain", "text/html"):
        return False
    if (
        part.parent.media_type == "multipart/related"
        and part.content_id
        and part.parent.children[0] is not part
    ):
        return False
    named = "filename" in part.disposition_parameters or "name" in part.parameters
    return not named or (part.parent.media_type == "multipart/alternative" and part.disposition != "inline")


def read_sections(part: Part) -> list[Section]:
    """The message, in the order of the mail. Depth is bounded by the tree's."""
    if not part.is_multipart:
        if not _is_body(part):
            return []
        return [Section(rich=[part]) if part.media_type == "text/html" else Section(plain=[part])]
    offered = [read_sections(child) for child in part.children]
    if part.media_type != "multipart/alternative":
        return [section for sections in offered for section in sections]
    chosen = Section()
    for sections in offered:
        if any(section.rich for section in sections):
            chosen.rich = [leaf for section in sections for leaf in (section.rich or section.plain)]
        elif not chosen.plain:
            chosen.plain = [leaf for section in sections for leaf in section.plain]
    return [chosen] if chosen.plain or chosen.rich else []


def read_attachment_parts(root: Part) -> list[Part]:
    """All leaves that are not the message, in the order of the mail."""
    found: list[Part] = []
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.is_multipart:
            waiting += reversed(part.children)
        elif not _is_body(part):
            found.append(part)
    return found


class BodyReader:
    """Decodes the parts of the message, each once."""

    def __init__(self, raw: bytes, defects: Defects) -> None:
        self._raw, self._defects = raw, defects
        self._decoded: dict[int, str] = {}

    def source(self, part: Part) -> str:
        """The text of a part as it was written: decoded, line ends LF, nothing sanitised."""
        known = self._decoded.get(part.begin)
        if known is not None:
            return known
        limit = HTML_MAX_CHARS if part.media_type == "text/html" else TEXT_MAX_CHARS
        data = decode_part(self._raw, part, self._defects, where=part.media_type)
        charset = part.parameters.get("charset", "")
        if not charset and part.media_type == "text/html" and not data.isascii():
            meta = _META_CHARSET.search(data, 0, 4096)
            charset = meta[1].decode("ascii") if meta else ""
        # Four octets to a character at most: no need to decode what the limit cuts off anyway.
        value = decode(data[: 4 * limit], charset, self._defects, where=part.media_type).removeprefix(
            "\ufeff"
        )
        if len(value) > limit or len(data) > 4 * limit:
            is_html = part.media_type == "text/html"
            code = DefectCode.HTML_TRUNCATED if is_html else DefectCode.TEXT_TRUNCATED
            self._defects.note(code, f"more than {limit} characters")
        if "\x00" in value:
            self._defects.note(DefectCode.CONTROL_CHARACTERS, f"NUL in {part.media_type}")
        value = clean_text(value, limit)
        self._decoded[part.begin] = value
        return value

    def plain(self, part: Part) -> str:
        value = self.source(part)
        if part.parameters.get("format", "").lower() == "flowed":
            value = unflow(value, delsp=part.parameters.get("delsp", "").lower() == "yes")
        return value

    def shown_content_ids(self, sections: list[Section]) -> frozenset[str]:
        """What the HTML shows by `cid:`, in lower case."""
        shown: set[str] = set()
        for section in sections:
            for part in section.rich:
                shown.update(unquote(match[1]).lower() for match in _CID.finditer(self.source(part)))
        return frozenset(shown)

    def texts(self, sections: list[Section], *, with_html: bool) -> tuple[str | None, str | None]:
        """The message as text and as safe HTML, None where there is none of it."""
        if not sections:
            return None, None
        texts: list[str] = []
        pieces: list[str] = []
        has_html = False
        budget = HTML_MAX_CHARS
        for section in sections:
            plain = "\n".join(self.plain(part) for part in section.plain)
            rich = ""
            if section.rich and with_html:
                rich = self._rich(section.rich, budget)
                budget -= len(rich)
                has_html = has_html or bool(rich)
            if not plain.strip() and section.rich:
                plain = self._rendered(section.rich, rich)
            texts.append(plain)
            pieces.append(rich or _escaped(plain))
        text = clean_text("\n".join(texts), TEXT_MAX_CHARS)
        html = "\n".join(pieces).strip() if has_html else None
        return text.rstrip("\n") if len(texts) > 1 else text, html or None

    def _rich(self, parts: list[Part], budget: int) -> str:
        pieces = []
        for part in parts:
            source = self.source(part)
            if part.media_type != "text/html":
                pieces.append(_escaped(self.plain(part)))
            elif len(source) > max(budget, 0) or is_html_bomb(source):
                self._defects.note(DefectCode.HTML_WITHHELD, "too deep or too much")
            else:
                budget -= len(source)
                pieces.append(sanitise_html(source))
        return "\n".join(pieces)

    def _rendered(self, parts: list[Part], safe_html: str) -> str:
        if safe_html:
            return render_html(safe_html)
        return "\n".join(strip_tags(self.source(part)) for part in parts)


def _escaped(text: str) -> str:
    return f'<div style="white-space:pre-wrap">{html_entities.escape(text)}</div>' if text.strip() else ""
