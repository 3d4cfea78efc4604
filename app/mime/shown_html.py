"""Keeps the part of a mail's HTML that a person sees. It is the last step of sanitising; its input is clean and well-formed.

It applies the mail's style sheets and then removes the names (`class`, `id`). Hidden content is left out. Backgrounds keep
their colour and lose their images. Text that would lose its background stays readable. Images point to the mail's own parts.
The cost is one pass over the tags.
"""

import html as html_entities
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from app.mime.colours import BLACK, READABLE_CONTRAST, WHITE, contrast, read_colour, safe_colour
from app.mime.html_attributes import PLAIN_TAG_MAX_CHARS, escaped, kept_value, stated_attributes
from app.mime.looks import IMPORTANT, Frame, background_of, is_hidden, is_invisible, is_unseen
from app.mime.shown_links import Link, shown_link
from app.mime.snippet import QUOTE_BEGIN, QUOTE_END, QUOTED_REST
from app.mime.style_sheets import Compound, Declarations, Document, merge, read_declarations, read_names

# For clean HTML only: there every "<" of a text is escaped, and every value is in double quotes.
_TAG = re.compile(r'(<(/?)([a-zA-Z][^\s/>]*+)((?:[^">]++|"[^"]*+")*+)>)([^<]*+)')
_START_TAG = re.compile(r"<[a-zA-Z][^>]*+>")
# HTML that is longer, or has more different tags, is read tag by tag.
PLAIN_MAX_CHARS = 512 * 1024
PLAIN_MAX_TAGS = 200
_VOID = frozenset({"br", "hr", "img", "wbr", "col"})
# Gmail, Thunderbird, Yahoo, Proton, Outlook for phones, Outlook for Mac.
_QUOTES = frozenset(
    {"gmail_attr", "moz-cite-prefix", "yahoo_quoted", "protonmail_quote", "ms-outlook-mobile-reference-message",
     "mail-editor-reference-message-container", "OLK_SRC_BODY_SECTION"}
)  # fmt: skip
# Outlook on the web; another Outlook that forwards the mail adds "x_".
_QUOTED_RESTS = frozenset({"divRplyFwdMsg", "x_divRplyFwdMsg"})


@dataclass(frozen=True, slots=True)
class ShownHtml:
    html: str
    marked: str
    """The same for `render_html`, with marks around quotations and the targets of links."""
    is_withheld: bool = False
    """Whether it is too much to show."""


def show_html(clean: str, document: Document, images: Mapping[str, str]) -> ShownHtml:
    """The visible part of clean HTML. `images` holds the new `src` by `reference_key`.

    If everything is hidden, everything is shown, so that no mail is empty.
    """
    if _says_nothing_of_looks(clean, document):
        return ShownHtml(clean, clean)
    shown = _Pass(document, images, hides=True).run(clean)
    if not _has_content(shown.html) and _has_content(clean):
        shown = _Pass(document, images, hides=False).run(clean)
    return shown


def _says_nothing_of_looks(clean: str, document: Document) -> bool:
    """Whether, in a document without sheets, each tag stays as it is at every place. Then no pass is needed."""
    if document.sheet.rules or document.body or len(clean) > PLAIN_MAX_CHARS:
        return False
    # A tag with ">" in a value is cut here, so it is not plain.
    different = set(_START_TAG.findall(clean))
    return len(different) <= PLAIN_MAX_TAGS and all(_is_plain(tag) for tag in different)


def _is_plain(tag: str) -> bool:
    return len(tag) <= PLAIN_TAG_MAX_CHARS and _stays_as_it_is(tag)


@lru_cache(maxsize=4096)
def _stays_as_it_is(tag: str) -> bool:
    """Whether a start tag is written unchanged and changes nothing for its content. The pass itself decides."""
    if tag.startswith("<img") or "<" in tag[1:]:  # an image may be known, or a link's label
        return False
    return _Pass(Document(), {}, hides=True).leaves(tag)


def _has_content(html: str) -> bool:
    return "<img" in html or any(not each.isspace() for each in re.sub(r"<[^>]*+>|&nbsp;", "", html))


