"""The readers of single header values: encoded words, charsets, addresses, parameters, dates, identifiers."""

import base64
import binascii
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.mime.addresses import read_addresses
from app.mime.charset import decode, python_codec
from app.mime.charset_labels import CODECS
from app.mime.dates import read_date
from app.mime.encoded_words import decode_words
from app.mime.message_ids import read_message_ids
from app.mime.model import Address, DefectCode, Defects
from app.mime.parameters import read_parameters
from app.mime.transfer import decode_base64
from tests.support.linear_time import SMALLER

from .mails import PANGRAM, assert_linear


def words(value: str) -> str:
    return decode_words(value, Defects(), where="subject")


def addresses(value: str) -> list[tuple[str | None, str]]:
    return [(each.name, each.address) for each in read_addresses(value, Defects(), where="to")]


def parameters(value: str | bytes) -> tuple[str, dict[str, str]]:
    raw = value.encode() if isinstance(value, str) else value
    return read_parameters(raw, Defects(), where="content-type")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("=?utf-8?Q?P=C5=99=C3=ADli=C5=A1?=", "Příliš"),
        ("=?ISO-8859-2?Q?P=F8=EDli=B9?=", "Příliš"),
        ("=?windows-1250?B?UPjtbGma?=", "Příliš"),
        ("=?utf-8?q?a_b?=", "a b"),
        ("=?utf-8?q?a b?=", "a b"),
        ("=?utf-8*cs?q?k=C5=AF=C5=88?=", "kůň"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?=\t =?iso-8859-2?q?=F8?=", "ař"),
        ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        ("Re: =?utf-8?q?a?= [1]", "Re: a [1]"),
        ("=?utf-8?Q?=C5?= =?utf-8?Q?=99?=", "ř"),
        ("=?utf-8?B?xQ==?= =?utf-8?B?mQ==?=", "ř"),
        ("=?utf-8?B?xZk?=", "ř"),
        ("=?utf-8?Q?=41?=", "A"),
        ("=?utf-8?Q??=", ""),
        ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
        ("=?utf-8?q?open", "=?utf-8?q?open"),
        ("a =? b ?= c", "a =? b ?= c"),
    ],
)
def test_encoded_words_are_read(value: str, expected: str) -> None:
    assert words(value) == expected


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("UTF-8", "utf-8"),
        ('"utf8"', "utf-8"),
        ("us-ascii", "ascii"),
        ("iso-8859-1", "cp1252"),
        ("latin2", "iso8859-2"),
        ("Windows-1250", "cp1250"),
        ("cp-1250", "cp1250"),
        ("x-cp1250", "cp1250"),
        ("gb2312", "gb18030"),
        ("X-GBK", "gb18030"),
        ("GB2312_CHARSET", "gb18030"),
        ("CHINESEBIG5", "cp950"),
        ("ks_c_5601-1987", "cp949"),
        ("iso-8859-8-i", "iso8859-8"),
        ("x-mac-cyrillic", "mac-cyrillic"),
        ("charset=utf-8", "utf-8"),
        ("DEFAULT", ""),
        ("unknown-8bit", ""),
        ("X-UNKNOWN", ""),
        ("DEFAULT_CHARSET", ""),
        ("", ""),
        ("unicode_escape", None),
        ("raw_unicode_escape", None),
        ("idna", None),
        ("punycode", None),
        ("undefined", None),
        ("zlib", None),
        ("hex", None),
        ("rot13", None),
        ("base64", None),
        ("mbcs", None),
        ("a\x00b", None),
        ("../../etc/passwd", None),
        ("x" * 1000, None),
    ],
)
def test_a_charset_label_means_a_charset_of_mail_or_none(label: str, codec: str | None) -> None:
    assert python_codec(label) == codec


