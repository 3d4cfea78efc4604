"""Reads colours in HTML and CSS, as far as needed to decide whether text is readable on its background."""

import re
from functools import lru_cache

Colour = tuple[float, float, float]
"""Red, green, blue from 0 to 255."""

BLACK, WHITE = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)
READABLE_CONTRAST = 1.4

_NAMED_COLOURS = """
    aqua 00ffff black 000000 blue 0000ff brown a52a2a crimson dc143c cyan 00ffff darkblue 00008b darkgray a9a9a9
    darkgreen 006400 darkgrey a9a9a9 darkred 8b0000 darkslateblue 483d8b darkslategray 2f4f4f dimgray 696969
    firebrick b22222 forestgreen 228b22 fuchsia ff00ff gainsboro dcdcdc gold ffd700 gray 808080 green 008000
    grey 808080 indigo 4b0082 ivory fffff0 lightblue add8e6 lightgray d3d3d3 lightgreen 90ee90 lightgrey d3d3d3
    lightyellow ffffe0 lime 00ff00 magenta ff00ff maroon 800000 mediumblue 0000cd midnightblue 191970 navy 000080
    olive 808000 orange ffa500 orangered ff4500 pink ffc0cb purple 800080 red ff0000 royalblue 4169e1
    seagreen 2e8b57 silver c0c0c0 slategray 708090 snow fffafa steelblue 4682b4 teal 008080 tomato ff6347
    violet ee82ee white ffffff whitesmoke f5f5f5 yellow ffff00
"""
_NAMED = dict(zip(_NAMED_COLOURS.split()[::2], _NAMED_COLOURS.split()[1::2], strict=True))
_NO_COLOUR_WORDS = """
    none inherit initial unset revert repeat no-repeat repeat-x repeat-y round space fixed scroll local center left
    right top bottom cover contain auto border-box padding-box content-box to at circle ellipse from url deg important
"""
_NOT_COLOURS = frozenset(_NO_COLOUR_WORDS.split())
_HEX = re.compile(r"#(?:[0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})")
_RGB = re.compile(
    r"rgba?\(\s*([\d.]{1,8})(%?)[\s,]+([\d.]{1,8})%?[\s,]+([\d.]{1,8})%?[\s,/]*([\d.]{0,8})%?\s*\)"
)
_NOT_DRAWN = re.compile(r"url\(\s*(?:\"[^\"]*+\"|'[^']*+'|[^)]*+)\s*\)?")
_COLOUR_TOKEN = re.compile(
    rf"{_HEX.pattern}(?![0-9a-z])|rgba?\([\d.,%\s/]{{1,60}}\)|hsla?\([\d.,%\s/a-z]{{1,60}}\)|(?<![\w.-])[a-z][a-z-]{{2,30}}(?![\w(.-])"
)
_SAFE = re.compile(rf"{_HEX.pattern}|(?:rgb|hsl)a?\([\d.,%\s/a-z]{{1,60}}\)|[a-z]{{3,30}}")
_BARE_HEX = re.compile(r"[0-9a-f]{6}|[0-9a-f]{3}")


@lru_cache(maxsize=512)
def read_colour(stated: str) -> Colour | None:
    """The colour of a value. None: it is no known colour, or is transparent."""
    value = stated.strip().lower()
    if _HEX.fullmatch(value):
        digits = value[1:] if len(value) > 5 else "".join(2 * digit for digit in value[1:])
        if digits[6:] in ("", "ff"):
            return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
        return None
    if match := _RGB.fullmatch(value):
        return _rgb(match)
    return read_colour("#" + _NAMED[value]) if value in _NAMED else None


def _rgb(match: re.Match[str]) -> Colour | None:
    try:
        red, green, blue = (min(float(match[n]), 255.0) for n in (1, 3, 4))
        if match[5] and float(match[5]) == 0:
            return None
    except ValueError:
        return None
    factor = 2.55 if match[2] else 1.0
    return red * factor, green * factor, blue * factor


def safe_colour(stated: str) -> str:
    """The value in a form for a style. Empty: it is no colour. HTML also accepts `000040` for `#000040`."""
    value = stated.strip().lower()
    if _BARE_HEX.fullmatch(value) and not value.isalpha():
        value = "#" + value
    return value if _SAFE.fullmatch(value) and value not in _NOT_COLOURS else ""


@lru_cache(maxsize=512)
def background_colour(stated: str) -> str:
    """The colour in a `background` (of a gradient, the first one). Empty: it has none."""
    value = _NOT_DRAWN.sub(" ", stated[:1000].lower())
    for token in _COLOUR_TOKEN.finditer(value):
        if token[0] not in _NOT_COLOURS and (colour := safe_colour(token[0])):
            return colour
    return ""


def _luminance(colour: Colour) -> float:
    """WCAG 2, "relative luminance"."""
    parts = [each / 255 for each in colour]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@lru_cache(maxsize=512)
def contrast(one: Colour, other: Colour) -> float:
    """The contrast, from 1 (the same colour) to 21 (black on white) (WCAG 2)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
