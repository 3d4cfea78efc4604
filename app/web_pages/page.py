"""The frame of every page: a language, a style, and headers that keep a browser from loading or sending anything else."""

import base64
import hashlib
import re

from markupsafe import Markup

LANGUAGES = ("en", "cs")

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --accent: #1a5fb4; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 36rem; padding: 2rem 1rem; }
h1 { font-size: 1.4rem; line-height: 1.25; }
dl { border: 1px solid var(--line); border-radius: .5rem; margin: 1.5rem 0; padding: .25rem 1rem; }
dl div { padding: .4rem 0; } dl div + div { border-top: 1px solid var(--line); }
dt { font-size: .85rem; opacity: .75; } dd { margin: 0; overflow-wrap: anywhere; }
label { display: block; font-weight: 600; } fieldset { border: 0; margin: 1.5rem 0; padding: 0; }
fieldset label { font-weight: 400; padding: .6rem 0 .6rem 1.7rem; text-indent: -1.7rem; }
fieldset input { text-indent: 0; } legend { font-weight: 600; padding: 0; }
input[type=password] { box-sizing: border-box; font: inherit; margin: .35rem 0; padding: .5rem; width: 100%; }
input[type=date] { font: inherit; }
button { background: var(--accent); border: 0; border-radius: .4rem; color: #fff; cursor: pointer; font: inherit;
  font-weight: 600; margin: 1rem 0; padding: .6rem 1.2rem; }
.hint { font-size: .9rem; opacity: .8; } .alert { border-left: .25rem solid #c01c28; padding: .1rem .8rem; }
.good { border-left: .25rem solid #26a269; padding: .1rem .8rem; }
.warning { border-left: .25rem solid #e5a50a; padding: .1rem .8rem; }
@media (max-width: 30rem) { button { width: 100%; } }
""".strip()

_STYLE_SHA256 = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_SHA256}'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    # The address is the secret: no Referer may carry it to anybody.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}

_FRAME = Markup(
    '<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>{title}</title><style>{style}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
)


def framed(language: str, title: str, body: Markup) -> str:
    """A whole page."""
    return _FRAME.format(language=language, title=title, style=Markup(_STYLE), body=body)  # noqa: S704 - ours


def language_of(accept_language: str | None) -> str:
    """Our language that the browser prefers (RFC 9110 §12.5.4). Readers of Slovak get Czech."""
    weighed = []
    for place, entry in enumerate((accept_language or "").split(",")[:20]):
        found = re.fullmatch(r"\s*([A-Za-z]{2,3})(?:-[\w-]*)?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*", entry)
        if found is not None:
            name = {"sk": "cs"}.get(found[1].lower(), found[1].lower())
            weighed.append((-float(found[2] or 1), place, name))
    liked = [name for weight, _place, name in sorted(weighed) if weight < 0]
    return next((name for name in liked if name in LANGUAGES), LANGUAGES[0])
