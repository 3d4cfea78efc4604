"""What a person sees of a mail's HTML: nothing that was hidden, everything else, and readable."""

import html as html_entities
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.mime.plain import render_html
from app.mime.sanitise import read_html, sanitise_html
from app.mime.snippet import make_snippet, without_marks
from tests.support.linear_time import SMALLER
from tests.support.sandboxed_reader import parse_mail
from tests.unit.mime.mails import assert_linear, base64_part, mail, multipart, part


def text_of(html: str) -> str:
    return without_marks(render_html(read_html(html, {}).marked))


def snippet_of(html: str) -> str:
    return make_snippet(render_html(read_html(html, {}).marked))


HIDDEN = [
    "<div style='display:none;max-height:0;overflow:hidden;mso-hide:all'>SECRET</div>",
    "<span style='DISPLAY: None !important'>SECRET</span>",
    "<div style='visibility:hidden'>SECRET</div>",
    "<div style='opacity:0'>SECRET</div>",
    "<div style='max-height:0px;overflow:hidden'>SECRET</div>",
    "<div style='height:0;overflow:hidden'>SECRET</div>",
    "<div style='font-size:0'>SECRET</div>",
    "<div style='font-size:1px;color:#ffffff;line-height:1px'>SECRET<b>SECRET</b></div>",
    "<div style='font:0/0 a'>SECRET</div>",
    "<div style='color:transparent'>SECRET</div>",
    "<div hidden>SECRET</div>",
    "<div style='visibility:hidden'><img src=cid:x><a href='https://e.cz/SECRET'>SECRET</a><b style='visibility:inherit'>SECRET</b></div>",
    "<style>.h{visibility:collapse}</style><table class=h><tr><td>SECRET</td></tr></table>",
    "<div style='font-size:0'><a href='https://e.cz/'>SECRET</a></div>",
    "<table style='display:none'><tr><td>SECRET</td></tr></table>",
    "<!--[if mso]>SECRET<![endif]-->",
    "<!--[if !mso]><!--><div style='display:none'>SECRET<br><img src=cid:x></div><!--<![endif]-->",
    "<style>.preheader{display:none!important}</style><span class='x preheader'>SECRET</span>",
    "<style>#phone { display : none }</style><div id=phone>SECRET</div>",
    "<style>div.phone, td.phone{display:none}@media only screen and (max-width:480px){div.phone{display:block!important}}"
    "</style><div class=phone>SECRET</div>",
    "<style>.wrap .phone{display:none}</style><div class=wrap><table><tr><td class=phone>SECRET</td></tr></table></div>",
    "<style>@media (min-width: 600px){.phone{display:none}}</style><p class=phone>SECRET</p>",
    "<style><!-- .phone{max-height:0;overflow:hidden} --></style><p class=phone>SECRET</p>",
    "<style>.p{display:none}</style><p class=p style='display:none'>SECRET</p>",
]  # fmt: skip


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_is_hidden_is_not_shown(hidden: str) -> None:
    html = f"<html><body>{hidden}<p>Vážený zákazníku</p></body></html>"
    assert "SECRET" not in sanitise_html(html)
    assert text_of(html) == "Vážený zákazníku"
    assert snippet_of(html) == "Vážený zákazníku"