@pytest.mark.slow
def test_every_decoder_takes_any_octets_in_linear_time() -> None:
    for piece in (bytes(range(256)), b"\xff" * 256, b"\x1b$B" * 80, b"~{" * 128):
        large, small = piece * 400, piece * (400 // SMALLER)
        for codec in sorted(CODECS):
            assert_linear(lambda octets, name=codec: decode(octets, name, Defects(), where="x"), large, small)  # type: ignore[misc]


def test_windows_1250_that_is_called_iso_8859_2_is_read_as_meant() -> None:
    assert decode("Šťastný žák".encode("cp1250"), "iso-8859-2", Defects(), where="x") == "Šťastný žák"
    assert decode(PANGRAM.encode("iso8859-2"), "iso-8859-2", Defects(), where="x") == PANGRAM


def test_an_unknown_charset_is_a_defect_and_still_text() -> None:
    defects = Defects()
    assert decode("kůň".encode(), "x-nonsense", defects, where="subject") == "kůň"
    assert [(d.code, d.detail) for d in defects.listed()] == [("unknown_charset", "x-nonsense in subject")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b.cz", [(None, "a@b.cz")]),
        ("<a@b.cz>", [(None, "a@b.cz")]),
        ("Jana Nova <a@b.cz>", [("Jana Nova", "a@b.cz")]),
        ('"Nová, Jana" <a@b.cz>', [("Nová, Jana", "a@b.cz")]),
        ('"a \\"b\\" c" <a@b.cz>', [('a "b" c', "a@b.cz")]),
        ("=?utf-8?Q?Nov=C3=A1=2C_Jana?= <a@b.cz>, c@d.cz", [("Nová, Jana", "a@b.cz"), (None, "c@d.cz")]),
        ('"=?utf-8?Q?k=C5=AF=C5=88?=" <a@b.cz>', [("kůň", "a@b.cz")]),
        ("a@b.cz (Jana Nová)", [("Jana Nová", "a@b.cz")]),
        ("a@b.cz (Jana (nested) Nová)", [("Jana (nested) Nová", "a@b.cz")]),
        ("Jana <@relay.cz,@b.cz:a@c.cz>", [("Jana", "a@c.cz")]),
        ("undisclosed-recipients:;", []),
        ("Friends: a@b.cz, Jana <c@d.cz>; e@f.cz", [(None, "a@b.cz"), ("Jana", "c@d.cz"), (None, "e@f.cz")]),
        ("a@b.cz; c@d.cz;", [(None, "a@b.cz"), (None, "c@d.cz")]),
        (",, a@b.cz ,,", [(None, "a@b.cz")]),
        ("Jana Nova a@b.cz", [("Jana Nova", "a@b.cz")]),
        ("\x00a@b.cz", [(None, "\ufffda@b.cz")]),
        ("Jana <a\x1b@b.cz>", [("Jana", "a@b.cz")]),
        ("a@b.cz c@d.cz", [(None, "a@b.cz"), (None, "c@d.cz")]),
        ("jana@firma.cz <a@b.cz>", [("jana@firma.cz", "a@b.cz")]),
        ('"info@firma.cz" <evil@example.org>', [("info@firma.cz", "evil@example.org")]),
        ('"Jana <a@b.cz>', [("Jana", "a@b.cz")]),
        ("Jana <a@b.cz", [("Jana", "a@b.cz")]),
        ("MAILER-DAEMON", [(None, "MAILER-DAEMON")]),
        ("Mail Delivery System", [("Mail Delivery System", "")]),
        ("<>", []),
        ("Jöhn <jdöe@mächine.example>", [("Jöhn", "jdöe@mächine.example")]),
        ('"jo hn"@b.cz', [(None, '"jo hn"@b.cz')]),
        ("pete(his account)@silly.test", [("his account", "pete@silly.test")]),
        ("", []),
        ("   ", []),
    ],
)
def test_addresses_are_read(value: str, expected: list[tuple[str | None, str]]) -> None:
    assert addresses(value) == expected


def test_a_line_break_in_an_encoded_name_does_not_reach_the_name() -> None:
    assert addresses("=?utf-8?Q?a=0D=0ABcc:_x?= <a@b.cz>") == [("a Bcc: x", "a@b.cz")]


def test_of_more_than_1000_addresses_the_first_are_kept_and_a_defect_says_so() -> None:
    defects = Defects()
    found = read_addresses(", ".join(f"u{n}@b.cz" for n in range(3000)), defects, where="to")
    assert len(found) == 1000
    assert found[-1] == Address(None, "u999@b.cz")
    assert [d.code for d in defects.listed()] == [DefectCode.ADDRESSES_LIMIT]


