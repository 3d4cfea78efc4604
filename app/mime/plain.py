"""Plain text for people: HTML rendered as text, flowed lines joined, the fresh part of an answer found."""

import html as html_entities
import re

import inscriptis
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig

from app.mime.text import clean_text

RENDER_MAX_CHARS = 512 * 1024
SNIPPET_MAX_CHARS = 200
FRESH_MAX_CHARS = 20_000
# Enough for a snippet, whatever is folded.
FRESH_ENOUGH_CHARS = 1000

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

    Tables are laid out flat, cell after cell: mail uses them for layout, and inscriptis pads columns to the
    widest cell, which makes 40 MB of 60 KB (measured).
    """
    flat = _ROW_END.sub("<br>", _CELL_END.sub(" ", safe_html[:RENDER_MAX_CHARS]))
    return _tidy(inscriptis.get_text(_TABLE_TAGS.sub("", flat), _CONFIG))


def strip_tags(html: str) -> str:
    """The text of HTML that is not worth a parser: tags out, entities decoded. The result is text, never markup."""
    text = html_entities.unescape(_ANY_TAG.sub(" ", _HIDDEN.sub("<", html[:RENDER_MAX_CHARS])))
    return _tidy(clean_text(text, RENDER_MAX_CHARS))  # entities may have become controls


def _tidy(text: str) -> str:
    lines = "\n".join(line.rstrip(" \t\xa0") for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", lines).strip()


def unflow(text: str, *, delsp: bool) -> str:
    """Join the lines of format=flowed (RFC 3676 §4.4): a line that ends in a space goes on in the next."""
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


# mail-parser-reply would know more languages, but its patterns are quadratic: "On " 4,000 times takes 2.4 s.
# These look at one short line each.
_ATTRIBUTION = re.compile(
    r"(?:On\b.{0,300}\bwrote|Dne\b.{0,300}\bnapsal(?:\(a\)|a|i)?|Am\b.{0,300}\bschrieb\b.{0,100}|"
    r"Dňa\b.{0,300}\bnapísal(?:\(a\)|a)?|W dniu\b.{0,300}\bpisze|.{0,200} (?:napsal|napísal|wrote)\(?a?\)?) ?:",
    re.S,
)
_SEPARATOR = re.compile(
    r"-{2,} ?(?:Original Message|Původní zpráva|Původní e-mail|Pôvodná správa|Ursprüngliche Nachricht|"
    r"Forwarded message|Přeposlaná zpráva|Oryginalna wiadomość) ?-{2,}|[_-]{30,}",
    re.I,
)
_OUTLOOK_FROM = re.compile(r"\*?(?:From|Od|Von):\*? .{1,300}", re.I)
_OUTLOOK_SENT = re.compile(r"\*?(?:Sent|Date|Odesláno|Odoslané|Datum|Gesendet|Wysłano):\*? .{1,100}", re.I)


def fresh_text(text: str) -> str:
    """The beginning of what the sender wrote now: no quoted lines, no mail answered, no signature."""
    lines = text[:FRESH_MAX_CHARS].split("\n")
    fresh: list[str] = []
    enough = FRESH_ENOUGH_CHARS
    for at, line in enumerate(lines):
        bare = line.strip()
        if bare.startswith(">"):
            continue
        if line == "-- " or (len(bare) < 400 and _SEPARATOR.fullmatch(bare)):
            break
        following = lines[at + 1].strip() if at + 1 < len(lines) else ""
        # Gmail and Apple Mail break "On …, Jana Nováková <jana@firma.cz>\nwrote:" in two.
        both = f"{bare} {following}" if bare.startswith(("On ", "Dne ", "Am ")) else ""
        if any(len(each) < 400 and _ATTRIBUTION.fullmatch(each) for each in (bare, both)):
            break
        if _OUTLOOK_FROM.fullmatch(bare) and _OUTLOOK_SENT.fullmatch(following):
            break
        fresh.append(bare)
        enough -= len(bare)
        if enough < 0:
            break
    return "\n".join(fresh).strip()


def make_snippet(text: str) -> str:
    """The beginning of what is new in a mail, on one line; of a mail that only quotes, of all."""
    folded = " ".join((fresh_text(text) or text[:FRESH_MAX_CHARS]).split())
    return folded if len(folded) <= SNIPPET_MAX_CHARS else folded[: SNIPPET_MAX_CHARS - 1].rstrip() + "…"