class _Pass:
    def __init__(self, document: Document, images: Mapping[str, str], *, hides: bool) -> None:
        self._sheet, self._images, self._hides = document.sheet, images, hides
        self._html: list[str] = []
        self._marked: list[str] = []
        self._stack = [
            Frame("", read_names("body", document.body.get("id", ""), document.body.get("class", "")))
        ]
        self._names = [self._stack[0].names]
        self._skipped = 0
        self._link: Link | None = None
        self._is_rest_quoted = False
        self._link_colour = safe_colour(document.body.get("link", ""))
        self._wrapper = self._body_style(document.body)

    def _body_style(self, attributes: dict[str, str]) -> str:
        root = self._stack[0]
        stated: dict[str, str] = {}
        if colour := attributes.get("bgcolor"):
            stated["background-color"] = colour
        if colour := attributes.get("text"):
            stated["color"] = colour
        merge(stated, self._sheet.declarations(root.names, ()))
        merge(stated, read_declarations(html_entities.unescape(attributes.get("style", ""))))
        if "background" in attributes and "background-color" not in stated:
            root.is_unsure = True
        return ";".join(f"{name}:{value}" for name, value in self._colours(root, stated).items())

    def run(self, clean: str) -> ShownHtml:
        first = clean.find("<")
        self._text(clean if first < 0 else clean[:first])
        for match in _TAG.finditer(clean, max(first, 0)):
            _, closing, tag, attributes, text = match.groups()
            if self._skipped:
                self._skip(closing, tag)
                if self._skipped:
                    continue
            elif closing:
                self._end(tag)
            else:
                self._start(tag, attributes)
            if text and not self._skipped:
                self._text(text)
        html, marked = "".join(self._html), "".join(self._marked)
        if self._wrapper and html.strip():
            wrapped = f'<div style="{html_entities.escape(self._wrapper)}">'
            html, marked = f"{wrapped}{html}</div>", f"{wrapped}{marked}</div>"
        return ShownHtml(html, marked)

    def leaves(self, whole: str) -> bool:
        """Whether this first tag, its content and the rest stay as they are."""
        match = _TAG.match(whole)
        if match is None:
            return False
        root = self._stack[0]
        self._start(match[3], match[4])
        self._text("x")
        inner = self._stack[-1]
        return (
            self._html == self._marked == [whole, "x"]
            and self._link is None
            and (inner.text_colour, inner.background) == (root.text_colour, root.background)
            and not (inner.is_unsure or inner.is_unseen or inner.is_invisible or inner.is_quote)
        )

    def _skip(self, closing: str, tag: str) -> None:
        if tag not in _VOID:
            self._skipped += -1 if closing else 1

    def _write(self, piece: str) -> None:
        self._html.append(piece)
        self._marked.append(piece)

    def _text(self, text: str) -> None:
        frame = self._stack[-1]
        if (frame.is_unseen or frame.is_invisible) and self._hides:
            return
        if self._link is not None:
            self._link.label.append(text)
        if self._is_rest_quoted and not text.isspace():
            self._marked.append(
                QUOTED_REST
            )  # only if there is text: otherwise the mark would leave a line of its own
            self._is_rest_quoted = False
        if (
            frame.is_unsure
            and contrast(frame.text_colour, frame.background) < READABLE_CONTRAST
            and not text.isspace()
        ):
            against = (
                "#000000"
                if contrast(frame.background, BLACK) > contrast(frame.background, WHITE)
                else "#ffffff"
            )
            text = f'<span style="color:{against}">{text}</span>'
        self._write(text)

    def _end(self, tag: str) -> None:
        if len(self._stack) > 1:
            frame = self._stack.pop()
            self._names.pop()
            if frame.is_quote:
                self._marked.append(QUOTE_END)
        self._write(f"</{tag}>")
        if tag == "a" and self._link is not None:
            self._marked.append(shown_link(self._link))
            self._link = None

    def _start(self, tag: str, attributes: str) -> None:
        stated = stated_attributes(attributes) if attributes else {}
        parent = self._stack[-1]
        names = read_names(tag, stated.get("id", ""), stated.get("class", ""))
        inline = read_declarations(stated["style"]) if "style" in stated else {}
        sheet = self._sheet.declarations(names, self._names)
        merged = {**sheet}
        merge(merged, inline)
        if is_hidden(merged) or ("hidden" in stated and "display" not in merged):
            if self._hides:
                self._skipped = int(tag not in _VOID)
                return
            inline.pop("display", None)
        frame = Frame(
            tag,
            names,
            parent.text_colour,
            parent.background,
            parent.is_unsure,
            parent.is_unseen,
            parent.is_invisible,
        )
        if self._hides and "visibility" in merged:
            frame.is_invisible = is_invisible(merged["visibility"], otherwise=parent.is_invisible)
        if frame.is_invisible:
            if tag == "img":
                return
            stated.pop("href", None)
        if (
            merged
            or "color" in stated
            or "bgcolor" in stated
            or "background" in stated
            or tag in ("a", "font")
        ):
            self._look(frame, stated, sheet, inline, merged)
        self._write(self._written(tag, stated))
        self._is_rest_quoted = self._is_rest_quoted or _begins_quoted_rest(names, inline)
        if tag == "a" and "href" in stated:
            self._link = Link(stated["href"])
        elif tag == "img" and self._link is not None:
            self._link.has_image = True
        if tag not in _VOID:
            self._open(frame)

    def _open(self, frame: Frame) -> None:
        frame.is_quote = (
            frame.tag == "blockquote"
            or frame.names.id in _QUOTES
            or not _QUOTES.isdisjoint(frame.names.classes)
        )
        self._stack.append(frame)
        self._names.append(frame.names)
        if frame.is_quote:
            self._marked.append(QUOTE_BEGIN)

    def _look(
        self,
        frame: Frame,
        stated: dict[str, str],
        sheet: Declarations,
        inline: Declarations,
        merged: Declarations,
    ) -> None:
        """Record the look of the element, and write it into its style."""
        colours: Declarations = {}
        if "bgcolor" in stated:
            colours["background-color"] = stated["bgcolor"]
        if "color" in stated:
            colours["color"] = stated["color"]
        merge(colours, merged)
        if "background" in stated and "background-color" not in merged and "bgcolor" not in stated:
            frame.is_unsure = True
        from_style = {name for name in _COLOUR_NAMES if name in merged}
        if frame.tag == "a" and "color" not in colours:
            frame.text_colour = read_colour(self._link_colour or "#0000ee") or frame.text_colour
        drawn = self._colours(frame, colours)
        frame.is_unsure = frame.is_unsure or not _COLOUR_NAMES.isdisjoint(sheet)
        frame.is_unseen = is_unseen(frame, merged, stated)
        kept = {name: value for name, value in inline.items() if name not in _RESOLVED}
        if frame.is_invisible != self._stack[-1].is_invisible:
            kept["visibility"] = "hidden" if frame.is_invisible else "visible"
        if from_style:
            kept |= {
                name: value for name, value in drawn.items() if name in from_style or "background" in name
            }
        elif frame.tag == "a" and self._link_colour and "color" not in colours:
            kept["color"] = self._link_colour
        if kept:
            stated["style"] = ";".join(f"{name}:{value}" for name, value in kept.items())
        else:
            stated.pop("style", None)

    def _colours(self, frame: Frame, stated: Declarations) -> Declarations:
        """Give the element its colours. Returns those that can be written into a style."""
        drawn: Declarations = {}
        background = background_of(stated)
        if background:
            drawn["background-color"] = background
            frame.background = read_colour(background) or frame.background
            frame.is_unsure = frame.is_unsure and read_colour(background) is None
        elif "url(" in stated.get("background", "") + stated.get("background-image", ""):
            frame.is_unsure = True
        colour = safe_colour(IMPORTANT.sub("", stated.get("color", "")))
        if colour and colour != "inherit":
            drawn["color"] = colour
            frame.text_colour = read_colour(colour) or frame.text_colour
        return drawn

    def _written(self, tag: str, stated: dict[str, str]) -> str:
        written = [f"<{tag}"]
        for name, value in stated.items():
            kept = kept_value(name, value, self._images)
            if kept is not None:
                written.append(f' {name}="{escaped(kept)}"')
        return "".join(written) + ">"


_COLOUR_NAMES = frozenset({"color", "background", "background-color", "background-image"})
# This module decides about these properties, so the browser gets none of them.
_RESOLVED_NAMES = """
    background background-color background-image color visibility opacity overflow max-height mso-hide
"""
_RESOLVED = frozenset(_RESOLVED_NAMES.split())


def _begins_quoted_rest(names: Compound, inline: Declarations) -> bool:
    """Whether the header of the answered mail begins here, as Outlook writes it. Everything below it is quoted."""
    if names.id in _QUOTED_RESTS:
        return True
    line = inline.get("border-top", "").lower()
    return (
        "solid" in line
        and "1.0pt" in line
        and inline.get("border", "").lower() == "none"
        and inline.get("padding", "").lower().startswith("3.0pt 0")
    )
