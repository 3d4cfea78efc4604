"""The snippet: the beginning of what is new in a mail, on one line.

New is what the sender wrote now: not what is quoted, wherever the answer stands (above, below, between), not
the mail that is answered, no signature, and no invisible padding.
"""

import re

from app.mime.quotes import Kind, is_phone_signature, quoted_beginning

SNIPPET_MAX_CHARS = 200
FRESH_MAX_CHARS = 200_000
# Enough for a snippet, whatever is folded.
FRESH_ENOUGH_CHARS = 1000

# Marks in text that `render_html` makes: code points that are no characters (Unicode §23.7), so no text has them.
QUOTE_BEGIN, QUOTE_END, LINK_BEGIN, LINK_END = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
_MARK = re.compile("[\ufdd0-\ufdd3]")
_MARKED_LINK = re.compile(" ?\ufdd2[^\ufdd3]*+\ufdd3?")
# What mailers put into text for a link or an image: "Mail<https://…>", "[cid:image001.png@…]".
_WRITTEN_LINK = re.compile(
    r"<(?:https?|mailto):[^<>\s]{1,2000}+>|\[(?:cid|image|obrázek|Bild): ?[^\[\]\n]{1,200}+\]", re.I
)
# Soft hyphen, joiners of graphemes and words, zero-width spaces, directions, fillers that are drawn as nothing.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0]"
)
# Words and emoji are joined by these: they are padding only where nothing is there to join.
_LONE_JOINER = re.compile("(?<![^\\s\u200c\u200d])[\u200c\u200d]++|[\u200c\u200d]++(?![^\\s])")
_SIGNATURE = frozenset({"-- ", "--"})


def without_marks(text: str) -> str:
    """The text that people get."""
    return _MARK.sub("", text)


def make_snippet(text: str) -> str:
    """The beginning of what is new in a mail; of a mail that only quotes or passes on, of all."""
    text = _WRITTEN_LINK.sub("", _MARKED_LINK.sub("", text[:FRESH_MAX_CHARS]))
    folded = _fold(fresh_text(text)) or _fold(without_marks(text))
    return folded if len(folded) <= SNIPPET_MAX_CHARS else folded[: SNIPPET_MAX_CHARS - 1].rstrip() + "…"


def _fold(text: str) -> str:
    visible = _INVISIBLE.sub("", text)
    return " ".join(_LONE_JOINER.sub("", visible).split())


def fresh_text(text: str) -> str:
    """The beginning of what the sender wrote now."""
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


def _unquoted_lines(text: str) -> list[str]:
    """The lines, without space around; one that is marked as quoted begins with ">"."""
    lines: list[str] = []
    depth = 0
    for line in text.split("\n"):
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
