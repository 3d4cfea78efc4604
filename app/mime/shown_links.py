"""The target of a link, written after its label where the label does not tell it."""

import html as html_entities
import re
from dataclasses import dataclass, field

from app.mime.html_attributes import LINK, escaped
from app.mime.snippet import LINK_BEGIN, LINK_END

LINK_SHOWN_MAX_CHARS = 2000
_ADDRESS_ENDS = re.compile(r"^(?:https?://|mailto:|tel:)?(?:www\.)?|[/\s]+$", re.I)


@dataclass(slots=True)
class Link:
    """An open link, and the text of its label so far."""

    target: str
    label: list[str] = field(default_factory=list)
    has_image: bool = False


def shown_link(link: Link) -> str:
    """The text after a link's label: the target of the link, unless the label is the target."""
    label = html_entities.unescape("".join(link.label)).strip()
    target = link.target.strip()
    if not LINK.match(target) or len(target) > LINK_SHOWN_MAX_CHARS:
        return ""
    address = (
        target[7:]
        if target[:7].lower() == "mailto:"
        else target[4:]
        if target[:4].lower() == "tel:"
        else target
    )
    if not label:
        return f" {LINK_BEGIN}{escaped(address)}{LINK_END} " if link.has_image else ""
    if _ADDRESS_ENDS.sub("", label).lower() == _ADDRESS_ENDS.sub("", address).lower():
        return ""
    return f"{LINK_BEGIN} ({escaped(address)}){LINK_END}"
