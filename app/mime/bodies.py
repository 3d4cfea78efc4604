"""The message as text and as safe HTML, made from the parts that were chosen for it."""

import html as html_entities
import re
from collections.abc import Mapping
from typing import NamedTuple

from app.mime.attachments import decode_part
from app.mime.charset import decode
from app.mime.enriched import enriched_text
from app.mime.model import DefectCode, Defects
from app.mime.plain import render_html, strip_tags, unflow
from app.mime.references import shown_references
from app.mime.sanitise import HTML_MAX_CHARS, is_html_bomb, read_html
from app.mime.sections import ENRICHED_TYPES, Section
from app.mime.shown_html import ShownHtml
from app.mime.snippet import QUOTE_BEGIN, QUOTE_END, without_marks
from app.mime.structure import Part
from app.mime.text import REPLACEMENT, clean_text

TEXT_MAX_CHARS = 1024 * 1024
LINE_ENDS = "\r\n"

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.I)


class Texts(NamedTuple):
    """The texts of a mail. None: the mail has no such text."""

    text: str | None
    html: str | None
    marked: str
    """The text, with marks for `make_snippet`."""


class BodyReader:
    """Decodes the parts of the message, each once."""

    def __init__(self, defects: Defects) -> None:
        self._defects = defects
        self._decoded: dict[int, str] = {}
        self.images: Mapping[str, str] = {}

    def source(self, part: Part) -> str:
        """The text of a part as it was written: decoded, with LF as line end, not sanitised."""
        known = self._decoded.get(id(part))
        if known is not None:
            return known
        limit = HTML_MAX_CHARS if part.media_type == "text/html" else TEXT_MAX_CHARS
        decoded = decode_part(part, self._defects, where=part.media_type)
        data = decoded.content
        charset = part.parameters.get("charset", "")
        if not charset and part.media_type == "text/html" and not data.isascii():
            meta = _META_CHARSET.search(data, 0, 4096)
            charset = meta[1].decode("ascii") if meta else ""
        # A character has at most four octets, so do not decode octets that the limit cuts off anyway.
        value = decode(data[: 4 * limit], charset, self._defects, where=part.media_type).removeprefix(
            "\ufeff"
        )
        if len(value) > limit or len(data) > 4 * limit:
            is_html = part.media_type == "text/html"
            code = DefectCode.HTML_TRUNCATED if is_html else DefectCode.TEXT_TRUNCATED
            self._defects.record(code, f"more than {limit} characters")
        cleaned = clean_text(value, limit)
        if (REPLACEMENT in cleaned or len(value) > limit) and "\x00" in value:
            self._defects.record(DefectCode.CONTROL_CHARACTERS, f"NUL in {part.media_type}")
        value = without_marks(cleaned)
        if decoded.pasted:
            pasted = decode(decoded.pasted[: 4 * limit], "", self._defects, where=part.media_type)
            pasted = without_marks(clean_text(pasted, limit))
            value = _with_footer(value, pasted, is_html=part.media_type == "text/html")
        self._decoded[id(part)] = value
        return value

    def plain(self, part: Part) -> str:
        value = self.source(part)
        if part.media_type in ENRICHED_TYPES:
            return enriched_text(value, richtext=part.media_type == "text/richtext")
        if part.parameters.get("format", "").lower() == "flowed":
            value = unflow(value, delsp=part.parameters.get("delsp", "").lower() == "yes")
        return value

    def shown_references(self, sections: list[Section]) -> frozenset[str]:
        """The keys of the parts of the mail that its HTML shows."""
        shown: set[str] = set()
        for section in sections:
            for part in section.rich:
                if part.media_type == "text/html" and not is_html_bomb(self.source(part)):
                    shown |= shown_references(self.source(part))
        return frozenset(shown)

    def texts(self, sections: list[Section], *, with_html: bool) -> Texts:
        """The message as text and as safe HTML."""
        if not sections:
            return Texts(None, None, "")
        texts: list[str] = []
        pieces: list[tuple[str, str]] = []
        has_html = is_made = False
        budget = HTML_MAX_CHARS
        for section in sections:
            plain = "\n".join(self.plain(part) for part in section.plain)
            rich = ShownHtml("", "")
            if section.rich and with_html:
                rich = self._rich(section.rich, budget)
                budget -= len(rich.html)
                has_html = has_html or bool(rich.html)
            if not plain.strip() and section.rich:
                plain = self._rendered(section.rich, rich)
                is_made = True
            texts.append(plain)
            pieces.append((rich.html, plain))
        marked = "\n".join(texts)
        text = without_marks(marked)
        if is_made or len(text) > TEXT_MAX_CHARS:
            text = clean_text(text, TEXT_MAX_CHARS)
        html = "\n".join(rich or _escaped(plain) for rich, plain in pieces).strip() if has_html else None
        return Texts(text.rstrip("\n") if len(texts) > 1 else text, html or None, marked)

    def _rich(self, parts: list[Part], budget: int) -> ShownHtml:
        pieces = []
        for part in parts:
            source = self.source(part)
            if part.media_type != "text/html":
                escaped = _escaped(self.plain(part))
                pieces.append(ShownHtml(escaped, escaped))
            elif len(source) > max(budget, 0) or is_html_bomb(source):
                self._defects.record(DefectCode.HTML_WITHHELD, "too deep or too much")
            else:
                budget -= len(source)
                pieces.append(read_html(source, self.images))
                if pieces[-1].is_withheld:
                    self._defects.record(DefectCode.HTML_WITHHELD, "grows too much")
        return ShownHtml("\n".join(each.html for each in pieces), "\n".join(each.marked for each in pieces))

    def _rendered(self, parts: list[Part], rich: ShownHtml) -> str:
        """Text made from HTML, with the marks."""
        if rich.html:
            return render_html(rich.marked)
        return "\n".join(strip_tags(self.source(part)) for part in parts)


def _with_footer(value: str, pasted: str, *, is_html: bool) -> str:
    """A text with the pasted text after it and an empty line between. Marks show that the sender did not write it."""
    if is_html:
        return f"{value}\n{_escaped(pasted)}"
    return f"{value.rstrip(LINE_ENDS)}\n\n{QUOTE_BEGIN}{pasted}{QUOTE_END}"


def _escaped(text: str) -> str:
    return (
        f'<div style="white-space:pre-wrap">{html_entities.escape(without_marks(text))}</div>'
        if text.strip()
        else ""
    )
