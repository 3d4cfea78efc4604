"""What HTML from strangers may do: nothing but show itself."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.mime.sanitise import is_html_bomb, sanitise_html
from app.mime.text import clean_text
from app.services.messages.inline_images import link_images
from tests.support.linear_time import thread_seconds
from tests.support.sandboxed_reader import parse_mail

from .mails import mail

XSS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//e/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src='cid:x' onerror='alert(1)'>",
    "<img/src=cid:x/onerror=alert(1)>",
    "<img src=`javascript:alert(1)`>",
    "<img src='data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+'>",
    "<img src='data:text/html,<script>alert(1)</script>'>",
    "<img src=http://e/t.gif>",
    "<img src=//e/t.gif>",
    "<img srcset='http://e/t.gif 1x'>",
    "<img src='cid:x' srcset='http://e/t.gif 1x'>",
    "<img src=' cid:x http://e/t.gif'>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<math href='javascript:alert(1)'>x</math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><img src=x onerror=alert(1)></template>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href=' java\tscript:alert(1)'>x</a>",
    "<a href='java&#10;script:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href='\x01javascript:alert(1)'>x</a>",
    "<a href=vbscript:x>x</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<a href='cid:x'>x</a><img src=cid:x>",
    "<a href=file:///etc/passwd>x</a>",
    "<a href=/relative>x</a>",
    "<a href=//e/x>x</a>",
    "<a href='https://e/' target=_self rel=opener onclick=alert(1)>x</a>",
    "<iframe src=http://e></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=http://e></object><embed src=http://e>",
    "<form action=http://e><input name=password><button formaction=javascript:alert(1)>x</button></form>",
    "<isindex action=javascript:alert(1)>",
    "<base href=http://e/>",
    "<meta http-equiv=refresh content='0;url=http://e'>",
    "<link rel=stylesheet href=http://e/x.css>",
    "<style>@import 'http://e/x.css'; body{background:url(http://e)}</style>",
    "<p style='background:url(http://e/t.gif)'>x</p>",
    "<p style='background-image:u\\72l(http://e/t.gif)'>x</p>",
    "<p style='list-style:url(http://e/t.gif);content:url(http://e)'>x</p>",
    "<p style='width:expression(alert(1))'>x</p>",
    "<p style='behavior:url(#x);-moz-binding:url(http://e)'>x</p>",
    "<p style='position:fixed;top:0;left:0;z-index:9'>overlay</p>",
    "<p style='cursor:url(http://e),auto;border-image:url(http://e)'>x</p>",
    "<body background=http://e/t.gif onload=alert(1)>x</body>",
    "<table background=http://e/t.gif><tr><td background=http://e>x</td></tr></table>",
    "<video poster=http://e src=http://e></video><audio src=http://e autoplay>",
    "<input type=image src=http://e>",
    "<div id=location name=cookie class=admin>x</div>",
    "<p title='\"><script>alert(1)</script>'>x</p>",
    "<!--><script>alert(1)</script>-->",
    "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "<xmp><p title='</xmp><img src=x onerror=alert(1)>'>",
    "<plaintext><script>alert(1)</script>",
    "<textarea><img title='</textarea><img src=x onerror=alert(1)>'>",
    "<select><style><img src=x onerror=alert(1)></style></select>",
    "<details open ontoggle=alert(1)>x</details>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<x onclick=alert(1) style=x>x</x>",
    "<<script>alert(1)//<</script>",
    "<a href=http://e/?<script>alert(1)</script>>x</a>",
    "<p lang='\x00javascript'>x</p>",
]  # fmt: skip

_SAFE_ATTRIBUTES = frozenset(
    ["align", "alt", "bgcolor", "border", "cellpadding", "cellspacing", "color", "colspan", "dir", "face", "height",
     "href", "hspace", "lang", "nowrap", "rel", "reversed", "rowspan", "scope", "size", "span", "src", "start",
     "style", "target", "title", "type", "valign", "value", "vspace", "width"]
)  # fmt: skip
_DANGEROUS = frozenset(
    ["script", "style", "iframe", "object", "embed", "form", "input", "button", "base", "meta", "link", "svg", "math",
     "template", "noscript", "video", "audio", "textarea", "select", "body", "html", "head", "xmp", "plaintext"]
)  # fmt: skip
_STYLE = re.compile(r"[a-z-]+:[^;]*(?:;\s*[a-z-]+:[^;]*)*;?")
_LOADING = re.compile(
    r"background(?!-color)|image|content|list-style|cursor|behavior|binding|position|filter"
)

_INNER_IMAGE = re.compile(
    r"(?i)cid:[^\s]+$|data:image/(?:png|jpe?g|gif|webp);base64,|/messages/1/attachments/\d+$"
)


class _Judge(HTMLParser):
    """Looks at the result as a browser would: tags, attributes, addresses. Remembers what it saw."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[object] = []

    def handle_data(self, data: str) -> None:
        if self.seen and isinstance(self.seen[-1], str):
            data = str(self.seen.pop()) + data
        self.seen.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(("/", tag))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in _DANGEROUS, tag
        values = {name: value or "" for name, value in attrs}
        self.seen.append((tag, values))
        assert set(values) <= _SAFE_ATTRIBUTES, values
        if "href" in values:
            assert re.match(r"(?i)https?:|mailto:|tel:", values["href"]), values
        if tag == "a":
            assert (values["rel"], values["target"]) == ("noopener noreferrer nofollow", "_blank")
        if "src" in values:
            assert tag == "img"
            assert _INNER_IMAGE.match(values["src"]), values
        for declaration in values.get("style", "").split(";"):
            assert not _LOADING.search(declaration.partition(":")[0]), declaration

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def judge(html: str) -> list[object]:
    judged = _Judge()
    judged.feed(html)
    judged.close()
    return judged.seen


