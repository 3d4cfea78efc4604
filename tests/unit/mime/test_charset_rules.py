"""What is read beyond the letter of a charset: wider forms that mailers send under its name, and damaged text.

Read by the real parser process. The octets are written out: Python's own encoders do not have most of them.
"""

import base64
from collections.abc import Iterator

import pytest

from app.adapters.parser import ParserProcess
from app.mime.model import ParsedMail

from .mails import PANGRAM, base64_part, mail


@pytest.fixture(scope="module")
def process() -> Iterator[ParserProcess]:
    with ParserProcess() as started:
        yield started


def read(process: ParserProcess, octets: bytes, label: str) -> tuple[str | None, list[str]]:
    """The text of a mail whose body is these octets, and its defects."""
    stated = f"; charset={label}" if label else ""
    return _told(process.parse(base64_part(f"text/plain{stated}", octets, "From: a@firma.cz")))


def _told(parsed: ParsedMail) -> tuple[str | None, list[str]]:
    return parsed.text, [defect.code.value for defect in parsed.defects]


# What Windows has in JIS X 0208 and the standard has not: NEC's row 13, and IBM's characters in rows 89 to 92.
@pytest.mark.parametrize(
    ("label", "octets", "text"),
    [
        ("iso-2022-jp", b"\x1b$B-!-\"-j-5\x1b(B", "①②㈱Ⅰ"),
        ("iso-2022-jp", b"\x1b$B|b66$5$s\x1b(B", "髙橋さん"),
        ("iso-2022-jp", b"\x1b$Byu\x1b(B-san", "﨑-san"),
        ("iso-2022-jp", b"\x1b$@F|K\\\x1b(J -!", "日本 -!"),
        ("iso-2022-jp", b"\x1b(I1236\x1b(B", "ｱｲｳｶ"),
        ("iso-2022-jp", b"abc \xb1\xb2 \x1b$B-!\x1b(B", "abc ｱｲ ①"),
        ("cp50220", b"\x1b$B-!\x1b(B", "①"),
        ("iso-2022-jp-ms", b"\x1b$B|b\x1b(B", "髙"),
        ("euc-jp", b"\xad\xa1\xad\xa2\xad\xea\xad\xb5", "①②㈱Ⅰ"),
        ("euc-jp", b"\xfc\xe2\xb6\xb6\xa4\xb5\xa4\xf3", "髙橋さん"),
        ("cp51932", b"\xf9\xf5\xad\xa1", "﨑①"),
        ("eucJP-ms", b"\xad\xa1\x8e\xb1\x8f\xb0\xa1", "①ｱ丂"),
        ("x-euc-jp", b"\xc6\xfc\xcb\xdc", "日本"),
        ("shift_jis", b"\x87\x40\x87\x8a\xee\xe0\xfb\xfc\xb1", "①㈱髙髙ｱ"),
    ],
)  # fmt: skip
def test_windows_own_characters_are_read_under_the_names_of_japanese_charsets(
    process: ParserProcess, label: str, octets: bytes, text: str
) -> None:
    assert read(process, octets, label) == (text, [])


@pytest.mark.parametrize(
    ("label", "octets", "text"),
    [
        ("big5", b"\xa7A\xa6n \x9d\xf6\x9d\xcf", "你好 喺嘢"),
        ("gb2312", b"\x80 100 \xc4\xe3", "€ 100 你"),
        ("gbk", b"\x810\x977\x80", "ſ€"),
        ("euc-kr", b"\x8cc\xb9\xe6\xb0\xa2\xc7\xcf", "똠방각하"),
        ("ks_c_5601-1987", b"\xc6\xe9\xbd\xc3\xc4\xdd\xb6\xf3 \xbc\x84", "펩시콜라 펲"),
        ("tis-620", b"\xe4\xb7\xc2 \x85", "ไทย …"),
        ("iso-8859-1", b"\x93a\x94 \x80", "“a” €"),
        ("iso-8859-9", b"\x93\xfd\x94", "“ı”"),
        ("iso-8859-2", b"\x8aimek", "Šimek"),
        ("iso-8859-2", b"\xa9imek", "Šimek"),
    ],
)
def test_the_wider_charset_is_read_under_the_narrower_name(
    process: ParserProcess, label: str, octets: bytes, text: str
) -> None:
    assert read(process, octets, label) == (text, [])


@pytest.mark.parametrize(
    ("label", "octets", "text"),
    [
        ("iso-2022-jp", "Příliš žluťoučký kůň, 日本".encode(), "Příliš žluťoučký kůň, 日本"),
        ("iso-2022-jp", b"\x93\xfa\x96{", "日本"),
        ("utf-7", PANGRAM.encode(), PANGRAM),
        ("utf-16", b"only ASCII, whatever is said", "only ASCII, whatever is said"),
    ],
)
def test_octets_that_cannot_be_in_the_named_charset_are_read_by_the_one_they_fit(
    process: ParserProcess, label: str, octets: bytes, text: str
) -> None:
    found, defects = read(process, octets, label)
    assert (found, set(defects) <= {"bad_encoding"}) == (text, True)


