"""The attributes of a tag in clean HTML: read, and written as far as they are kept."""

import html as html_entities
import re
from collections.abc import Mapping
from functools import lru_cache

from app.mime.references import reference_key

PLAIN_TAG_MAX_CHARS = 300
_ATTRIBUTE = re.compile(r'\s+([^\s="]+)="([^"]*)"')
_NAMES = frozenset({"class", "id", "hidden", "background"})
LINK = re.compile(r"(?:https?://|mailto:|tel:)", re.I)
# A value that the sanitiser treats as a link without a scheme may be the name of an image: `src="logo@e.cz"`.
_SCHEMES_GUESSED = ("", "mailto:", "http://", "https:")
_CID = re.compile(r"cid:[^\s\"'<>]{1,998}", re.I)
_DATA_IMAGE = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,[A-Za-z0-9+/=\s]*", re.I)
DATA_IMAGE_MAX_CHARS = 200_000


def stated_attributes(attributes: str) -> dict[str, str]:
    """The attributes of a tag, in a dictionary of the caller's own."""
    if len(attributes) <= PLAIN_TAG_MAX_CHARS:
        return dict(_remembered(attributes))
    return _read(attributes)


@lru_cache(maxsize=2048)
def _remembered(attributes: str) -> dict[str, str]:
    return _read(attributes)


def _read(attributes: str) -> dict[str, str]:
    return {name: html_entities.unescape(value) for name, value in _ATTRIBUTE.findall(attributes)}


def kept_value(name: str, value: str, images: Mapping[str, str]) -> str | None:
    """The value that an attribute keeps. None: the attribute is removed."""
    if name in _NAMES:
        return None
    if name == "href":
        address = value.strip()
        return address if LINK.match(address) else None
    if name == "src":
        return image_source(value, images)
    return value


def image_source(value: str, images: Mapping[str, str]) -> str | None:
    """The target of an image: a part of the mail, or data in the HTML itself. None: it is elsewhere."""
    key = reference_key(value) if images else ""
    for prefix in _SCHEMES_GUESSED:
        if key.startswith(prefix) and (known := images.get(key.removeprefix(prefix))) is not None:
            return known
    inner = _CID.fullmatch(value) or (len(value) <= DATA_IMAGE_MAX_CHARS and _DATA_IMAGE.fullmatch(value))
    return value if inner else None


def escaped(value: str) -> str:
    """The value as text of HTML, or between double quotes."""
    return (
        value.replace("&", "&amp;")
        .replace('"', "&quot;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\xa0", "&nbsp;")
    )