def test_exactly_1000_addresses_are_no_defect() -> None:
    defects = Defects()
    assert len(read_addresses(", ".join(f"u{n}@b.cz" for n in range(1000)), defects, where="to")) == 1000
    assert defects.listed() == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text/plain", ("text/plain", {})),
        ("TEXT/Plain; CHARSET=UTF-8", ("text/plain", {"charset": "UTF-8"})),
        (
            'text/plain; charset="utf-8"; format=flowed',
            ("text/plain", {"charset": "utf-8", "format": "flowed"}),
        ),
        ("text/plain;;; ; charset=utf-8;", ("text/plain", {"charset": "utf-8"})),
        ("text/plain; charset = utf-8 (comment)", ("text/plain", {"charset": "utf-8"})),
        ('x/y; name="a;b\\"c"; q=1', ("x/y", {"name": 'a;b"c', "q": "1"})),
        ("x/y; name=two words.pdf; q=1", ("x/y", {"name": "two words.pdf", "q": "1"})),
        ('x/y; name="C:\\dir\\file.txt"', ("x/y", {"name": "C:\\dir\\file.txt"})),
        ('x/y; boundary="open', ("x/y", {"boundary": "open"})),
        ("x/y; a=1; a=2", ("x/y", {"a": "1"})),
        ("x/y; lonely; a=1", ("x/y", {"a": "1"})),
        ("x/y; name*=utf-8''k%C5%AF%C5%88.pdf", ("x/y", {"name": "kůň.pdf"})),
        ("x/y; name*=iso-8859-2'cs'k%F9%F2.pdf", ("x/y", {"name": "kůň.pdf"})),
        ("x/y; name=kun.pdf; name*=utf-8''k%C5%AF%C5%88.pdf", ("x/y", {"name": "kůň.pdf"})),
        ("x/y; name*1*=%C5%88.pdf; name*0*=utf-8''k%C5%AF", ("x/y", {"name": "kůň.pdf"})),
        ('x/y; name*0="long "; name*1=name.pdf', ("x/y", {"name": "long name.pdf"})),
        ("x/y; name*0*=utf-8''%C5; name*1*=%AF.pdf", ("x/y", {"name": "ů.pdf"})),
        ("x/y; name*=no-quotes%20here", ("x/y", {"name": "no-quotes here"})),
        ('x/y; name="=?utf-8?Q?k=C5=AF=C5=88?=.pdf"', ("x/y", {"name": "kůň.pdf"})),
        ('x/y; name="kůň.pdf"', ("x/y", {"name": "kůň.pdf"})),
        ("", ("", {})),
        (";", ("", {})),
    ],
)
def test_parameters_are_read(value: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parameters(value) == expected


def test_after_100_parameters_the_rest_is_a_defect() -> None:
    defects = Defects()
    raw = ("x/y" + "".join(f"; p{n}=v" for n in range(150))).encode()
    assert len(read_parameters(raw, defects, where="content-type")[1]) == 100
    assert [d.code for d in defects.listed()] == [DefectCode.PARAMETERS_LIMIT]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Mon, 01 Jan 2024 10:00:00 +0100", datetime(2024, 1, 1, 9, tzinfo=UTC)),
        ("1 Jan 2024 10:00 GMT", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("Mon, 1 Jan 24 10:00:00 EST", datetime(2024, 1, 1, 15, tzinfo=UTC)),
        ("Thu, 13 Feb 97 23:32:54 -0330", datetime(1997, 2, 14, 3, 2, 54, tzinfo=UTC)),
        ("Mon, 1 Jan 2024 10:00:00 +0100 (CET)", datetime(2024, 1, 1, 9, tzinfo=UTC)),
        ("Mon,  1 Jan 2024\r\n 10:00:00 -0000", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("Mon, 1 January 2024 10:00:00", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("Po, 1 Jan 2024 10:00:00 +0100", datetime(2024, 1, 1, 9, tzinfo=UTC)),
        ("Fri, 30 Jun 2017 23:59:60 +0000", datetime(2017, 6, 30, 23, 59, 59, tzinfo=UTC)),
        ("Mon Jan  1 10:00:00 2024", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("Mon Jan  1 10:00:00 CET 2024", datetime(2024, 1, 1, 9, tzinfo=UTC)),
        ("2024-01-01T10:00:00+01:00", datetime(2024, 1, 1, 9, tzinfo=UTC)),
        ("2024-01-01 10:00:00", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("Mon, 1 Jan 0 10:00:00 +0000", None),
        ("Mon, 1 Jan 99999999999 10:00:00 +0000", None),
        ("Mon, 1 Jan 2024 10:00:00 +9999", None),
        ("Mon, 32 Jan 2024 10:00:00 +0000", None),
        ("Mon, 1 Foo 2024 10:00:00 +0000", None),
        ("Mon, 1 Jan 2024 25:00:00 +0000", None),
        ("Mon, 1 Jan 2150 10:00:00 +0000", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates_are_read(value: str, expected: datetime | None) -> None:
    assert read_date(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"<a@b>", ("<a@b>",)),
        (b" <a@b>\r\n <c@d>", ("<a@b>", "<c@d>")),
        (b"a@b", ("<a@b>",)),
        (b"<1@[", ("<1@[>",)),
        (b"message of Monday <a@b>", ("<a@b>",)),
        (b"<a\x00b@c>", ("<a\ufffdb@c>",)),
        (b"<>", ()),
        (b"", ()),
    ],
)
def test_message_ids_are_read_with_their_brackets(value: bytes, expected: tuple[str, ...]) -> None:
    assert read_message_ids(value, Defects(), where="message-id") == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"QUJD", (b"ABC", True)),
        (b"QUI=\r\n", (b"AB", True)),
        (b"QUI=\r\nQUI=\r\n", (b"ABAB", False)),
        (b"QUI", (b"AB", False)),
        (b"QUJDR", (b"ABC", False)),
        (b"Q", (b"", False)),
        (b"", (b"", True)),
    ],
)
def test_damaged_base64_gives_what_can_be_read(data: bytes, expected: tuple[bytes, bool]) -> None:
    assert decode_base64(data) == expected


@given(st.binary(max_size=300))
def test_no_header_value_is_too_strange(value: bytes) -> None:
    text = value.decode("latin-1")
    read_addresses(text, Defects(), where="to")
    read_parameters(value, Defects(), where="content-type")
    read_message_ids(value, Defects(), where="message-id")
    read_date(text)
    words(text)


_FRAGMENTS = st.sampled_from(
    ['"', "\\", "(", ")", "<", ">", ",", ";", ":", "@", "=?", "?=", "=?utf-8?q?", "=?utf-7?b?2AA?=", "*0*", "=",
     "%", "'", "a", " ", "\r\n ", "é", "\x00", "2024", "+9999", "Jan"]
)  # fmt: skip


@given(st.lists(_FRAGMENTS, max_size=60).map("".join))
def test_no_mixture_of_what_has_a_meaning_is_too_strange(value: str) -> None:
    for each in read_addresses(value, Defects(), where="to"):
        f"{each.name}{each.address}".encode()
    read_parameters(value.encode(), Defects(), where="content-type")
    read_date(value)
    words(value)


@example("\r\n\n", "utf-8", "q")
@given(
    st.text(min_size=1, max_size=40), st.sampled_from(["utf-8", "utf-16", "cp1250"]), st.sampled_from("bq")
)
def test_what_the_standard_library_encodes_is_read_back(text: str, charset: str, encoding: str) -> None:
    data = text.encode(charset, "replace")
    if encoding == "b":
        payload = base64.b64encode(data).decode()
    else:
        # Not as text (`quopri`, `istext=True`): that makes all line ends what the first one is, CR LF or LF.
        octets = binascii.b2a_qp(data, quotetabs=True, istext=False, header=True)
        payload = octets.decode().replace("=\n", "").replace("=\r\n", "").replace("?", "=3F")
    assert words(f"=?{charset}?{encoding}?{payload}?=") == data.decode(charset)
