"""Content-Transfer-Encoding undone: what was pasted behind it, what was said wrongly, what was damaged."""

import base64
import binascii

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.mime import parse
from app.mime.model import DefectCode, Defects, ParsedMail
from app.mime.transfer import decode_transfer, decoded_size
from app.mime.uuencode import decode_uuencoded, find_uuencoded_files
from tests.support.sandboxed_reader import extract_attachment, parse_mail

from .mails import assert_linear, mail, multipart, part

CZECH = "Dobrý den, prosím o radu s nastavením.\n"
FOOTER = """_______________________________________________
Podpora mailing list
Podpora@lists.example
https://lists.example/mailman/listinfo/podpora
"""


def lines(content: bytes, width: int = 76) -> str:
    encoded = base64.b64encode(content).decode()
    return "\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))


def codes(parsed: ParsedMail) -> list[str]:
    return [defect.code.value for defect in parsed.defects]


def uuencoded(content: bytes, name: str = "data.bin") -> str:
    pieces = [content[at : at + 45] for at in range(0, len(content), 45)]
    body = "".join(binascii.b2a_uu(piece, backtick=True).decode() for piece in pieces)
    return f"begin 644 {name}\n{body}`\nend\n"


def read_text(body: str, *, encoding: str = "base64", charset: str = "utf-8") -> ParsedMail:
    head = f"Content-Type: text/plain; charset={charset}", f"Content-Transfer-Encoding: {encoding}"
    return parse_mail(mail(*head, body=body))


def read_file(body: str | bytes, encoding: str) -> bytes:
    headers = "Content-Type: application/pdf; name=a.pdf", f"Content-Transfer-Encoding: {encoding}"
    found = extract_attachment(multipart("mixed", part(body="x"), part(*headers, body=body)), 1)
    assert found is not None
    assert found.info.size_octets == len(found.content)
    return found.content


@pytest.mark.parametrize("size", [*range(1, 8), 100, 5000])
@pytest.mark.parametrize(
    "footer",
    [
        FOOTER,
        "-- \nTento e-mail byl zkontrolovan antivirem.\n",
        "\n-- \nScanned by X. See http://x.example/ for more\n",
        "Podpora\nhttps://lists.example/podpora\n",
        "---\nThis message was scanned\n\nand one more paragraph, with words\n",
    ],
)
def test_text_pasted_behind_base64_is_no_part_of_a_file(size: int, footer: str) -> None:
    content = bytes(range(256)) * 20
    for between in ("\r\n\r\n", "\r\n\r\n\r\n"):
        assert read_file(lines(content[:size]) + between + footer, "base64") == content[:size]


@pytest.mark.parametrize("size", [12, 99, 100, 101, 5001])
@pytest.mark.parametrize(
    "line",
    [
        "From - Fri Mar  7 02:51:22 1997",
        "From jan@firma.cz Fri Mar 07 02:51:22 1997",
        "Return-Path: <jan@firma.cz>",
    ],
)
def test_another_mail_behind_base64_is_no_part_of_a_file(size: int, line: str) -> None:
    content = bytes(range(256)) * 20
    other = f"{line}\r\nSubject: x\r\n\r\n{lines(content)}\r\n"
    assert read_file(f"{lines(content[:size])}\r\n{other}", "base64") == content[:size]
    text = "Ahoj" * 30
    parsed = read_text(f"{lines(text.encode())}\r\n{other}")
    assert parsed.text == f"{text}\n\n{other.rstrip()}".replace("\r\n", "\n")
    assert codes(parsed) == ["bad_transfer_encoding"]


@pytest.mark.parametrize("text", [CZECH, "Ahoj.\n", CZECH * 40, "x\n", "Dva\n\nodstavce.\n"])
@pytest.mark.parametrize("between", ["\r\n\r\n", "\r\n"])
def test_text_pasted_behind_base64_is_shown_behind_the_text(text: str, between: str) -> None:
    parsed = read_text(lines(text.encode()) + between + FOOTER)
    assert parsed.text == text.rstrip("\n") + "\n\n" + FOOTER.rstrip("\n")
    assert codes(parsed) == ["bad_transfer_encoding"]
    other = read_text(lines(text.encode("cp1250")) + between + FOOTER, charset="windows-1250")
    assert other.text == parsed.text


def test_a_pasted_footer_has_a_charset_of_its_own() -> None:
    parsed = read_text(lines(CZECH.encode("utf-16")) + "\r\n\r\n-- \r\nSeznam přátel\r\n", charset="utf-16")
    assert parsed.text == CZECH.rstrip() + "\n\n-- \nSeznam přátel"


