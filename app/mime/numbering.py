"""Gives each attachment its number. A listed attachment keeps its number for ever, because callers keep it.

The position in the mail (`Part.locator`) identifies a part. A listed part that is no attachment any more (a later reader
shows it as text) stays listed with its number. Parts that only a later reader finds get the numbers after all listed ones.
A listed part that cannot be found leaves a gap: no number ever changes its meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.mime import reader_1
from app.mime.model import Listed
from app.mime.structure import Part, all_parts


@dataclass(frozen=True, slots=True)
class Numbered:
    n: int
    part: Part
    is_attached: bool = True
    """False: an earlier reader listed this part, and for this reader it belongs to the shown text."""


def number_parts(raw: bytes, root: Part, found: Sequence[Part], listed: Sequence[Listed]) -> list[Numbered]:
    """The attachments with their numbers: those found in the mail, and those that are listed."""
    if not listed:
        return [Numbered(n, part) for n, part in enumerate(found, 1)]
    attached = {part.locator for part in found}
    kept = {part.locator: (n, part) for n, part in reversed(_listed_parts(raw, root, listed))}
    numbered = [Numbered(n, part, locator in attached) for locator, (n, part) in kept.items()]
    numbered.sort(key=lambda each: each.n)
    besides = [part for part in found if part.locator not in kept]
    return numbered + [
        Numbered(n, part) for n, part in enumerate(besides, max(each.n for each in listed) + 1)
    ]


def _listed_parts(raw: bytes, root: Part, listed: Sequence[Listed]) -> list[tuple[int, Part]]:
    by_locator = {part.locator: part for part in all_parts(root)}
    placed = [
        (each.n, part) for each in listed if each.part is not None and (part := by_locator.get(each.part))
    ]
    unplaced = [each for each in listed if each.part is None]
    parts = reader_1.find_parts(raw, root, [each.size_octets for each in unplaced]) if unplaced else []
    placed += [(each.n, part) for each, part in zip(unplaced, parts, strict=True) if part is not None]
    return placed
