"""Decides which parts of a mail are its message and which are attachments.

multipart/alternative offers the same content twice (RFC 2046 §5.1.4: the plainest form first). In all other multiparts the
parts follow each other, and Apple Mail and mailing lists put several texts into one mail. If the rules find no text, the
first text of any kind counts, so that no mail is empty.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.mime.references import part_keys, reference_key
from app.mime.structure import DEPTH_MAX, Part

ENRICHED_TYPES = frozenset({"text/enriched", "text/richtext"})
_MESSAGE_TYPES = ENRICHED_TYPES | {"text/plain", "text/html"}
# Text for programs: people want it as a file.
_NEVER_MESSAGE = frozenset(
    {"text/calendar", "text/vcard", "text/x-vcard", "text/directory", "text/csv", "text/rtf"}
)
_BLANK = re.compile(rb"(?:\s|=20|=A0|=C2=A0|\xc2?\xa0|&nbsp;|</?(?:html|body|head|div|p|br) ?/?>)*+", re.I)
BLANK_MAX_OCTETS = 400


@dataclass(slots=True)
class Section:
    """A piece of the message, as plain text and as HTML. One of the two may be missing."""

    plain: list[Part] = field(default_factory=list)
    rich: list[Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Choice:
    sections: list[Section]
    """The message, in the order of the mail."""
    attachments: list[Part]
    """All other leaves, in the order of the mail."""


def choose_parts(root: Part) -> Choice:
    """Separate the message from the attachments. The depth of the tree bounds the recursion."""
    chooser = _Chooser(root)
    return Choice(chooser.sections(root), chooser.attachments())


def leaves(root: Part) -> Iterator[Part]:
    """All parts without children, in the order of the mail, and opened containers that also stay attachments."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.is_multipart:
            waiting += reversed(part.children)
        if not part.is_multipart or part.kept:
            yield part


class _Chooser:
    def __init__(self, root: Part) -> None:
        self._roots: dict[int, Part] = {}
        self._leaves = list(leaves(root))
        messages = [part for part in self._leaves if self._is_message(part)]
        self._passed_over: set[int] = set()
        if all(_is_blank(part) for part in messages):
            spare = [part for part in self._leaves if part.spare][:1]
            if spare:
                self._passed_over = {id(part) for part in messages}
                messages = spare
        self._messages = {id(part) for part in messages or self._stand_ins()}

    def attachments(self) -> list[Part]:
        not_attached = self._messages | self._passed_over
        return [part for part in self._leaves if id(part) not in not_attached and not part.spare]

    def sections(self, part: Part) -> list[Section]:
        if not part.is_multipart:
            if id(part) not in self._messages:
                return []
            return [Section(rich=[part]) if part.media_type == "text/html" else Section(plain=[part])]
        children = part.children
        if part.media_type == "multipart/related":
            first = self._related_root(part)
            children = [first, *(child for child in children if child is not first)]
        offered = [self.sections(child) for child in children]
        if part.media_type != "multipart/alternative":
            return [section for sections in offered for section in sections]
        return _alternative(offered)

    def _is_message(self, part: Part) -> bool:
        if part.spare:
            return False
        if part.media_type.startswith("multipart/"):
            # A multipart without boundary or parts is read as text, so that people see it. One that is too deep stays closed.
            return part.depth < DEPTH_MAX and part.disposition != "attachment" and not part.kept
        if part.parent is None:
            return _is_sole_message(part)
        if part.media_type not in _MESSAGE_TYPES or not self._is_in_place(part):
            return False
        return (
            not part.stated_name or part.parent.media_type == "multipart/alternative" or self._is_root(part)
        )

    def _is_in_place(self, part: Part) -> bool:
        """Whether the part is not attached, and does not belong to a page in multipart/related."""
        return part.disposition != "attachment" and not self._is_of_a_page(part)

    def _is_of_a_page(self, part: Part) -> bool:
        in_related = part.parent is not None and part.parent.media_type == "multipart/related"
        return in_related and not self._is_root(part) and bool(part_keys(part))

    def _is_root(self, part: Part) -> bool:
        parent = part.parent
        return (
            parent is not None
            and parent.media_type == "multipart/related"
            and self._related_root(parent) is part
        )

    def _related_root(self, related: Part) -> Part:
        known = self._roots.get(id(related))
        if known is None:
            known = self._roots[id(related)] = _find_related_root(related)
        return known

    def _stand_ins(self) -> list[Part]:
        """The message if no text is in its proper place."""
        texts = [
            part
            for part in self._leaves
            if part.media_type.startswith("text/") and part.media_type not in _NEVER_MESSAGE
        ]
        others = [part for part in texts if self._is_in_place(part)] or [
            # "attachment" without a file name: mailers say so of the text itself.
            part
            for part in texts
            if part.media_type in _MESSAGE_TYPES and not part.stated_name and not self._is_of_a_page(part)
        ]
        if not others:
            return []
        parent = others[0].parent
        if parent is not None and parent.media_type == "multipart/alternative":
            return [part for part in others if part.parent is parent]
        return others[:1]


def _is_sole_message(part: Part) -> bool:
    """For a mail that is one part. With a file name and "attachment" together, somebody sent only a file."""
    if not part.media_type.startswith("text/") or part.media_type in _NEVER_MESSAGE:
        return False
    return part.disposition != "attachment" or not part.stated_name


def _is_blank(part: Part) -> bool:
    if part.end - part.begin > BLANK_MAX_OCTETS:
        return False
    return _BLANK.fullmatch(part.content) is not None


def _find_related_root(related: Part) -> Part:
    """The part that `start` names, otherwise the first (RFC 2387 §3.2), unless that part cannot be a page."""
    start = reference_key(related.parameters.get("start", ""))
    children = related.children
    if start:
        for child in children:
            if reference_key(child.content_id or "") == start:
                return child
    if not children[0].media_type.startswith(("text/", "multipart/")):
        stated = related.parameters.get("type", "").strip().lower()
        for wanted in (stated, "text/html", "multipart/alternative", "text/plain"):
            for child in children:
                if child.media_type == wanted and wanted.startswith(("text/", "multipart/")):
                    return child
    return children[0]


def _alternative(offered: list[list[Section]]) -> list[Section]:
    chosen = Section()
    for sections in offered:
        if any(section.rich for section in sections):
            chosen.rich = [leaf for section in sections for leaf in (section.rich or section.plain)]
        elif not chosen.plain:
            chosen.plain = [leaf for section in sections for leaf in section.plain]
    return [chosen] if chosen.plain or chosen.rich else []
