"""Finds the parts of a mail that its HTML shows: images named by Content-ID (RFC 2392) or Content-Location (RFC 2557).

A part and the `src` of an image match by a key. Senders write the Content-ID with and without `cid:`, percent-encoded or
not, in any case. This module reads the HTML as it came, not as it is shown: taking out an attachment must not depend on an
HTML parser, which a mail can stop. So everything here reads the text once.
"""

import html as html_entities
import re
from urllib.parse import unquote

from app.mime.headers import first
from app.mime.structure import Part

KEY_MAX_CHARS = 2000

_WHITE_SPACE = re.compile(r"\s+")
# Text that no browser shows: comments (Outlook's conditional ones hold images too), and elements that are dropped.
_TOKEN = re.compile(
    r"<(?:(!--)|(script|style|title|template|textarea|select|noscript|noembed|noframes|iframe|object|applet"
    r"|audio|video|svg|math|xml|frameset)(?=[\s/>])|im(?:g|age)(?=[\s/]))",
    re.I,
)
_ATTRIBUTE = re.compile(
    r"""[\s/]*+([^\s=>/"']++)(?:\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+))?+""",
)
_STRAY = re.compile(r"""[\s/"'=]++""")


def reference_key(source: str) -> str:
    """The key of an image's `src`, for comparison with `part_keys`. Empty: it names nothing."""
    value = _WHITE_SPACE.sub("", html_entities.unescape(source[: 2 * KEY_MAX_CHARS])).lower()
    return _WHITE_SPACE.sub("", unquote(value.removeprefix("cid:"))).strip("<>")[:KEY_MAX_CHARS]


def part_keys(part: Part) -> tuple[str, ...]:
    """The keys by which HTML may name this part: its Content-ID, its Content-Location."""
    location = first(part.fields, b"content-location")[:KEY_MAX_CHARS].decode("utf-8", "replace")
    stated = (reference_key(part.content_id or ""), reference_key(location.strip(' \t\r\n"')))
    return tuple(key for key in stated if key)


def shown_references(html: str) -> frozenset[str]:
    """The keys of all images that this HTML shows."""
    shown: set[str] = set()
    at = 0
    while token := _TOKEN.search(html, at):
        at = token.end()
        if token[1] is not None:
            at = html.find("-->", at - 2)  # "<!-->" is a whole comment
        elif token[2] is not None:
            at = _element_end(html, at, token[2])
        else:
            source, at = _image_source(html, at)
            if source:
                shown.add(reference_key(source))
        if at < 0:
            break
    return frozenset(shown)


def _element_end(html: str, at: int, name: str) -> int:
    """The start of a dropped element's closing tag. -1: there is none, so the rest is dropped too."""
    found = re.compile(rf"</{name.lower()}", re.I).search(html, at)  # `re` caches these few patterns
    return found.start() if found else -1


def _image_source(html: str, at: int) -> tuple[str, int]:
    """The `src` of the tag that continues here, and the end of the tag. -1: the tag has no end."""
    source = ""
    while at < len(html) and html[at] != ">":
        attribute = _ATTRIBUTE.match(html, at)
        if attribute is None:
            stray = _STRAY.match(html, at)
            if stray is None:
                break
            at = stray.end()
            continue
        at = attribute.end()
        value = attribute[2]
        if value is not None and not source and attribute[1].lower() == "src":
            source = value[1:-1] if value[0] in "\"'" else value
    return source, at if at < len(html) else -1
