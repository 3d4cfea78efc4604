"""Our reading of a mail beside the standard library's: where they say other things, field by field.

A text is compared by its words, because we join parts, make text of HTML and tidy white space. It is *lost* where the
library shows words that nothing of ours has: not the text, not the HTML, not an attachment. A part is lost where it is
neither among our attachments nor in our text; its bytes are *changed* where we list it with other ones.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from html import unescape
from typing import Any

from app.adapters.parser import AttachmentUnreadable, ParserProcess
from app.mime.model import Address, ParsedMail

Json = dict[str, Any]

GRAVE = frozenset({"lost_text", "lost_html", "lost_attachment", "changed_bytes", "parser"})
"""These disagreements must be judged in advance; others are only listed."""
_WITH_TAGS = frozenset({"text/html", "text/enriched", "text/richtext", "application/xhtml+xml"})
_WORD = re.compile(r"\w{3,}")
_UNSEEN = re.compile(r"<!--.*?-->|<(script|style|head|title)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Disagreement:
    """One field of one mail that the two read otherwise."""

    field: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class Ours:
    """A mail as the parser process reads it, its attachments with their bytes."""

    raw: bytes
    parsed: ParsedMail
    contents: tuple[bytes, ...]

    @cached_property
    def words(self) -> frozenset[str]:
        """All that a reader can come to: shown, or in a file."""
        shown = [self.parsed.text or "", visible(self.parsed.html or ""), *map(_decoded, self.contents)]
        return frozenset(word for text in shown for word in words(text))

    @cached_property
    def hashes(self) -> frozenset[str]:
        return frozenset(hashlib.sha256(content).hexdigest() for content in self.contents)


def read_ours(process: ParserProcess, raw: bytes) -> Ours:
    """Read a mail and take out its attachments."""
    parsed = process.parse(raw)
    contents = []
    for info in parsed.attachments:
        try:
            found = process.attachment(raw, info.n)
        except AttachmentUnreadable:
            found = None
        contents.append(found.content if found is not None else b"")
    return Ours(raw, parsed, tuple(contents))


def disagreements(ours: Ours, theirs: Json) -> list[Disagreement]:
    """All of a mail; one for a field."""
    if "died" in theirs:
        return []
    faults = [defect.code.value for defect in ours.parsed.defects if defect.code.startswith("parser_")]
    found = [Disagreement("parser", faults, None)] if faults else []
    for name, ours_of in _FIELDS.items():
        if "error" in theirs[name]:
            found.append(Disagreement(name, ours_of(ours.parsed), theirs[name]))
        elif (mine := ours_of(ours.parsed)) != (other := _TIDY[name](theirs[name]["value"])):
            found.append(Disagreement(name, mine, other))
    return found + list(_losses(ours, theirs))


def _losses(ours: Ours, theirs: Json) -> Iterator[Disagreement]:
    for name, field, tidy in (("text", "lost_text", str), ("html", "lost_html", visible)):
        body = theirs[name].get("value")
        missing = _missing(ours, tidy(body)) if body else []
        if missing:
            yield Disagreement(field, (ours.parsed.text or "")[:300], missing[:20])
    lost: list[list[Any]] = []
    changed: list[list[Any]] = []
    shown = [theirs[name].get("value") for name in ("text", "html")]
    for part in theirs["parts"].get("value", ()):
        text = (part["text"] or {}).get("value")
        if text is not None and text in shown:
            continue  # looked at above
        if not _is_kept(ours, part):
            (changed if _is_listed(ours, part) else lost).append(_told(part))
    listed = [[each.content_type, each.name, each.size_octets] for each in ours.parsed.attachments]
    if lost:
        yield Disagreement("lost_attachment", listed, lost)
    if changed:
        yield Disagreement("changed_bytes", listed, changed)


def _is_kept(ours: Ours, part: Json) -> bool:
    """Among our files with the same bytes, or what it says is shown."""
    if part["sha256"] is None:  # an attached mail, whose bytes the library does not have
        return any(each.content_type.startswith("message/") for each in ours.parsed.attachments)
    if part["sha256"] in ours.hashes or not part["size_octets"]:
        return True
    text = (part["text"] or {}).get("value")
    if text is not None:
        return not _missing(ours, visible(text) if part["content_type"] in _WITH_TAGS else text)
    is_words = part["content_type"].partition("/")[0] in ("text", "multipart", "message")
    return is_words and not _missing(ours, visible(part["words_of_octets"]))


def _is_listed(ours: Ours, part: Json) -> bool:
    name = part["name"].get("value")
    return any(
        each.content_type == part["content_type"] and (not name or each.name == name)
        for each in ours.parsed.attachments
    )


def _told(part: Json) -> list[Any]:
    return [part["content_type"], part["name"].get("value"), part["size_octets"]]


def _missing(ours: Ours, text: str) -> list[str]:
    """What of a text the library shows and we do not; not where it could not decode it either."""
    read = " ".join(each for each in text.split() if "\ufffd" not in each)
    return sorted(set(words(read)) - ours.words)


def words(text: str) -> Iterable[str]:
    """Words of three letters and more, without case and kinds of width."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def visible(html: str) -> str:
    """The text of HTML, roughly: without scripts, styles, head and tags."""
    return unescape(_TAG.sub(" ", _UNSEEN.sub(" ", html)))


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _line(value: str | None) -> str | None:
    return None if value is None else " ".join(unicodedata.normalize("NFC", value).split())


def _people(value: Iterable[Address]) -> list[list[str]]:
    return [[_line(each.name) or "", each.address] for each in value]


def _their_people(value: list[list[str]]) -> list[list[str]]:
    return [[_line(name) or "", "" if address == "<>" else address] for name, address in value]


_FIELDS: dict[str, Callable[[ParsedMail], Any]] = {
    "subject": lambda mail: _line(mail.subject),
    "from": lambda mail: _people([mail.from_] if mail.from_ else []),
    "to": lambda mail: _people(mail.to),
    "cc": lambda mail: _people(mail.cc),
    "reply_to": lambda mail: _people(mail.reply_to),
    "date": lambda mail: mail.date_header.astimezone(UTC).isoformat() if mail.date_header else None,
    "message_id": lambda mail: _line(mail.message_id_header),
    "in_reply_to": lambda mail: _line(mail.in_reply_to),
    "references": lambda mail: list(mail.references),
}
_TIDY: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_FIELDS, _line),
    **dict.fromkeys(("to", "cc", "reply_to"), _their_people),
    "from": lambda value: _their_people(value)[:1],
    "references": list,
}
