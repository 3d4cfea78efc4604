"""Headers with an irregular beginning or end, multiparts without a declared boundary: no text vanishes."""

from collections.abc import Callable

import pytest

from app.mime import parse
from app.mime.model import DefectCode, ParsedMail
from tests.support.linear_time import SMALLER
from tests.support.sandboxed_reader import parse_mail

from .mails import assert_linear, base64_part, mail, multipart, part

HEAD = "From: a@example.cz\r\nSubject: Predmet\r\nContent-Type: text/plain; charset=utf-8\r\n"


def codes(parsed: ParsedMail) -> list[str]:
    return [defect.code.value for defect in parsed.defects]


def read(text: str) -> ParsedMail:
    parsed = parse_mail(text.encode())
    assert parsed.subject == "Predmet"
    assert parsed.from_ is not None
    assert parsed.from_.address == "a@example.cz"
    return parsed


@pytest.mark.parametrize(
    "before",
    [" X-Odd: 1\r\n", "\tX-Odd: 1\r\n", "  indented\r\n", "+OK 1234 octets\r\n", "\ufeff", "\r\n\r\n", " \r\n",
     "From a@example.cz Mon Jan 1 10:00:00 2024\r\n", ">From a@example.cz Mon Jan 1 10:00:00 2024\r\n"]
)  # fmt: skip
def test_a_header_that_begins_oddly_is_read(before: str) -> None:
    assert read(before + HEAD + "\r\ntext").text == "text"


def test_an_indented_first_field_is_read() -> None:
    assert read(" Subject: Predmet\r\nFrom: a@example.cz\r\n\r\ntext").text == "text"


def test_later_lines_that_look_like_a_header_are_text() -> None:
    for text in (
        "Dobrý den,\r\nposílám.\r\n",
        " odsazeno\r\nPozn: x\r\n",
        "Ahoj\r\n\r\nFrom: a@example.cz\r\n",
    ):
        parsed = parse_mail(text.encode())
        assert (parsed.text, codes(parsed)) == (text.replace("\r\n", "\n"), ["no_headers"])


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (" \r\nDobrý den,\r\n\r\nJana", "Dobrý den,\n\nJana"),
        ("\t \r\nDobrý den,\r\n\r\nJana", "Dobrý den,\n\nJana"),
        ("Dobrý den,\r\n\r\nJana", "Dobrý den,\n\nJana"),
        ("Dobrý den,\r\nJana", "Dobrý den,\nJana"),
        (" \r\nPozn: x\r\n\r\nJana", "Pozn: x\n\nJana"),
        (" \r\nDobrý den\r\nFrom: b@example.cz\r\n\r\nJana", "Dobrý den\nFrom: b@example.cz\n\nJana"),
        (" \r\n", ""),
        ("\r\n\r\nJana", "\nJana"),
    ],
)
def test_a_header_that_ends_oddly_hides_no_text(ending: str, text: str) -> None:
    for line_end in ("\r\n", "\n"):
        assert read((HEAD + ending).replace("\r\n", line_end)).text == text


def test_garbage_within_a_header_does_not_end_it() -> None:
    for garbage in ("this is no header\r\n", "no colon\r\n \r\n", " \r\n", "\t\r\n folded\r\n"):
        parsed = read("X-A: 1\r\n" + garbage + HEAD + "\r\ntext")
        assert parsed.text == "text"


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("Content-Type: text/plain; charset=utf-8\r\n \r\nDobrý den\r\n\r\nJana", "Dobrý den\n\nJana"),
        ("Content-Type: text/plain; charset=utf-8\r\nDobrý den", "Dobrý den"),
        ("Content-Type: text/plain; charset=utf-8\r\nDobrý den\r\n\r\nJana", "Dobrý den\n\nJana"),
        ("Dobrý den", "Dobrý den"),
        ("Dotaz: kdy?", "Dotaz: kdy?"),
        ("\r\nDobrý den", "Dobrý den"),
        ("Content-Type: text/plain\r\n", ""),
    ],
)
def test_the_header_of_a_part_that_ends_oddly_hides_no_text(inner: str, text: str) -> None:
    raw = multipart("mixed", inner.encode(), base64_part("application/pdf; name=a.pdf", b"pdf"))
    parsed = parse_mail(raw)
    assert ((parsed.text or "").rstrip("\n"), [each.name for each in parsed.attachments]) == (text, ["a.pdf"])


def test_lines_that_end_in_two_carriage_returns_are_read() -> None:
    raw = multipart(
        "mixed", part("Content-Type: text/plain", body="text"), base64_part("image/png", b"png" * 50)
    )
    parsed = parse_mail(raw.replace(b"\r\n", b"\r\r\n"))
    assert (parsed.text, [each.size_octets for each in parsed.attachments]) == ("text", [150])
    assert codes(parsed) == ["bare_cr"]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed",
        'multipart/mixed; boundary=""',
        'multipart/mixed; boundary="other"',
        "multipart/mixed; x=y",
    ],
)
def test_an_undeclared_boundary_is_found(content_type: str) -> None:
    raw = multipart("mixed", part("Content-Type: text/plain", body="text"), base64_part("image/png", b"png"))
    parsed = parse_mail(raw.replace(b'multipart/mixed; boundary="=_hranice"', content_type.encode()))
    assert (parsed.text, len(parsed.attachments), codes(parsed)) == ("text", 1, ["missing_boundary"])


def test_a_boundary_of_the_outer_multipart_is_not_taken_for_the_inner_one() -> None:
    inner = part("Content-Type: multipart/alternative", body="only text")
    parsed = parse_mail(multipart("mixed", inner, part("Content-Type: text/html", body="<p>b")))
    assert (parsed.text, parsed.html is not None) == ("only text\nb", True)
    assert DefectCode.MISSING_BOUNDARY in codes(parsed)


def test_dashes_in_a_multipart_without_boundary_are_text() -> None:
    parsed = parse_mail(mail("Content-Type: multipart/mixed", body="--x\r\nDobrý den\r\n--x--\r\n"))
    assert parsed.text == "--x\nDobrý den\n--x--\n"


@pytest.mark.parametrize(
    "sized",
    [
        lambda k: b"A: b\r\n" + b" \r\n" * (500_000 // k) + b"x",
        lambda k: b"A: b\r\n" + b"x\r\n" * (500_000 // k) + b"\r\n",
        lambda k: b"A: b\r\n" + b" \r\nB: c\r\n" * (200_000 // k) + b"x\r\n\r\n",
        lambda k: b"A: b\r\n \r\n" * (200_000 // k) + b"Subject: x\r\n\r\n",
        lambda k: b"Content-Type: multipart/mixed\r\n\r\n" + b"--a\r\n" * (500_000 // k),
        lambda k: (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
            + b"--b\r\nContent-Type: multipart/x\r\n\r\n" * (999 // k)
        ),
        lambda k: b"\r\r\n" * (1_000_000 // k),
    ],
)
@pytest.mark.slow
def test_no_odd_header_takes_long(sized: Callable[[int], bytes]) -> None:
    assert_linear(parse.parse_mail, sized(1), sized(SMALLER))