def shown_html(html: str) -> str:
    """What a person sees of a mail with this HTML."""
    return parse_mail(mail("Content-Type: text/html; charset=utf-8", body=html)).html or ""


@pytest.mark.parametrize("vector", XSS)
@pytest.mark.parametrize("suffix", ["", "<img src=cid:inner>"])
def test_no_vector_survives(vector: str, suffix: str) -> None:
    safe = sanitise_html(clean_text(vector + suffix, 100_000))
    # Sanitising is final: nothing becomes another thing by being read a second time (mutation XSS).
    assert judge(sanitise_html(safe)) == judge(safe)
    shown = shown_html(vector + suffix)
    assert judge(sanitise_html(shown)) == judge(shown)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>a<b>b</b></p>", "<p>a<b>b</b></p>"),
        ("<p style='color:red;position:fixed'>x</p>", '<p style="color:red">x</p>'),
        (
            "<a href='https://e/x'>x</a>",
            '<a href="https://e/x" target="_blank" rel="noopener noreferrer nofollow">x</a>',
        ),
        ("<img src=cid:a@b width=10>", '<img src="cid:a@b" width="10">'),
        ("<img src=https://e/x.gif alt=Logo>", '<img alt="Logo">'),
        ("<img src='data:image/png;base64,AAAA'>", '<img src="data:image/png;base64,AAAA">'),
        ("<td>cell</td>", "cell"),
        ("a < b & c", "a &lt; b &amp; c"),
        ("<!-- comment -->x", "x"),
    ],
)
def test_harmless_html_stays(html: str, expected: str) -> None:
    assert sanitise_html(html) == expected
    assert shown_html(html) == expected


def test_a_large_data_image_is_dropped() -> None:
    html = "<img src='data:image/png;base64," + "A" * 300_000 + "'>"
    assert (sanitise_html(html), shown_html(html)) == ("<img>", "<img>")


def test_ordinary_large_html_is_no_bomb() -> None:
    row = (
        "<tr><td><p>a<p>b<font color=red><b>c</b></font><br><img src=x></td><td><ul><li>x<li>y</ul></td></tr>"
    )
    assert not is_html_bomb("<table>" + row * 5000 + "</table>")
    assert not is_html_bomb("<p>unclosed" * 20_000)


@pytest.mark.parametrize(
    "html",
    ["<div>" * 4000, "<span><div>" * 4000, "".join(f"<font size={n}>" for n in range(3000)) + "<p>" * 3000],
)
def test_html_that_nests_without_end_is_a_bomb(html: str) -> None:
    assert is_html_bomb(html)


@pytest.mark.slow
def test_html_that_grows_while_it_is_made_well_formed_is_withheld() -> None:
    """Formats that are left open are opened again in each block: 33 KB become 6 MB."""
    html = "<p>" + "".join(f"<b id=a{n}>" for n in range(99)) + "x</p>" + "<p>x</p>" * 4000
    parsed = parse_mail(mail("Content-Type: text/html", body=html))
    assert parsed.html is None
    assert parsed.text is not None
    assert parsed.text.count("x") == 4001
    assert "html_withheld" in [each.code for each in parsed.defects]
    links = "<a href=https://e.cz>x</a>" * 20_000
    assert sanitise_html(links).count("<a ") == 20_000


@pytest.mark.slow
def test_what_is_no_bomb_takes_no_longer_than_ordinary_html_of_300_kb() -> None:
    ordinary = "<p style='color:red'>Dobrý den " * 10_000
    allowed = min(thread_seconds(lambda: sanitise_html(ordinary)) for _ in range(3))
    worst = ["<div>" * 2900, "".join(f"<font size={n}>" for n in range(99)) + "<p>" * 9000, "<div>" * 1400]
    for html in worst:
        assert not is_html_bomb(html)
        assert min(thread_seconds(lambda each=html: sanitise_html(each)) for _ in range(3)) < allowed  # type: ignore[misc]


