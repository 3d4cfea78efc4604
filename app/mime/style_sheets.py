"""Reads a mail's own style sheets, as far as they decide what is visible: what they hide, and colours.

The sheets themselves are not shown, because a sheet would affect the page around the mail. So their result is written into
the elements. This module understands selectors of names, classes and ids, also nested ones. It skips selectors with states,
attributes or neighbours. It assumes a page of 1000 pixels with a light theme, so copies for phones stay hidden.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

SHEETS_MAX_CHARS = 200_000
RULES_MAX = 2000
CLASSES_MAX = 20
# The largest number of comparisons of selectors with elements in one mail. After that, sheets are ignored.
COMPARISONS_MAX = 200_000
_WIDTH_PX = 1000
# Mails repeat their styles in each row of a table. Longer ones are read anew.
REMEMBERED_MAX_CHARS = 300

_AROUND = re.compile(r"<(?:style|body|html)", re.I)
# What is seen of a document begins outside of these. The letters in front pass over most tags in a tenth of the time.
_RAW = re.compile(
    r"<(?=[!bBhHnNsStTxX][-cCeEiImMoOtT])"
    r"(?i:!--(?:.*?-->|.*)|(script|title|textarea|xmp|noscript|template)\b(?:.*?</\1|.*)|"
    r"style\b([^>]*+)>(.*?)(?:</style|\Z)|(body|html)\b((?:[^>\"']++|\"[^\"]*+\"|'[^']*+'|[\"'])*+))",
    re.S,
)
_COMMENT = re.compile(r"/\*(?:.*?\*/|.*)|<!--|-->", re.S)
_DECLARATION = re.compile(
    r"([a-z-]{1,40})\s*+:((?:[^;\"'(]++|\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|\([^)]*+(?:\)|\Z))*+)", re.I
)
_COMPOUND = re.compile(r"(?:[a-z][a-z0-9]{0,20}|\*)?(?:[.#][a-z_-][\w-]{0,100}){0,5}", re.I)
_NAME = re.compile(r"([.#])([\w-]+)")
_FEATURE = re.compile(
    r"\(\s*((?:min|max)-)?((?:device-)?width|prefers-color-scheme|orientation)\s*:\s*([\w.]+)\s*\)"
)
_MEDIA_WORD = re.compile(r"[a-z]+")
_ATTRIBUTE = re.compile(r"([a-z]{1,20})\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s>\"']++)", re.I)
_WANTED_NAMES = """
    display visibility opacity overflow max-height height max-width width font-size font color background
    background-color background-image
