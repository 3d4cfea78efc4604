"""HTML as text, and text as a snippet."""

import pytest

from app.mime.attachments import clean_name
from app.mime.plain import render_html, strip_tags
from app.mime.snippet import SNIPPET_MAX_CHARS, make_snippet


@pytest.mark.parametrize(
    "quoted",
    [
        "> quoted\n> more",
        "Dne 1. 1. 2024 v 10:00 Jana Nováková napsal(a):\n> quoted",
        "Dne 1. 1. 2024 v 10:00 Jana Nováková <jana@firma.cz> napsala:\nquoted",
        "po 1. 1. 2024 v 10:00 odesílatel Jana <jana@firma.cz> napsal:\nquoted",
        "On Mon, Jan 1, 2024 at 10:00 AM Jana <jana@firma.cz> wrote:\nquoted",
        "On Mon, Jan 1, 2024 at 10:00 AM Jana Nováková <\njana@firma.cz> wrote:\nquoted",
        "Am 01.01.2024 um 10:00 schrieb Jana Nováková:\nquoted",
        "-----Original Message-----\nFrom: Jana",
        "-----Původní zpráva-----\nOd: Jana",
        "________________________________\nFrom: Jana",
        "From: Jana <jana@firma.cz>\nSent: Monday\nquoted",
        "Od: Jana <jana@firma.cz>\nOdesláno: pondělí\nquoted",
        "-- \nJana Nováková\nředitelka",
    ],
)
def test_a_snippet_is_what_is_new(quoted: str) -> None:
    assert make_snippet(f"Ano,\n  souhlasím.\n\n{quoted}") == "Ano, souhlasím."


@pytest.mark.parametrize(
    "text", ["From: Prague we send regards", "On Monday we go", "Dne 1. 1. jsem psal", "a - b -- c", "-- x"]
)
def test_a_snippet_keeps_what_only_looks_quoted(text: str) -> None:
    assert make_snippet(text) == text


def test_of_a_mail_that_only_quotes_the_snippet_is_the_quote() -> None:
    assert make_snippet("> all\n> of it") == "all of it"


def test_a_snippet_has_200_characters_at_most() -> None:
    snippet = make_snippet("slovo " * 1000)
    assert len(snippet) <= SNIPPET_MAX_CHARS
    assert snippet.endswith("…")
    assert make_snippet("") == ""


def test_a_wide_table_does_not_multiply() -> None:
    wide = "<table><tr><td>" + "x" * 20_000 + "</td></tr>" + "<tr><td>a</td></tr>" * 2000 + "</table>"
    assert len(render_html(wide)) < 40_000


def test_stripped_tags_leave_text_only() -> None:
    html = "<script>bad()</script><p>a &lt;b&gt;</p><style>x{}</style>c<unclosed attribute"
    assert strip_tags(html).split() == ["a", "<b>", "c"]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("faktura.pdf", "faktura.pdf"),
        ("Příloha č. 1.pdf", "Příloha č. 1.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\jana\\a.doc", "a.doc"),
        ("..", ""),
        ("/", ""),
        (".htaccess", "htaccess"),
        ("a\r\nX-Evil: 1", "a X-Evil_ 1"),
        ("a\x00b\x1b.txt", "a\ufffdb.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("zero\u200bwidth.txt", "zerowidth.txt"),
        ('a"b<c>|d?.txt', "a_b_c__d_.txt"),
        ("  spaced .txt. ", "spaced .txt"),
        ("e\u0301.txt", "é.txt"),
        ("\ud800.txt", "txt"),
        ("", ""),
    ],
)
def test_a_file_name_is_only_a_name(stated: str, expected: str) -> None:
    assert clean_name(stated) == expected


def test_a_long_file_name_is_cut_between_characters_and_keeps_its_extension() -> None:
    name = clean_name("č" * 3000 + ".pdf")
    assert name.endswith("č.pdf")
    assert 250 < len(name.encode()) <= 255