@pytest.mark.parametrize(
    "shown",
    [
        "<a href='https://e.cz/' style='background:#49a9ce;mso-hide:all'>SEEN</a>",
        "<td style='font-size:0'><p style='font-size:14px'>SEEN</p></td>",
        "<div style='font-size:0px'><span style='font-size:1em'></span><font size=2>SEEN</font></div>",
        "<style>.p{display:none}</style><p class=p style='display:block!important'>SEEN</p>",
        "<style>.p{display:none}.p{display:block}</style><p class=p>SEEN</p>",
        "<style>@media (max-width:480px){.desktop{display:none!important}}</style><p class=desktop>SEEN</p>",
        "<style>@media print{.p{display:none}}</style><p class=p>SEEN</p>",
        "<style media=print>.p{display:none}</style><p class=p>SEEN</p>",
        "<!--[if mso]><style>.p{display:none}</style><![endif]--><p class=p>SEEN</p>",
        "<style>.p:hover,[class=p],.q .p,p>.p{display:none}</style><p class=p>SEEN</p>",
        "<style>@font-face{font-family:x;src:url(http://e)}.other{display:none}</style><p class=p>SEEN</p>",
        "<div style='height:0'>SEEN</div>",
        "<div style='max-height:100px;overflow:hidden;opacity:0.9'>SEEN</div>",
        "<p style='display:inline-block'>SEEN</p>",
        "<div style='visibility:hidden'><p style='visibility:visible'>SEEN</p></div><p>other</p>",
        "<style>.h{visibility:hidden}.v{visibility:visible!important}</style><table class=h><tr><td>a</td><td class=v>SEEN</table>b",
        "<div style='visibility:hidden'>SEEN</div>",
        "<div style='display:none'>SEEN</div>",  # a mail of which nothing else is left
    ],
)
def test_what_is_not_hidden_stays(shown: str) -> None:
    assert "SEEN" in sanitise_html(shown)
    assert "SEEN" in text_of(shown)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<table><tr><td style='BACKGROUND: #1a1a1a; COLOR: #fff'>x", "background-color:#1a1a1a"),
        ("<p style='background:#000 url(http://e/x.png) no-repeat;color:#fff'>x", "background-color:#000"),
        ("<p style='background:url(\"http://e/#fff\") center/cover navy'>x", "background-color:navy"),
        ("<p style='background:rgb(0, 0, 64)'>x", "background-color:rgb(0"),
        ("<p style='background-image:linear-gradient(#000040,#123456);color:white'>x", "background-color:#000040"),
        ("<body bgcolor=#000040 text=#ffffff><p>x", '<div style="background-color:#000040;color:#ffffff"><p>x'),
        ("<body bgcolor=000040 text=ffff99>x", "background-color:#000040"),
        ("<body style='margin:0;background:black;color:white'>x", "background-color:black;color:white"),
        ("<style>body{background-color:#000;color:#eee}</style><body><p>x", "background-color:#000;color:#eee"),
        ("<body bgcolor=#000 link=#ffff00><a href=https://e.cz>x</a>", "color:#ffff00"),
        ("<style>.dark{background:#111}</style><table><tr><td class=dark><font color=#fff>x", "background-color:#111"),
    ],
)  # fmt: skip
def test_a_background_keeps_its_colour(html: str, expected: str) -> None:
    assert expected in sanitise_html(html)


@pytest.mark.parametrize(
    "html",
    [
        "<body background=http://e/night.png text=#ffffff>x",
        "<table><tr><td><table background='http://e/x.png'><tr><td style='color:#fff'>x</td></tr></table>",
        "<p style='background:url(http://e/x.png);color:#fffffe'>x</p>",
        "<style>.a .b{color:#fff}.c>.a{background:#000}</style><div class=c><p class=a><b class=b>x</b></p></div>",
    ],
)
def test_text_that_lost_its_background_is_readable(html: str) -> None:
    assert '<span style="color:#000000">x</span>' in sanitise_html(html)


def test_dark_text_on_a_background_of_which_only_the_sheet_knows_is_readable() -> None:
    html = "<style>.a{background:#000}.b:first-child{color:#fff}</style><p class='a'><b class=b>x</b></p>"
    assert '<span style="color:#ffffff">x</span>' in sanitise_html(html)


def test_a_background_names_no_address() -> None:
    for html in (
        "<p style='background:url(http://e)'>x",
        "<body background=http://e style='background:#000 url(http://e)'>x",
    ):
        assert "http" not in sanitise_html(html)
    assert "style" not in sanitise_html("<body bgcolor='red;position:fixed' text='url(x)'>x</body>")


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<a href='https://e.cz/reset?t=1&amp;u=2'>zde</a>.", "zde (https://e.cz/reset?t=1&u=2)."),
        ("<a href='https://e.cz/'>https://e.cz</a>", "https://e.cz"),
        ("<a href='https://www.e.cz/a/'>e.cz/a</a>", "e.cz/a"),
        ("<a href='http://e.cz/'>WWW.E.CZ</a>", "WWW.E.CZ"),
        ("<a href='https://e.cz/other'>e.cz</a>", "e.cz (https://e.cz/other)"),
        ("<a href='mailto:jana@e.cz'>jana@e.cz</a>", "jana@e.cz"),
        ("<a href='mailto:jana@e.cz'>Jana</a>", "Jana (jana@e.cz)"),
        ("<a href='tel:+420123'>+420123</a>", "+420123"),
        ("<a href='https://e.cz/x'><b>a</b> b</a>", "a b (https://e.cz/x)"),
        ("<a href='www.e.cz/cenik'>ceník</a>", "ceník (http://www.e.cz/cenik)"),
        ("<a href='https://e.cz/x'><img src=cid:b></a>", "https://e.cz/x"),
        ("<a name=top>nahoru</a>", "nahoru"),
        ("<a href='#top'>nahoru</a>", "nahoru"),
        ("<a href='javascript:x'>nahoru</a>", "nahoru"),
    ],
)
def test_text_made_from_html_says_where_links_lead(html: str, expected: str) -> None:
    assert text_of(f"<p>{html}</p>") == expected


