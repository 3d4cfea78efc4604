"""Makes plain text for people: renders HTML as text, and joins flowed lines."""

import html as html_entities
import re

import inscriptis
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig

from app.mime.text import clean_text

RENDER_MAX_CHARS = 512 * 1024

_CONFIG = ParserConfig(css=CSS_PROFILES["strict"], display_images=False, display_links=False)
_TABLE_TAGS = re.compile(r"</?(?:table|tbody|thead|tfoot|tr|td|th|caption|colgroup|col)\b[^>]*+>")
_ROW_END = re.compile(r"</(?:tr|table|caption)>")
_CELL_END = re.compile(r"</t[dh]>")
_ANY_TAG = re.compile(r"<[^<>]*+(?:>|\Z)")
_HIDDEN = re.compile(r"<(script|style|title)\b(?:[^<]++|<(?!/\1))*+(?:</\1|\Z)", re.I)
_BLANK_LINES = re.compile(r"\n(?:[ \t\xa0]*\n){2,}")
_TRAILING = re.compile(r"[ \t\xa0]+\n")


def render_html(safe_html: str) -> str:
    """The text of sanitised HTML.

    Tables become flat, cell after cell: mail uses tables for layout, and inscriptis pads columns to the widest cell, which
    makes 40 MB from 60 KB (measured).
    """
    flat = _ROW_END.sub("<br>", _CELL_END.sub(" ", safe_html[:RENDER_MAX_CHARS]))
    flat = flat.replace("&amp;", "&amp;amp;")  # inscriptis decodes once more what lxml has already decoded
    return _tidy(inscriptis.get_text(_TABLE_TAGS.sub("", flat), _CONFIG))


def strip_tags(html: str) -> str:
    """The text of HTML without a parser: tags removed, entities decoded. The result is text, never markup."""
    text = html_entities.unescape(_ANY_TAG.sub(" ", _HIDDEN.sub("<", html[:RENDER_MAX_CHARS])))
    return _tidy(clean_text(text, RENDER_MAX_CHARS))  # decoded entities may be controls


def _tidy(text: str) -> str:
    lines = "\n".join(line.rstrip(" \t\xa0") for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", lines).strip()


def unflow(text: str, *, delsp: bool) -> str:
    """Join the lines of format=flowed (RFC 3676 §4.4): a line that ends with a space continues in the next one."""
    out: list[str] = []
    paragraph: list[str] = []
    paragraph_depth = 0

    def flush() -> None:
        if paragraph:
            out.append((">" * paragraph_depth + " " if paragraph_depth else "") + "".join(paragraph))
            paragraph.clear()

    for line in text.split("\n"):
        rest = line.lstrip(">")
        depth = len(line) - len(rest)
        rest = rest.removeprefix(" ")  # §4.4: space-stuffing
        if depth != paragraph_depth:
            flush()
            paragraph_depth = depth
        if rest.endswith(" ") and rest != "-- ":  # §4.3: a signature separator is never flowed
            paragraph.append(rest[:-1] if delsp else rest)
        else:
            if rest == "-- ":
                flush()
            paragraph.append(rest)
            flush()
    flush()
    return "\n".join(out)
