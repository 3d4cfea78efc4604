"""Makes HTML from strangers safe to show, by an allow-list (nh3, the Rust ammonia).

Nothing in the result runs or loads: no script, style sheet, form, frame, `id` or `class`. Images come only from the mail
itself (`cid:`) or from the HTML (`data:`). CSS has only properties that cannot name an address. Remote images are dropped
for good, because with them a sender learns that and where a mail was read.
"""

import re
from collections.abc import Mapping

import nh3

from app.mime.shown_html import ShownHtml, show_html
from app.mime.snippet import without_marks
from app.mime.style_sheets import read_document
from app.mime.text import clean_text

HTML_MAX_CHARS = 2 * 1024 * 1024
SAFE_HTML_MAX_CHARS = 8 * 1024 * 1024
# The work of html5ever grows with the square of the depth (100,000 <div>: 12 s; 5,000: 30 ms). For unclosed formatting
# elements with different attributes it grows with formats times blocks, as the standard requires.
SIMPLE_MAX_TAGS = 1500
NESTING_MAX = 3000
FORMATS_MAX = 100
# HTML that becomes this many times longer has formats that were opened again in each block. (Each link also gets a `rel`.)
GROWTH_MAX = 8
GROWTH_FREE_CHARS = 300_000

_TAG_NAMES = """
    a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd
    del details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li
    main mark nav ol p pre q rp rt ruby s samp section small span strike strong sub summary sup table tbody
    td tfoot th thead time tr tt u ul var wbr
"""
_DROPPED_NAMES = """
    script style title template textarea select option noscript noembed noframes iframe object applet
    audio video svg math xml frameset
"""
_ATTRIBUTES = {
    "*": {
        "align",
        "background",
        "bgcolor",
        "class",
        "color",
        "dir",
        "height",
        "hidden",
        "id",
        "lang",
        "style",
        "title",
        "valign",
        "width",
    },
    "a": {"href"},
    "col": {"span"},
    "colgroup": {"span"},
    "font": {"face", "size"},
    "img": {"alt", "border", "hspace", "src", "vspace"},
    "li": {"value"},
    "ol": {"reversed", "start", "type"},
    "table": {"border", "cellpadding", "cellspacing"},
    "td": {"colspan", "nowrap", "rowspan"},
    "th": {"colspan", "nowrap", "rowspan", "scope"},
    "ul": {"type"},
}
# No property here takes an image, a position or a counter, so even url() in a value loads nothing. The exception is
# backgrounds, of which `show_html` keeps only the colour.
_PROPERTY_NAMES = """
    background background-color background-image border border-bottom border-bottom-color border-bottom-style border-bottom-width
    border-collapse border-color border-left border-left-color border-left-style border-left-width
    border-radius border-right border-right-color border-right-style border-right-width border-spacing
    border-style border-top border-top-color border-top-style border-top-width border-width color direction
    display font font-family font-size font-style font-variant font-weight height letter-spacing line-height margin
    margin-bottom margin-left margin-right margin-top max-height max-width min-width opacity overflow padding padding-bottom padding-left
    padding-right padding-top table-layout text-align text-decoration text-indent text-transform
    vertical-align visibility white-space width word-break word-spacing word-wrap
"""
_WWW = re.compile(r"www\.[^\s/]+\.[a-z]", re.I)
# "www.e.cz:" would count as a scheme.
_WITH_PORT = re.compile(
    r"(<a\s(?:[^<>]{0,1000}?\s)?href\s*+=\s*+[\"']?+\s*+)(?=(?:[a-z0-9-]{1,63}+\.){1,8}+[a-z]{2,24}+:\d{1,5}+(?:[/?#\"'\s>]))",
    re.I,
)
_HOST = re.compile(r"(?:[a-z0-9][a-z0-9-]{0,62}\.){1,8}(?:com|cz|de|eu|info|net|org|pl|sk)(?:[/?#]|\Z)", re.I)
_MAILBOX = re.compile(r"[\w.+-]{1,64}@(?:[a-z0-9][a-z0-9-]{0,62}\.){1,8}[a-z]{2,24}", re.I)


def _absolute(address: str) -> str:
    """Add the scheme to an address that people typed into a link without one. Other values may still name an image's part."""
    address = address.strip()
    if _WWW.match(address) or _HOST.match(address):
        return "http://" + address
    if _MAILBOX.fullmatch(address):
        return "mailto:" + address
    return f"https:{address}" if address.startswith("//") else f"cid:{address}"


# Names are needed to apply the mail's style sheets. `show_html` removes them later, together with all schemes that do not
# belong in links, and with every image that is not part of the mail.
_CLEANER = nh3.Cleaner(
    tags=set(_TAG_NAMES.split()),
    clean_content_tags=set(_DROPPED_NAMES.split()),
    attributes=_ATTRIBUTES,
    strip_comments=True,
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
    url_schemes={"http", "https", "mailto", "tel", "cid", "data", "file", "thismessage"},
    url_relative=_absolute,
    filter_style_properties={*_PROPERTY_NAMES.split(), *_PROPERTY_NAMES.upper().split()},
)

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})")
_FORMATS = frozenset(
    {"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"}
)
# These never nest directly in themselves, or have no content.
_FLAT_NAMES = """
    area base br col dd dt embed hr img input li link meta option p param source tbody td tfoot th thead tr
    track wbr
"""
_FLAT = frozenset(_FLAT_NAMES.split())


def is_html_bomb(html: str) -> bool:
    """Whether the HTML nests so deep that an HTML parser would need seconds."""
    if html.count("<") <= SIMPLE_MAX_TAGS:
        return False
    depth = formats = deepest = most_formats = tags = 0
    for match in _TAG.finditer(html):
        name = match[2].lower()
        tags += 1
        if name in _FLAT:
            continue
        step = -1 if match[1] else 1
        depth = max(depth + step, 0)
        deepest = max(deepest, depth)
        if name in _FORMATS:
            formats = max(formats + step, 0)
            most_formats = max(most_formats, formats)
    return deepest > NESTING_MAX or (most_formats > FORMATS_MAX and most_formats * tags > 1_000_000)


def sanitise_html(html: str) -> str:
    """Safe HTML, as a fragment of a page, made from text that has passed the gate."""
    return read_html(html, {}).html


def read_html(html: str, images: Mapping[str, str]) -> ShownHtml:
    """The visible part of the HTML, safe, as a fragment of a page and for `render_html`.

    `images` holds the `src` that point to parts of the mail, by `reference_key`. The cost is linear only if the HTML is no
    `is_html_bomb`. HTML that grows too much while it is made well-formed is withheld.
    """
    clean = without_marks(_CLEANER.clean(_WITH_PORT.sub(r"\1http://", html)))
    if len(clean) > GROWTH_MAX * len(html) + GROWTH_FREE_CHARS:
        return ShownHtml("", "", is_withheld=True)
    shown = show_html(clean, read_document(html), images)
    if "&#" not in html and len(shown.html) <= SAFE_HTML_MAX_CHARS:
        return ShownHtml(shown.html.strip(), shown.marked.strip())
    # Decoded entities may be controls.
    html, marked = (clean_text(each, SAFE_HTML_MAX_CHARS).strip() for each in (shown.html, shown.marked))
    return ShownHtml(html, marked)
