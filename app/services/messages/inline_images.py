"""Images inside a mail's HTML: `cid:` (RFC 2392) becomes the address of the attachment that it names.

This happens when a caller reads the message, so the stored HTML does not depend on the gateway's address.
"""

import html
import re
from collections.abc import Mapping
from urllib.parse import unquote

# For sanitised HTML only: there every "<" of a text is escaped, and every attribute's value is in double quotes.
# The pattern consumes whole tags, so text inside a value that looks like a tag is not mistaken for one.
_TAG = re.compile(r'<(/?[a-zA-Z][^\s/>]*)((?:[^">]|"[^"]*")*)>')
_ATTRIBUTE = re.compile(r'\s+([^\s="]+)="([^"]*)"')


def link_images(safe_html: str, addresses: Mapping[str, str]) -> str:
    """Point images to their attachments. `addresses` has the address for each content id. An image that names no attachment
    loses its source."""
    if "cid:" not in safe_html.lower():
        return safe_html
    by_id = {content_id.lower(): address for content_id, address in addresses.items()}

    def link(attribute: re.Match[str]) -> str:
        name, value = attribute[1], html.unescape(attribute[2])
        if name != "src" or not value.lower().startswith("cid:"):
            return attribute[0]
        stated = value[4:].strip().lower()
        address = by_id.get(stated) or by_id.get(unquote(stated))
        return f' src="{html.escape(address)}"' if address else ""

    def rewrite(tag: re.Match[str]) -> str:
        return f"<img{_ATTRIBUTE.sub(link, tag[2])}>" if tag[1] == "img" else tag[0]

    return _TAG.sub(rewrite, safe_html)