"""
_WANTED = frozenset(_WANTED_NAMES.split())

Declarations = dict[str, str]
"""Values by property, in lower case, including `!important`."""


@dataclass(frozen=True, slots=True)
class Compound:
    """A selector of one element. All its parts must match."""

    tag: str
    id: str
    classes: frozenset[str]

    def fits(self, other: "Compound") -> bool:
        """Whether the selector matches an element with these names."""
        return self.tag in ("", other.tag) and self.id in ("", other.id) and self.classes <= other.classes


@dataclass(frozen=True, slots=True)
class _Rule:
    weight: tuple[int, int, int, int]
    compounds: tuple[Compound, ...]
    declarations: Declarations


@dataclass(slots=True)
class StyleSheet:
    """The rules, by a name that the element must have."""

    rules: dict[str, list[_Rule]] = field(default_factory=dict)
    count: int = 0
    comparisons: int = 0

    def add(self, selector: str, declarations: Declarations) -> None:
        """Add a selector, if it is understood. Others are skipped."""
        words = selector.split()
        if not words or len(words) > 6 or not all(_COMPOUND.fullmatch(word) for word in words):
            return
        compounds = tuple(_compound(word) for word in words)
        weight = (
            sum(bool(each.id) for each in compounds),
            sum(len(each.classes) for each in compounds),
            sum(bool(each.tag) for each in compounds),
            self.count,
        )
        self.count += 1
        last = compounds[-1]
        key = f"#{last.id}" if last.id else f".{min(last.classes)}" if last.classes else last.tag
        self.rules.setdefault(key, []).append(_Rule(weight, compounds, declarations))

    def declarations(self, element: Compound, ancestors: Sequence[Compound]) -> Declarations:
        """The declarations of the rules for an element. `ancestors` begins with the outermost."""
        if not self.rules:
            return {}
        keys = ["", element.tag, f"#{element.id}", *(f".{name}" for name in element.classes)]
        found = [
            rule
            for key in keys
            for rule in self.rules.get(key, ())
            if self._applies(rule, element, ancestors)
        ]
        merged: Declarations = {}
        for rule in sorted(found, key=lambda each: each.weight):
            merge(merged, rule.declarations)
        return merged

    def _applies(self, rule: _Rule, element: Compound, ancestors: Sequence[Compound]) -> bool:
        self.comparisons += 1
        if self.comparisons > COMPARISONS_MAX or not rule.compounds[-1].fits(element):
            return False
        at = len(ancestors)
        for compound in reversed(rule.compounds[:-1]):
            while True:
                at -= 1
                self.comparisons += 1
                if at < 0 or self.comparisons > COMPARISONS_MAX:
                    return False
                if compound.fits(ancestors[at]):
                    break
        return True


def merge(into: Declarations, later: Declarations) -> None:
    """Merge later declarations: they override earlier ones that are not `!important`."""
    for name, value in later.items():
        if "important" in value or "important" not in into.get(name, ""):
            into[name] = value


def read_declarations(style: str) -> Declarations:
    """The declarations of a style attribute or a rule's block, in a dictionary of the caller's own."""
    return dict(_remembered(style)) if len(style) <= REMEMBERED_MAX_CHARS else _declarations(style)


@lru_cache(maxsize=2048)
def _remembered(style: str) -> Declarations:
    return _declarations(style)


def _declarations(style: str) -> Declarations:
    found: Declarations = {}
    for match in _DECLARATION.finditer(style):
        merge(found, {match[1].lower(): match[2].strip()})
    return found


def read_names(tag: str, identity: str, classes: str) -> Compound:
    """An element in the form for comparison with selectors."""
    return Compound(tag, identity.strip(), frozenset(classes.split(None, CLASSES_MAX)[:CLASSES_MAX]))


def _compound(word: str) -> Compound:
    names = _NAME.findall(word)
    tag = re.split(r"[.#]", word, maxsplit=1)[0].lower().replace("*", "")
    ids = [name for kind, name in names if kind == "#"]
    return Compound(tag, ids[0] if ids else "", frozenset(name for kind, name in names if kind == "."))


@dataclass(slots=True)
class Document:
    """The parts of an HTML mail around its content."""

    sheet: StyleSheet = field(default_factory=StyleSheet)
    body: dict[str, str] = field(default_factory=dict)
    """The attributes of `<body>`; if it has no `style`, that of `<html>`."""


def read_document(html: str) -> Document:
    """The style sheets and the attributes of the body."""
    document = Document()
    if not _AROUND.search(html, 0, 100_000):
        return document
    budget = SHEETS_MAX_CHARS
    for match in _RAW.finditer(html):
        if match[3] is not None and budget > 0 and _is_for_reading(match[2].lower()):
            _read_sheet(match[3][:budget], document.sheet)
            budget -= len(match[3])
        elif match[4]:
            for name, value in _ATTRIBUTE.findall(match[5][:5000]):
                bare = value[1:-1] if value[0] in "\"'" else value
                if match[4].lower() == "body":
                    document.body[name.lower()] = bare
                elif name.lower() == "style":
                    document.body.setdefault("style", bare)
    return document


def _is_for_reading(attributes: str) -> bool:
    media = re.search(r"media\s*=\s*[\"']?([^\"'>]{1,200})", attributes)
    return media is None or _is_our_medium(media[1])


def _is_our_medium(query: str) -> bool:
    return any(_fits(each) for each in query.lower().split(","))


def _fits(query: str) -> bool:
    words = _MEDIA_WORD.findall(re.sub(r"\([^)]*\)?", " ", query))
    if any(word not in ("all", "screen", "only", "and") for word in words):
        return False
    features = _FEATURE.findall(query)
    return len(features) == query.count("(") and all(_has_feature(*each) for each in features)


def _has_feature(limit: str, name: str, value: str) -> bool:
    if not name.endswith("width"):
        return value in ("light", "landscape")
    number = re.match(r"[\d.]{1,8}", value)
    if number is None or not limit or number[0].count(".") > 1:
        return False
    pixels = float(number[0].strip(".") or 0) * (16 if value.endswith("em") else 1)
    return pixels >= _WIDTH_PX if limit == "max-" else pixels <= _WIDTH_PX


def _read_sheet(css: str, sheet: StyleSheet) -> None:
    """Add the rules of a sheet. At-rules that do not apply here are skipped with their content."""
    css = _COMMENT.sub(" ", css)
    at, open_media = 0, 0
    while sheet.count < RULES_MAX:
        brace = css.find("{", at)
        if brace < 0:
            return
        head = css[at:brace]
        closed = head.count("}")
        open_media = max(open_media - closed, 0)
        head = head.rpartition("}")[2].rpartition(";")[2].strip()
        at = brace + 1
        if head.startswith("@"):
            if head[:6].lower() == "@media" and _is_our_medium(head[6:]):
                open_media += 1
            else:
                at = _block_end(css, at)
            continue
        end = css.find("}", at)
        end = len(css) if end < 0 else end
        declarations = read_declarations(css[at:end])
        wanted = {name: value for name, value in declarations.items() if name in _WANTED}
        if wanted:
            for selector in head.split(",")[:50]:
                sheet.add(selector, wanted)
        at = end + 1


_BRACE = re.compile(r"[{}]")


def _block_end(css: str, at: int) -> int:
    depth = 1
    for brace in _BRACE.finditer(css, at):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    return len(css)
