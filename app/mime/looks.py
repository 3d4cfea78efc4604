"""What style makes of an element: its colours, and whether its text can be seen."""

import re
from dataclasses import dataclass

from app.mime.colours import BLACK, WHITE, Colour, background_colour, safe_colour
from app.mime.style_sheets import Compound, Declarations

_ZERO = re.compile(r"0*(?:\.0*)?(?:px|pt|em|rem|ex|%|in|cm|mm)?")
_TINY = re.compile(r"(?:0*(?:\.\d{0,4})?|0*1(?:\.0*)?)(?:px|pt)?|0*(?:\.0*)?(?:r?em|ex|%)")
_RELATIVE = re.compile(r"[\d.]*(?:em|ex|%)|inherit|smaller|larger")
_FONT_SIZE = re.compile(r"(?:^|\s)([\d.]+(?:px|pt|em|rem|%)?)(?=\s|/|$)")
IMPORTANT = re.compile(r"\s*!\s*important")


@dataclass(slots=True)
class Frame:
    """An open element."""

    tag: str
    names: Compound
    text_colour: Colour = BLACK
    background: Colour = WHITE
    is_unsure: bool = False
    """A background was lost, or a colour comes from a sheet that is not completely understood."""
    is_unseen: bool = False
    """Text here has no size, or no colour."""
    is_invisible: bool = False
    """Nothing is drawn here, but inner elements may be visible."""
    is_quote: bool = False


def background_of(stated: Declarations) -> str:
    """The colour of the background: later properties are more exact than the shorthand."""
    plain = safe_colour(IMPORTANT.sub("", stated.get("background-color", "")))
    if plain:
        return plain
    return background_colour(stated.get("background", "")) or background_colour(
        stated.get("background-image", "")
    )


def is_hidden(declarations: Declarations) -> bool:
    """Whether an element with this style, and its content, is invisible on a screen.

    `mso-hide:all` alone hides only in Outlook: senders put it on buttons for all other programs.
    """
    stated = {name: IMPORTANT.sub("", value).strip().lower() for name, value in declarations.items()}
    if stated.get("display") == "none":
        return True
    opacity = stated.get("opacity", "1")
    if _ZERO.fullmatch(opacity) and opacity:
        return True
    clipped = stated.get("overflow", "").startswith(("hidden", "clip"))
    sizes = [stated.get(name, "") for name in ("max-height", "height", "max-width", "width")]
    return clipped and any(size and _ZERO.fullmatch(size) for size in sizes)


def is_invisible(stated: str, *, otherwise: bool) -> bool:
    """Whether `visibility` hides the element; `otherwise`, as its parent, where it says nothing."""
    value = IMPORTANT.sub("", stated).strip().lower()
    if value in ("visible", "initial"):
        return False
    return value in ("hidden", "collapse") or otherwise


def is_unseen(frame: Frame, declarations: Declarations, stated: dict[str, str]) -> bool:
    """Whether text in the element has no size or no colour. `stated`: its attributes."""
    size = IMPORTANT.sub("", declarations.get("font-size", "")).strip().lower()
    if not size and (match := _FONT_SIZE.search(declarations.get("font", "").lower())):
        size = match[1]
    if declarations.get("color", "").strip().lower().startswith("transparent"):
        return True
    if not size:
        return frame.is_unseen and not ("size" in stated or "color" in declarations)
    if _TINY.fullmatch(size):
        return True
    return frame.is_unseen and _RELATIVE.fullmatch(size) is not None