@pytest.mark.parametrize(
    ("label", "octets"),
    [
        ("utf-16", "kůň 日本".encode("utf-16")),
        ("utf-16", "Dobrý den".encode("utf-16-le")),
        ("utf-16", "Dobrý den".encode("utf-16-be")),
        ("utf-16be", b"\xff\xfe" + "Dobrý den".encode("utf-16-le")),
        ("utf-32", "Dobrý den".encode("utf-32-be")),
    ],
)
def test_the_order_of_octets_is_the_marks_or_the_zeros(
    process: ParserProcess, label: str, octets: bytes
) -> None:
    text, defects = read(process, octets, label)
    assert (text in ("kůň 日本", "Dobrý den"), defects) == (True, [])


@pytest.mark.parametrize("label", ["utf-8", "", "us-ascii", "unknown-8bit"])
@pytest.mark.parametrize("bad", [b"\xff", b"\xa0", b"\xc5", b"\xe2\x82", b"\x96"])
def test_bad_octets_cost_a_utf8_body_nothing_but_themselves(
    process: ParserProcess, label: str, bad: bytes
) -> None:
    octets = f"{PANGRAM}\r\nCena je 100".encode() + bad + " Kč — děkuji\r\n".encode()
    text, defects = read(process, octets, label)
    assert (text, defects) == (f"{PANGRAM}\nCena je 100\ufffd Kč — děkuji\n", ["bad_encoding"])


def test_bad_octets_cost_a_utf8_header_nothing_but_themselves(process: ParserProcess) -> None:
    raw = mail(
        "Subject: Nabídka č. 5 \udcff pro Žofii",
        "From: Jiří Dvořák\udcff <jiri@firma.cz>",
        "Content-Type: text/plain; charset=utf-8",
        body="text",
    )
    parsed = process.parse(raw)
    assert parsed.subject == "Nabídka č. 5 \ufffd pro Žofii"
    assert parsed.from_ is not None
    assert (parsed.from_.name, parsed.from_.address) == ("Jiří Dvořák\ufffd", "jiri@firma.cz")
    assert "bad_encoding" in [defect.code for defect in parsed.defects]


def test_utf8_that_was_cut_within_a_letter_is_utf8(process: ParserProcess) -> None:
    assert read(process, "Dobrý den, ž".encode()[:-1], "") == ("Dobrý den, \ufffd", ["bad_encoding"])


@pytest.mark.parametrize("text", ["Dvě“ – ‘české’ štěstí", "MŮŽE BÝT", "Größe: 5 €"])
def test_what_is_not_utf8_is_not_taken_for_damaged_utf8(process: ParserProcess, text: str) -> None:
    octets = text.encode("cp1250")
    found, _ = read(process, octets, "")
    assert found == octets.decode("cp1252", "replace")
    assert read(process, octets, "windows-1250") == (text, [])


@pytest.mark.parametrize(
    ("label", "octets", "text"),
    [
        ("iso-2022-jp", b"\x1b$BF|.!K\\\x1b(B ok", "日\ufffd本 ok"),
        ("euc-jp", b"\xc6\xfc\xff\xcb\xdc ok", "日\ufffd本 ok"),
        ("big5", b"\xa7A\xff\xa6n ok", "你\ufffd好 ok"),
        ("gb2312", b"\xc4\xe3\xff\xba\xc3 ok", "你\ufffd好 ok"),
        ("euc-kr", b"\xc7\xd1\xff\xb1\xb9 ok", "한\ufffd국 ok"),
    ],
)
def test_bad_octets_among_pairs_cost_nothing_but_themselves(
    process: ParserProcess, label: str, octets: bytes, text: str
) -> None:
    assert read(process, octets, label) == (text, ["bad_encoding"])


@pytest.mark.parametrize("octet", [0xA0, 0xFD, 0xFE, 0xFF])
@pytest.mark.parametrize("label", ["shift_jis", "windows-31j", "cp932", "x-sjis"])
def test_an_octet_that_means_nothing_in_japanese_is_no_private_character(
    process: ParserProcess, octet: int, label: str
) -> None:
    octets = b"\x93\xfa" + bytes([octet]) + b"\x96\x7b"
    assert read(process, octets, label) == ("日\ufffd本", ["bad_encoding"])
    assert read(process, b"\x93\xfa\xf0\x40", label) == ("日\ue000", []), "a character of the user's own"


def test_an_octet_that_means_nothing_in_japanese_is_none_in_a_subject(process: ParserProcess) -> None:
    word = base64.b64encode(b"\x93\xfa\xfd").decode()
    parsed = process.parse(mail(f"Subject: =?shift_jis?B?{word}?="))
    assert (parsed.subject, [each.code for each in parsed.defects]) == ("日\ufffd", ["bad_encoding"])
