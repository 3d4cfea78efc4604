"""Mails that stop or break parsers: the collected ones, the generated ones, and random ones."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.mime.minimal import parse_minimal
from app.mime.model import PARSER_FAULTS, DefectCode, ParsedMail
from app.mime.parse import extract_attachment, parse_mail
from tests.support import sandboxed_reader
from tools.corpus import mail_files

from .mails import NASTY, assert_linear, base64_part, mail, multipart, part

pytestmark = pytest.mark.slow

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def texts_of(value: object) -> Iterator[str]:
    """Every text in decoded JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each)


def check(raw: bytes, read: Callable[[bytes], ParsedMail] = parse_mail) -> ParsedMail:
    """What holds of every mail."""
    parsed = read(raw)
    assert not [defect for defect in parsed.defects if defect.code in PARSER_FAULTS]
    data = parsed.to_json()
    assert ParsedMail.from_json(data) == parsed
    for text in texts_of(json.loads(data)):
        assert not _CONTROL.search(text), text
    assert "\n" not in f"{parsed.subject}{parsed.snippet}{parsed.from_}"
    assert len(parsed.snippet) <= 200
    assert [each.n for each in parsed.attachments] == list(range(1, len(parsed.attachments) + 1))
    assert all(0 < len(each.name.encode()) <= 255 and "/" not in each.name for each in parsed.attachments)
    assert (
        parsed.date_header is None or parsed.date_header.tzinfo is UTC or not parsed.date_header.utcoffset()
    )
    codes = [defect.code for defect in parsed.defects]
    assert len(codes) == len(set(codes))
    return parsed


def test_every_collected_mail_is_read_in_time_and_its_attachments_are_taken_out(corpus: Path) -> None:
    """In the parser process: it ends each mail that takes more than the time or memory of the gateway's limits."""
    for path in mail_files(corpus):
        raw = path.read_bytes()
        parsed = check(raw, sandboxed_reader.parse_mail)
        for info in parsed.attachments[:5]:
            found = sandboxed_reader.extract_attachment(raw, info.n)
            assert found is not None, path.name
            assert found.info == info, path.name
            assert len(found.content) == info.size_octets, path.name


@pytest.mark.parametrize("name", NASTY)
def test_no_generated_mail_takes_long(name: str) -> None:
    raw = NASTY[name]()
    assert_linear(parse_mail, raw)
    parsed = check(raw)
    if b"From: jana@firma.cz" in raw:
        assert parsed.from_ is not None
        assert parsed.from_.address == "jana@firma.cz"
    if b"Subject: Test" in raw:
        assert parsed.subject == "Test"
    minimal = parse_minimal(raw, DefectCode.PARSER_DIED, "test")
    assert minimal.defects[0].code == DefectCode.PARSER_DIED
    assert ParsedMail.from_json(minimal.to_json()) == minimal


@pytest.mark.parametrize("factor_of", ["to_unclosed_quotes_100k", "encoded_words_1m"])
def test_the_minimal_reader_is_quick_too(factor_of: str) -> None:
    raw = NASTY[factor_of]()
    assert_linear(lambda each: parse_minimal(each, DefectCode.PARSER_DIED), raw)


def test_20000_recipients_are_1000_and_a_defect() -> None:
    parsed = parse_mail(NASTY["to_20000_recipients"]())
    assert len(parsed.to) == 1000
    assert parsed.to[999].address == "u999@firma.cz"
    assert {defect.code.value for defect in parsed.defects} == {"header_truncated", "addresses_limit"}


def test_a_subject_after_100000_headers_is_found() -> None:
    parsed = parse_mail(NASTY["headers_100000"]())
    assert (parsed.subject, [defect.code.value for defect in parsed.defects]) == ("Test", ["headers_limit"])


def test_after_1000_parts_the_rest_is_not_read() -> None:
    pieces = [base64_part(f"image/png; name={n}.png", b"x") for n in range(1500)]
    parsed = parse_mail(multipart("mixed", *pieces))
    assert [parsed.attachments[0].name, parsed.attachments[-1].name] == ["0.png", "999.png"]
    assert [defect.code.value for defect in parsed.defects] == ["parts_limit"]