_PIECES = st.sampled_from(
    ["<script>", "</script>", "<style>", "</style>", "<svg>", "</svg>", "<math>", "<mtext>", "<table>", "<td>",
     "<img ", "src=cid:x", "src=http://e", " onerror=alert(1)", "<a href='", "javascript:", "data:", "https://e", "'",
     '"', ">", "<", "/", "<!--", "-->", "<p style='", "color:red", ";background:url(", ")", "<template>", "<noscript>",
     "</noscript>", "<title>", "</title>", "&#106;", "\n", "x", "<b>", "<form>", "<select>", "<![CDATA[", "]]>"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=40).map("".join))
def test_no_mixture_of_markup_survives(html: str) -> None:
    safe = sanitise_html(html)
    assert judge(sanitise_html(safe)) == judge(safe)


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=200))
def test_any_text_can_be_sanitised(text: str) -> None:
    safe = sanitise_html(clean_text(text, 1000))
    judge(safe)
    safe.encode("utf-8")


_FOREIGN_TAGS = (
    "mglyph",
    "malignmark",
    "annotation-xml",
    "foreignObject",
    "desc",
    "mtext",
    "frameset",
    "nobr",
    "x-y",
)
_ALLOWED_TAGS = (
    "a",
    "b",
    "blockquote",
    "div",
    "font",
    "img",
    "li",
    "p",
    "pre",
    "span",
    "table",
    "td",
    "tr",
    "ul",
)
_TAGS = st.sampled_from(sorted(_DANGEROUS) + list(_FOREIGN_TAGS + _ALLOWED_TAGS) * 2)
_NAMES = st.sampled_from(
    ["action", "background", "class", "content", "data", "formaction", "href", "http-equiv", "id", "name", "onclick",
     "onerror", "onload", "poster", "rel", "src", "srcdoc", "srcset", "style", "target", "title", "xlink:href", "xmlns"]
)  # fmt: skip
_VALUES = st.sampled_from(
    ["javascript:alert(1)", "java\tscript:alert(1)", "JaVaScRiPt:x", "&#106;avascript:x", "\x01javascript:x",
     "vbscript:x", "data:text/html,<script>x</script>", "data:image/svg+xml;base64,AAAA", "data:image/png;base64,AAAA",
     "cid:a@b", "cid:a b", "CID:x'y", "http://e/t.gif", "//e/t.gif", "/t.gif", "mailto:a@b.cz", "0;url=http://e",
     "color:red;background:url(http://e)", "font-family:url(http://e)", "width:expression(alert(1))",
     "position:fixed", "x\" onerror=\"alert(1)", "x' onerror='alert(1)", "--><script>x</script>", "</title><img>", ""]
)  # fmt: skip
_ELEMENTS = st.recursive(
    st.sampled_from(
        ["x", "<", "&lt;script&gt;", "<!--", "-->", "<![CDATA[", "]]>", "\x00", "</p>", "</table>"]
    ),
    lambda children: st.builds(
        lambda tag, attributes, inner, is_closed: (
            f"<{tag}{''.join(attributes)}>{''.join(inner)}{f'</{tag}>' if is_closed else ''}"
        ),
        _TAGS,
        st.lists(
            st.builds(
                lambda name, value, q: f" {name}={q}{value}{q}", _NAMES, _VALUES, st.sampled_from("'\"")
            )
        ),
        st.lists(children, max_size=4),
        st.booleans(),
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_ELEMENTS, max_size=4).map("".join))
def test_no_tree_of_elements_survives(html: str) -> None:
    safe = sanitise_html(clean_text(html, 100_000))
    assert judge(sanitise_html(safe)) == judge(safe)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_ELEMENTS, max_size=4).map("".join),
    st.dictionaries(st.sampled_from(["a@b", "a b", "x'y", 'x"y', "<x>"]), st.integers(1, 9)),
)
def test_linking_images_to_attachments_brings_nothing_back(html: str, attachments: dict[str, int]) -> None:
    addresses = {content_id: f"/messages/1/attachments/{n}" for content_id, n in attachments.items()}
    safe = sanitise_html(clean_text(f"{html}<img src=cid:a@b alt='<img src=http://e>'>", 100_000))
    linked = link_images(safe, addresses)
    seen = judge(linked)
    assert "cid:" not in " ".join(values.get("src", "") for values in _attributes(seen)).lower()
    assert _without_sources(seen) == _without_sources(judge(safe))


def _attributes(seen: list[object]) -> list[dict[str, str]]:
    return [each[1] for each in seen if isinstance(each, tuple) and isinstance(each[1], dict)]


def _without_sources(seen: list[object]) -> list[object]:
    return [
        (each[0], {name: value for name, value in each[1].items() if name != "src"})
        if isinstance(each, tuple) and isinstance(each[1], dict)
        else each
        for each in seen
    ]