def test_words_behind_the_padding_on_its_line_are_no_base64() -> None:
    for text in ("yötä vaan.\n", "Žluťoučký kůň úpěl\n" * 3 + "a\n"):
        body = lines(text.encode())
        assert body.endswith("=")
        parsed = read_text(f"{body} ignored by all\r\n")
        assert (parsed.text, codes(parsed)) == (
            f"{text.rstrip()}\n\n ignored by all",
            ["bad_transfer_encoding"],
        )


@pytest.mark.parametrize(
    "text", ["Cena= 100 korun\n", "faktura= zaplacena\n", "Ahoj\nfaktura= zaplacena vcera\n"]
)
def test_an_equals_sign_after_a_word_is_no_padding(text: str) -> None:
    assert read_text(text).text == text


def test_a_mail_glued_behind_a_file_is_no_part_of_it() -> None:
    content = bytes(range(256)) * 3 + b"x"
    other = f"From - Sun Apr 28 13:05:40 1996\r\nSubject: other\r\n\r\n{lines(bytes(999))}\r\n"
    assert read_file(f"{lines(content)}\r\n{other}", "base64") == content


def test_a_footer_behind_html_is_shown_as_text() -> None:
    body = lines("<p>Dobrý den</p>".encode()) + "\r\n\r\n-- \r\nlist <x@lists.example>\r\n"
    head = "Content-Type: text/html; charset=utf-8", "Content-Transfer-Encoding: base64"
    parsed = parse_mail(mail(*head, body=body))
    assert parsed.html is not None
    assert "list &lt;x@lists.example&gt;" in parsed.html
    assert parsed.text is not None
    assert parsed.text.startswith("Dobrý den")


@pytest.mark.parametrize(
    "text",
    [
        "Dobry den, toto neni base64.\nPosilam jen obycejny text, radek za radkem.\nS pozdravem, Jana\n",
        "Dobrý den\n",
        "Ahoj\n",
        "Dekuji\n",
        "Dobry den Jano abc\n",
        "Mame to\n",
        "> quoted text\nanswer to it\n",
    ],
)
def test_plain_text_that_is_said_to_be_base64_is_shown_as_it_is(text: str) -> None:
    parsed = read_text(text)
    assert (parsed.text, codes(parsed)) == (text, ["bad_transfer_encoding"])


def test_a_file_that_is_said_to_be_base64_and_is_not_is_given_as_it_is() -> None:
    content = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n\x00\xff\n%%EOF"
    assert read_file(content, "base64") == content


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("\r\n", "!\r\n"),
        lambda text: text.replace("\r\n", "\r\n> "),
        lambda text: text.replace("\r\n", "\r\n \t"),
        lambda text: text.replace("\r\n", "\r\n\r\n"),
        lambda text: text[:100] + "\x00" + text[100:],
        lambda text: text[:100] + "*#" + text[100:],
        lambda text: "#" + text,
        lambda text: text.replace("\r\n", ""),
        lambda text: text + "\r\n\r\n",
        lambda text: text.rstrip("="),
    ],
)
def test_noise_in_base64_is_passed_over(damage: object) -> None:
    content = bytes(range(256)) * 3 + b"x"
    assert callable(damage)
    assert read_file(damage(lines(content)), "base64") == content


def test_base64_in_pieces_that_each_end_in_padding_is_read_to_the_end() -> None:
    pieces = [b"a", b"bc", b"def", b"ghij" * 30]
    body = "\r\n".join(lines(piece) for piece in pieces)
    assert read_file(body, "base64") == b"".join(pieces)


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from([60, 64, 72, 76, 1000]))
def test_base64_that_is_well_formed_is_never_taken_for_anything_else(content: bytes, width: int) -> None:
    assert read_file(lines(content, width) + "\r\n", "base64") == content


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_nothing_that_is_said_to_be_base64_raises(body: bytes) -> None:
    parsed = parse_mail(mail("Content-Transfer-Encoding: base64", body=body))
    assert DefectCode.PARSER_ERROR not in codes(parsed)


@pytest.mark.parametrize(
    "body",
    [
        "na =  \r\ndal=C5=A1=C3=ADm",
        "na =\t\r\ndal=C5=A1=C3=ADm",
        "na =\r\ndal=c5=a1=c3=adm",
        "na =  \ndal=C5=A1=C3=ADm=",
        "na=20=\t \t\r\ndal=C5=A1=C3=ADm=  ",
    ],
)
def test_a_soft_line_break_may_have_white_space_behind_it(body: str) -> None:
    for encoding in ("quoted-printable", "Quoted-Printable", "quoted-printable;", "x-quoted-printable"):
        assert read_text(body, encoding=encoding).text == "na dalším"