def test_a_text_within_100_levels_is_read_and_beyond_it_is_opaque() -> None:
    def deep(levels: int) -> ParsedMail:
        inner = part(body="innermost")
        for n in range(levels):
            inner = part(
                f"Content-Type: multipart/mixed; boundary=b{n}",
                body=b"--b%d\r\n%s\r\n--b%d--\r\n" % (n, inner, n),
            )
        return parse_mail(b"From: a@b.cz\r\n" + inner)

    assert (deep(100).text, deep(100).defects) == ("innermost", ())
    assert deep(101).text is None
    assert [defect.code.value for defect in deep(101).defects] == ["depth_limit"]
    assert len(deep(101).attachments) == 1


def test_html_that_is_withheld_is_still_told_as_text() -> None:
    parsed = parse_mail(mail("Content-Type: text/html", body="<div>" * 10_000 + "Faktura"))
    assert (parsed.html, parsed.text) == (None, "Faktura")
    assert [defect.code.value for defect in parsed.defects] == ["html_withheld"]


def test_no_entity_of_withheld_html_becomes_a_control() -> None:
    pieces = (
        part("Content-Type: text/html", body="<p>shown"),
        part("Content-Type: text/html", body="<div>" * 10_000 + "a&#0;b&#x81;c&#xd800;d&#x9b;"),
    )
    parsed = check(multipart("mixed", *pieces))
    assert parsed.text == "shown\na\ufffdbc\ufffdd›"


def test_without_html_no_html_parser_is_asked() -> None:
    parsed = parse_mail(
        mail("Content-Type: text/html", body="<p>Faktura</p><script>x</script>"), with_html=False
    )
    assert (parsed.html, parsed.text) == (None, "Faktura")


def test_minimal_reading_tells_the_header() -> None:
    raw = mail(
        "Message-ID: <a@b>",
        "Subject: =?utf-8?q?k=C5=AF=C5=88?=",
        "Date: 1 Jan 2024 10:00 GMT",
        "Auto-Submitted: x",
    )
    whole, minimal = parse_mail(raw), parse_minimal(raw, DefectCode.PARSER_TIMEOUT, "CPU time")
    for name in ("message_id_header", "subject", "from_", "to", "date_header", "is_auto_reply"):
        assert getattr(minimal, name) == getattr(whole, name)
    assert (minimal.text, minimal.attachments) == (None, ())
    assert [(defect.code.value, defect.detail) for defect in minimal.defects] == [
        ("parser_timeout", "CPU time")
    ]


@given(st.binary(max_size=2000))
def test_random_octets_are_read(raw: bytes) -> None:
    check(raw)


_LINES = st.sampled_from(
    [b"From: Jana <jana@firma.cz>", b"To: a@b, c@d", b"Subject: =?utf-8?q?=C5=99?=", b"Date: 1 Jan 2024 10:00 GMT",
     b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: multipart/alternative; boundary=c",
     b"Content-Type: multipart/related; boundary=b", b"Content-Type: text/html; charset=utf-7",
     b"Content-Type: text/plain; charset=iso-2022-jp; format=flowed", b"Content-Type: message/rfc822",
     b"Content-Type: image/png; name=x", b"Content-Type: text/calendar", b"Content-Type: multipart/digest; boundary=c",
     b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b"Content-ID: <x@y>",
     b"Content-Disposition: attachment; filename*0*=utf-8''%C5", b"Content-Disposition: inline", b"", b"", b"--b",
     b"--c", b"--b--", b"--c--", b"--", b" folded", b"QUJD", b"=C5=99=", b"<img src=cid:x@y><p>", b"> quoted ",
     b"\x00\xff\xfe", b"+2AA-", b"\x1b$B", b"-- ", b"begin 644 x"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(_LINES, max_size=40), st.sampled_from([b"\r\n", b"\n", b"\r"]))
def test_mixtures_of_what_mails_are_made_of_are_read(lines: list[bytes], line_end: bytes) -> None:
    raw = line_end.join(lines)
    parsed = check(raw)
    for info in parsed.attachments:
        found = extract_attachment(raw, info.n)
        assert found is not None
        assert (found.info, len(found.content)) == (info, info.size_octets)
    assert extract_attachment(raw, len(parsed.attachments) + 1) is None


@settings(max_examples=200)
@given(st.data())
def test_damaged_mails_are_read(data: st.DataObject) -> None:
    raw = bytearray(
        multipart(
            "mixed",
            part("Content-Type: text/plain; charset=iso-8859-2", body="text"),
            part("Content-Type: text/html; charset=utf-8", body="<p>x<img src=cid:a>"),
            base64_part("image/png; name*=utf-8''%C5%99.png", bytes(100), "Content-ID: <a>"),
        )
    )
    for _ in range(data.draw(st.integers(1, 10))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    check(bytes(raw))