@pytest.mark.parametrize("text", ["<b>", "&lt;b&gt;", "&amp;", "AT&T", "a&b;c", "&amp;amp;nbsp;", "&#65;"])
def test_text_made_from_html_is_decoded_once(text: str) -> None:
    assert text_of(f"<p>{html_entities.escape(text)}</p>") == text
    assert text_of(f"<pre>{html_entities.escape(text)}</pre>") == text


def test_a_snippet_does_not_say_where_links_lead() -> None:
    assert snippet_of("<p>Heslo změníte <a href='https://e.cz/reset'>zde</a>.</p>") == "Heslo změníte zde."


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("www.e.cz/cenik", "http://www.e.cz/cenik"),
        (" WWW.e.cz ", "http://WWW.e.cz"),
        ("e.cz", "http://e.cz"),
        ("shop.example.com/a?b", "http://shop.example.com/a?b"),
        ("jana@e.cz", "mailto:jana@e.cz"),
        ("www.e.cz:8080", "http://www.e.cz:8080"),
        (" intranet.e.cz:8080/a?b", "http://intranet.e.cz:8080/a?b"),
        ("javascript.e.cz:alert(1)", None),
        ("javascript:80", None),
        ("//e.cz/x", "https://e.cz/x"),
        (" https://e.cz/x ", "https://e.cz/x"),
        ("HTTPS://e.cz/", "HTTPS://e.cz/"),
        ("page.html", None),
        ("/path", None),
        ("#a", None),
        ("javascript:x", None),
        ("cid:x", None),
        ("data:text/html,x", None),
    ],
)
def test_a_link_without_a_scheme_leads_where_its_writer_meant(href: str, expected: str | None) -> None:
    found = re.search(r'href="([^"]*)"', sanitise_html(f"<a href='{href}'>x</a>"))
    assert (found and found[1]) == expected


@pytest.mark.parametrize(
    "quoted",
    [
        "<div class=gmail_quote><div dir=ltr class=gmail_attr>Q Q Q<br></div><blockquote class=gmail_quote>Kdy?</blockquote></div>",
        "<div class=moz-cite-prefix>Dne 3. 2. 2025 v 10:11 Jan napsal(a):<br></div><blockquote type=cite><p>Kdy?</p></blockquote>",
        "<div>po 3. 2. 2025 v 10:11 odesílatel Jan &lt;<a href='mailto:jan@e.cz'>jan@e.cz</a>&gt; napsal:</div><blockquote>Kdy?"
        "<div>Kde?</div></blockquote>",
        "<table><tr><td><blockquote>Kdy?</blockquote></td></tr></table>",
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["<div>Ve středu.</div>{}", "{}<div>Ve středu.</div>"])
def test_the_snippet_of_html_is_what_is_new(quoted: str, layout: str) -> None:
    assert snippet_of(layout.format(quoted)) == "Ve středu."


OUTLOOK = (
    "<p>Ve středu.</p><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'>"
    "<p><b>{}:</b> Jan &lt;jan@e.cz&gt;<br><b>{}:</b> 3. 2. 2025<br><b>{}:</b> Petr<br><b>{}:</b> Dotaz</p></div><p>Kdy?</p>"
)


@pytest.mark.parametrize(
    "words",
    ["Od Odesláno Komu Předmět", "From Sent To Subject", "Von Gesendet An Betreff", "De Envoyé À Objet",
     "Od Wysłano Do Temat", "Od Odoslané Komu Predmet", "Da Inviato A Oggetto", "De Enviado Para Asunto"],
)  # fmt: skip
def test_the_snippet_of_outlooks_answer_is_what_is_new(words: str) -> None:
    assert snippet_of(OUTLOOK.format(*words.split())) == "Ve středu."


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("{}<div id=divRplyFwdMsg><b>Från:</b> Jan<br><b>Skickat:</b> 3. 2. 2025</div><p>Kdy?</p>", "Ve středu."),
        ("{}<div><div id=x_divRplyFwdMsg><p>Fra: Jan</p></div></div><p>Kdy?</p>", "Ve středu."),
        ("{}<div><div style='border:none;border-top:solid #B5C4DF 1.0pt;padding:3.0pt 0in 0in 0in'><p>Fra: Jan</p></div></div>"
         "<p>Kdy?</p>", "Ve středu."),
        ("{}<div class=yahoo_quoted id=yahoo_quoted_1><div>Jan skrev:</div><div>Kdy?</div></div>", "Ve středu."),
        ("<div id=mail-editor-reference-message-container><div>Fra: Jan</div><div>Kdy?</div></div>{}", "Ve středu."),
        ("{}<div style='border:none;border-top:solid #ccc 1px;padding:8px'>Jan, ředitel</div>", "Ve středu. Jan, ředitel"),
        ("<blockquote>Kdy?<div id=divRplyFwdMsg>Fra: Jan</div>Kde?</blockquote>{}", "Ve středu."),
    ],
)  # fmt: skip
def test_the_snippet_ends_where_a_mailer_marks_what_is_quoted(html: str, expected: str) -> None:
    assert snippet_of(html.format("<div>Ve středu.</div>")) == expected


