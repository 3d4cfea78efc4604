"""Makes the snippet: the beginning of the new text in a mail, on one line.

New text is what the sender wrote now. Quotations are not new, whether the answer is above, below or between them. Neither
are the answered mail, signatures and invisible padding.
"""

import re

from app.mime.quotes import Kind, is_phone_signature, quoted_beginning

SNIPPET_MAX_CHARS = 200
FRESH_MAX_CHARS = 200_000
# Enough for a snippet, even after folding.
FRESH_ENOUGH_CHARS = 1000

# Marks in text that `render_html` makes: code points that are no characters (Unicode §23.7). `without_marks` removes them
# from incoming text, so senders cannot hide or show anything with them.
QUOTE_BEGIN, QUOTE_END, LINK_BEGIN, LINK_END, QUOTED_REST = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3", "\ufdd4"
_MARKS = (QUOTE_BEGIN, QUOTE_END, LINK_BEGIN, LINK_END, QUOTED_REST)
_MARK = re.compile("[\ufdd0-\ufdd4]")
_MARKED_LINK = re.compile(" ?\ufdd2[^\ufdd3]*+\ufdd3?")
# Text that mailers write for a link or an image: "Mail<https://…>", "[cid:image001.png@…]".
_WRITTEN_LINK = re.compile(
    r"<(?:https?|mailto):[^<>\s]{1,2000}+>|\[(?:cid|image|obrázek|Bild): ?[^\[\]\n]{1,200}+\]", re.I
)
# Soft hyphen, joiners of graphemes and words, zero-width spaces, directions, invisible fillers.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0]"
)
# These join words and emoji: they are padding only if there is nothing to join.
_LONE_JOINER = re.compile("(?<![^\\s\u200c\u200d])[\u200c\u200d]++|[\u200c\u200d]++(?![^\\s])")
_QUOTED = re.compile(r"\s*+(?:>\s*+)*+")
_SIGNATURE = frozenset({"-- ", "--"})


def without_marks(text: str) -> str:
    """The text without marks: the form for people, and for text from senders."""
    return _MARK.sub("", text) if _has_marks(text) else text


def _has_marks(text: str) -> bool:
    """Looked for one by one, which is thirty times as fast as by the pattern."""
    return not text.isascii() and any(mark in text for mark in _MARKS)


def make_snippet(text: str) -> str:
    """The beginning of the new text in a mail. If a mail only quotes or forwards, the beginning of the forwarded text."""
    text = text[:FRESH_MAX_CHARS]
    if LINK_BEGIN in text:
        text = _MARKED_LINK.sub("", text)
    if "<" in text or "[" in text:
        text = _WRITTEN_LINK.sub("", text)
    folded = _fold(fresh_text(text)) or _fold(_passed_on(text)) or _fold(without_marks(text))
    return folded if len(folded) <= SNIPPET_MAX_CHARS else folded[: SNIPPET_MAX_CHARS - 1].rstrip() + "…"


def _fold(text: str) -> str:
    if not text.isascii():
        text = _INVISIBLE.sub("", text)
        if "\u200c" in text or "\u200d" in text:
            text = _LONE_JOINER.sub("", text)
    return " ".join(text.split())


def fresh_text(text: str) -> str:
    """The beginning of the text that the sender wrote now."""
    lines = _unquoted_lines(text)
    fresh: list[str] = []
    enough = FRESH_ENOUGH_CHARS
    at = 0
    while at < len(lines) and enough > 0:
        line = lines[at]
        kind, count = quoted_beginning(lines, at)
        if kind:
            is_quoted = _quotation_follows(lines, at + count)
            if kind > Kind.NAMED and not is_quoted:
                break
            if is_quoted:
                at += count
                continue
        at += 1
        if line in _SIGNATURE and fresh:
            break
        if line and not line.startswith(">") and line not in _SIGNATURE and not is_phone_signature(line):
            fresh.append(line)
            enough -= len(line)
    return "\n".join(fresh)


def _passed_on(text: str) -> str:
    """The text below the header of a forwarded mail, or below an attribution."""
    lines = [_QUOTED.sub("", line, count=1).strip() for line in without_marks(text).split("\n")]
    at = 0
    while at < len(lines) and (not lines[at] or (count := quoted_beginning(lines, at)[1])):
        at += count if lines[at] else 1
    return fresh_text("\n".join(lines[at:]))


def _unquoted_lines(text: str) -> list[str]:
    """The lines above a quoted rest, stripped. A line that is marked as quoted begins with ">"."""
    if not _has_marks(text):
        return [line.strip() for line in text.split("\n")]
    lines: list[str] = []
    depth = 0
    for line in text.split("\n"):
        if QUOTED_REST in line and depth == 0:
            lines.append(without_marks(line.partition(QUOTED_REST)[0]).strip())
            break
        was_quoted = depth > 0
        depth = max(depth + line.count(QUOTE_BEGIN) - line.count(QUOTE_END), 0)
        bare = without_marks(line).strip()
        if was_quoted or QUOTE_BEGIN in line:
            bare = f"> {bare}"
        lines.append(bare)
    return lines


def _quotation_follows(lines: list[str], at: int) -> bool:
    following = next((line for line in lines[at : at + 4] if line), "")
    return following.startswith(">")