def test_an_equals_sign_before_a_space_within_a_line_stays() -> None:
    assert read_text("a = b, c =\td =20 = \r\n", encoding="quoted-printable").text == "a = b, c =\td   "


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", "", "7-bit", "8BIT", "none"])
def test_octets_above_127_are_kept_whatever_plain_encoding_is_said(encoding: str) -> None:
    parsed = read_text(CZECH, encoding=encoding)
    assert (parsed.text, parsed.defects) == (CZECH, ())
    assert read_file(bytes(range(256)), encoding) == bytes(range(256))


@pytest.mark.parametrize("encoding", ["x-uuencode", "uuencode", "X-UUE", "x-uu"])
@pytest.mark.parametrize("size", [1, 2, 3, 44, 45, 46, 1000])
def test_a_uuencoded_part_is_decoded(encoding: str, size: int) -> None:
    content = (bytes(range(256)) * 4)[:size]
    encoded = uuencoded(content)
    stripped = "\n".join(line.rstrip(" ") for line in encoded.replace("`", " ").split("\n"))
    for body in (encoded, encoded.replace("`", " "), stripped, encoded.replace("\n", "\r\n"), "\n" + encoded):
        assert read_file(body, encoding) == content


def test_a_uuencoded_part_that_is_cut_off_gives_what_came() -> None:
    content = bytes(range(256)) * 4
    assert content.startswith(read_file(uuencoded(content)[:500], "x-uuencode"))
    assert len(read_file(uuencoded(content)[:500], "x-uuencode")) > 200


def test_what_is_said_to_be_uuencoded_and_is_not_is_given_as_it_is() -> None:
    parsed = read_text("Dobrý den\n", encoding="x-uuencode")
    assert (parsed.text, codes(parsed)) == ("Dobrý den\n", ["bad_transfer_encoding"])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_the_uuencode_reader_never_raises_and_never_makes_more_of_it(data: bytes) -> None:
    for text in (data, b"begin 644 x\n" + data, b"begin 644 x\n" + data + b"\nend\n"):
        content = decode_uuencoded(text)
        assert content is None or len(content) <= len(text)
        for file in find_uuencoded_files(text):
            assert 0 <= file.begin < file.end <= len(text)
            assert len(file.content) < file.end - file.begin


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_every_uuencoded_file_is_found(content: bytes) -> None:
    text = ("Ahoj\n\n" + uuencoded(content, "a b.bin") + "\nKonec\n").encode()
    found = list(find_uuencoded_files(text))
    assert [(file.name, file.content) for file in found] == [(b"a b.bin", content)]


@pytest.mark.parametrize(
    "body", ["begin 644 x\n" * 400_000, "begin 644 x\n" + "M" * 5_000_000, "begin 644 x\n" + "#AAAA\n" * 400_000,
             ("begin 644 x\n" + "#AAAA\n" * 20) * 20_000, "QUJD\n\n" * 800_000 + "-- x\n", "QUJD\r\n" * 800_000 + "a b",
             "= \t" * 1_500_000, "=" + " " * 5_000_000, "> " * 2_500_000]
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-uuencode"])
@pytest.mark.slow
def test_no_body_takes_long_to_decode(body: str, encoding: str) -> None:
    raw = mail(f"Content-Transfer-Encoding: {encoding}", body=body)
    assert_linear(parse.parse_mail, raw)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(min_size=40, max_size=200),
    st.lists(st.sampled_from([b"=", b"\r\n", b" ", b"\t", b"A", b"-", b"\xff", b"= x", b">"]), max_size=4),
    st.one_of(st.integers(0, 400), st.just(1000)),
)
def test_a_size_that_is_told_without_decoding_is_that_of_the_content(
    content: bytes, damage: list[bytes], at: int
) -> None:
    data = base64.encodebytes(content)
    data = data[:at] + b"".join(damage) + data[at:]
    told, defects = decoded_size(data, "base64"), Defects()
    if told is not None:
        decoded = decode_transfer(data, "base64", defects, where="x")
        assert (told, defects.listed(), decoded.pasted) == (len(decoded.content), (), b"")


@pytest.mark.parametrize("size_octets", range(60, 70))
def test_the_size_of_flawless_base64_is_told_without_decoding(size_octets: int) -> None:
    assert decoded_size(base64.encodebytes(bytes(size_octets)), "base64") == size_octets