def test_the_mark_of_what_is_quoted_leaves_no_line_in_the_text() -> None:
    assert text_of("<div>Ano.</div><div id=divRplyFwdMsg><div>Fra: Jan</div></div>") == "Ano.\nFra: Jan"


@pytest.mark.parametrize("header", ["---------- Forwarded message ---------<br>From: Jan<br>Date: x<br>Subject: y<br><br>",
    "<div id=divRplyFwdMsg><b>Od:</b> Jan<br><b>Odesláno:</b> 3. 2. 2025<br><b>Předmět:</b> x</div>"])  # fmt: skip
@pytest.mark.parametrize("layout", ["{}<div>Smlouva</div>", "<blockquote>{}<div>Smlouva</div></blockquote>"])
def test_the_snippet_of_html_that_is_only_passed_on_is_what_it_passes_on(header: str, layout: str) -> None:
    assert snippet_of(layout.format(header)) == "Smlouva"


@pytest.mark.parametrize(
    "html",
    [
        "<style>" + "@media (max-width:1px){" * 20_000,
        "<style>" + "a{b:c}" * 50_000 + "</style>" + "<p class='" + "x " * 5000 + "'>y",
        "<style>" * 50_000,
        "<style>/*" * 50_000,
        "<body '" * 50_000,
        "<body \"'" * 50_000,
        "<!--" * 100_000,
        "<p style='" + "background:" * 20_000 + "'>x",
        "<p style='" + "a(" * 50_000 + "'>x",
        "<p style='background:" + "rgb(" * 20_000 + "'>x",
        "<p style='background:" + "url(" * 20_000 + "'>x",
        "<div style='display:none'>" * 1400,
        "<a href=https://e.cz>x</a>" * 15_000,
        "<p hidden>x" * 25_000,
        "<a href=https://e.cz/x>x" * 1400,
        "<a " * 100_000,
        "<a href=" + " " * 200_000,
        "<a " + "href " * 50_000,
        "<a href=" + "e." * 100_000,
        "<a href=" + "e.cz:1" * 50_000,
        "<p>" + "".join(f"<b id=a{n}>" for n in range(99)) + "x</p>" + "<p>x</p>" * 4000,
    ],
)  # fmt: skip
@pytest.mark.slow
def test_hostile_styles_cost_linear_time(html: str) -> None:
    assert_linear(lambda each: read_html(each, {}), html)


@pytest.mark.slow
def test_many_rules_for_many_elements_cost_linear_time() -> None:
    def sized(k: int) -> str:
        rules = ".a .b .c{color:red}" * (9000 // k)
        return f"<style>{rules}</style>" + "<div class='a b c'>" * (1400 // k)

    assert_linear(lambda each: read_html(each, {}), sized(1), sized(SMALLER))


@pytest.mark.parametrize(
    ("field", "source", "expected"),
    [
        ("Content-ID: <image001.png>", "image001.png", "cid:image001.png"),
        ("Content-ID: <image001.png@01D>", "cid:image001.png%4001D", "cid:image001.png@01D"),
        ("Content-ID: <Logo@E.cz>", "CID:logo@e.cz", "cid:Logo@E.cz"),
        ("Content-ID: <logo>", "cid:&lt;logo&gt;", "cid:logo"),
        ("Content-ID: <logo>", " cid:lo\ngo ", "cid:logo"),
        ("Content-ID: <můj logo>", "cid:můj logo", "cid:m%C5%AFj%20logo"),
        ("Content-Location: http://e.cz/logo.png", "http://e.cz/logo.png", "cid:attachment-1"),
        ("Content-Location: images/logo.png", "images/logo.png", "cid:attachment-1"),
        ("Content-Location: file:///C:/a/logo.png", "file:///C:/a/logo.png", "cid:attachment-1"),
        ("Content-Location: cid:logo", "cid:logo", "cid:attachment-1"),
        ("Content-Location: a/Logo 1.png", "a/Logo%201.png", "cid:attachment-1"),
        ("Content-Location: a/Logo%201.png", "a/Logo 1.png", "cid:attachment-1"),
        ("Content-Location: //e.cz/logo.png", "//e.cz/logo.png", "cid:attachment-1"),
        ("Content-Location: www.e.cz/logo.png", "www.e.cz/logo.png", "cid:attachment-1"),
        ("Content-ID: <logo@e.cz>", "logo@e.cz", "cid:logo@e.cz"),
        ("Content-ID: <logo.e.cz>", "logo.e.cz", "cid:logo.e.cz"),
        ("Content-Location: http://e.cz/logo.png", "http://e.cz/other.png", None),
    ],
)
def test_an_image_leads_to_the_part_that_it_names(field: str, source: str, expected: str | None) -> None:
    image = base64_part("image/png; name=a.png", b"PNG", field)
    html = part("Content-Type: text/html; charset=utf-8", body=f'<p>a<img src="{source}"></p>')
    parsed = parse_mail(multipart("related", html, image))
    assert parsed.html == (f'<p>a<img src="{expected}"></p>' if expected else "<p>a<img></p>")
    assert [each.inline for each in parsed.attachments] == [expected is not None]


_MARKUP = st.sampled_from(
    ["<div>", "</div>", "<p style='margin:0'>", "</p>", "<span style='color:#fff'>", "</span>", "<b>", "</b>", "<br>",
     "<table background=x bgcolor=#000>", "<tr>", "<td style='padding:4px'>", "<td style='background-color:black'>", "</td>",
     "</table>", "<div style='display:none'>", "<div style='visibility:hidden'>", "<div style='visibility:visible'>",
     "<div style='font-size:0'>", "<p style='font-size:12px'>", "<div style='background:url(x)'>", "<font color=white>",
     "<font size=2>", "</font>", "<a href='https://e.cz/'>", "<a name=x>", "</a>", "<img src=cid:a>", "<img alt='>'>",
     "<blockquote>", "</blockquote>", "<div class=gmail_attr>", "<div id=divRplyFwdMsg>", "<p title='a<b>\"c'>", "<p hidden>",
     "<div style='border:none;border-top:solid #ccc 1.0pt;padding:3.0pt 0in 0in 0in'>", "text", " ", "\n", "&lt;", "&#7;"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(_MARKUP, max_size=30).map("".join))
def test_tags_that_are_passed_over_are_shown_as_if_each_were_looked_at(html: str) -> None:
    """With a rule that fits nothing, no tag is passed over."""
    assert read_html(html, {}) == read_html("<style>.fits-nothing{color:red}</style>" + html, {})


def test_what_one_mail_did_with_a_style_does_not_change_the_next() -> None:
    """A mail with nothing but hidden text is shown; the same tag in another mail still hides."""
    hidden = '<div title="a" style="display:none">skryto</div>'
    for _ in range(2):
        alone, beside = (
            parse_mail(mail("Content-Type: text/html; charset=utf-8", body=body))
            for body in (hidden, f"<p>vidět</p>{hidden}")
        )
        assert (alone.text, beside.text) == ("skryto", "vidět")
