"""What is inside of signed S/MIME, winmail.dat and uuencoded text is the mail's, within the limits of the mail."""

import base64
import binascii
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.mime import parse
from app.mime.cms import read_signed_content
from app.mime.model import DefectCode, ParsedMail
from app.mime.rtf import RTF_MAX_OCTETS, decompress_rtf, read_rtf
from app.mime.tnef import SIGNATURE, read_tnef
from tests.support.linear_time import SMALLER
from tests.support.sandboxed_reader import extract_attachment, parse_mail

from .mails import assert_linear, base64_part, mail, multipart, part

SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
ENVELOPED_DATA = bytes.fromhex("06092a864886f70d010703")
DATA = bytes.fromhex("06092a864886f70d010701")
INNER = part("Content-Type: text/plain; charset=utf-8", body="Dobrý den, podepsaná zpráva.\r\n")
PDF = b"%PDF-1.4 " + bytes(range(256))


def codes(parsed: ParsedMail) -> list[str]:
    return [defect.code.value for defect in parsed.defects]


def contents(raw: bytes) -> dict[str, bytes]:
    """The attachments' octets by name, each as the API would give them."""
    found = {}
    for info in parse_mail(raw).attachments:
        taken = extract_attachment(raw, info.n)
        assert taken is not None
        assert taken.info == info
        assert len(taken.content) == info.size_octets
        found[info.name] = taken.content
    return found


# --- CMS ---


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def ber(tag: int, *contents: bytes) -> bytes:
    """Of indefinite length."""
    return bytes([tag, 0x80]) + b"".join(contents) + b"\0\0"


Encoder = Callable[..., bytes]


def cms(octets: bytes, *, wrap: Encoder = der, oid: bytes = SIGNED_DATA) -> bytes:
    algorithms = wrap(0x31, wrap(0x30, bytes.fromhex("0609608648016503040201"), b"\x05\0"))
    certificates, signers = wrap(0xA0, wrap(0x30, b"\x02\x01\x05")), wrap(0x31, wrap(0x30, b"\x02\x01\x01"))
    content = wrap(0x30, DATA, wrap(0xA0, octets)) if octets else wrap(0x30, DATA)
    return wrap(
        0x30, oid, wrap(0xA0, wrap(0x30, b"\x02\x01\x01", algorithms, content, certificates, signers))
    )


def in_pieces(content: bytes, size: int, wrap: Encoder) -> bytes:
    return wrap(0x24, *(der(0x04, content[at : at + size]) for at in range(0, len(content), size)))


def signed_mail(
    data: bytes, *, kind: str = "application/pkcs7-mime; smime-type=signed-data; name=smime.p7m"
) -> bytes:
    head = f"Content-Type: {kind}", "Content-Disposition: attachment; filename=smime.p7m"
    return mail(*head, "Content-Transfer-Encoding: base64", body=base64.encodebytes(data))


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "definite": lambda content: cms(der(0x04, content)),
    "indefinite": lambda content: cms(ber(0x24, der(0x04, content)), wrap=ber),
    "indefinite_in_pieces": lambda content: cms(in_pieces(content, 10, ber), wrap=ber),
    "definite_in_pieces": lambda content: cms(in_pieces(content, 1000, der)),
    "definite_around_indefinite_pieces": lambda content: cms(in_pieces(content, 7, ber)),
    "pieces_of_pieces": lambda content: cms(ber(0x24, in_pieces(content, 8, ber), der(0x24)), wrap=ber),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("content", [b"x", INNER, bytes(range(256)) * 300])
def test_the_content_of_signed_data_is_read_in_every_encoding(encoding: str, content: bytes) -> None:
    signed = read_signed_content(ENCODINGS[encoding](content))
    assert signed is not None
    assert (signed.content, signed.is_whole) == (content, True)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_signed_mail_shows_its_text(encoding: str) -> None:
    parsed = parse_mail(signed_mail(ENCODINGS[encoding](INNER)))
    assert (parsed.text, parsed.subject) == ("Dobrý den, podepsaná zpráva.\n", "Test")
    assert (parsed.attachments, parsed.has_attachments, parsed.defects) == ((), False, ())


@pytest.mark.parametrize(
    "kind",
    ["application/x-pkcs7-mime; name=smime.p7m", "application/pkcs7-mime", "application/octet-stream; name=smime.p7m",
     "application/pkcs7-mime; smime-type=SIGNED-DATA", 'application/octet-stream; name="SMIME.P7M"']
)  # fmt: skip
def test_a_signed_mail_is_recognised_by_its_content(kind: str) -> None:
    data = ENCODINGS["definite"](INNER)
    assert parse_mail(signed_mail(data, kind=kind)).text == "Dobrý den, podepsaná zpráva.\n"
    raw = multipart("mixed", base64_part(kind, data), part("Content-Type: text/plain", body="-- \r\nlist"))
    assert parse_mail(raw).text == "Dobrý den, podepsaná zpráva.\n\n-- \nlist"
    armoured = b"-----BEGIN PKCS7-----\n" + base64.encodebytes(data) + b"-----END PKCS7-----\n"
    assert parse_mail(signed_mail(armoured, kind=kind)).text == "Dobrý den, podepsaná zpráva.\n"


def test_the_attachments_and_images_of_a_signed_mail_are_the_mail_s() -> None:
    inner = multipart(
        "mixed",
        multipart(
            "related",
            part("Content-Type: text/html", body="<p>Den<img src=cid:a@x>"),
            base64_part("image/png; name=a.png", b"png", "Content-ID: <a@x>"),
            boundary="rel",
        ),
        base64_part("application/pdf; name=smlouva.pdf", PDF),
        boundary="in",
    )
    raw = signed_mail(cms(der(0x04, inner)))
    parsed = parse_mail(raw)
    assert (parsed.text, parsed.has_attachments) == ("Den", True)
    assert [(each.name, each.inline) for each in parsed.attachments] == [
        ("a.png", True),
        ("smlouva.pdf", False),
    ]
    assert contents(raw) == {"a.png": b"png", "smlouva.pdf": PDF}
    assert len({each.part for each in parsed.attachments}) == 2


def test_a_mail_signed_twice_is_opened_twice() -> None:
    inner = base64_part("application/pkcs7-mime", cms(der(0x04, INNER)))
    assert parse_mail(signed_mail(cms(der(0x04, inner)))).text == "Dobrý den, podepsaná zpráva.\n"


@pytest.mark.parametrize(
    ("data", "defects"),
    [
        (cms(der(0x04, INNER), oid=ENVELOPED_DATA), []),
        (cms(b""), []),
        (cms(der(0x04, PDF)), []),
        (b"\x30\x80", []),
        (b"no CMS", []),
        (b"", []),
    ],
)
def test_an_encrypted_part_or_one_that_is_no_mail_stays_an_attachment(
    data: bytes, defects: list[str]
) -> None:
    raw = signed_mail(data)
    parsed = parse_mail(raw)
    assert (parsed.text, parsed.has_attachments, codes(parsed)) == (None, True, defects)
    assert contents(raw) == {"smime.p7m": data}


def test_a_signed_mail_that_is_cut_off_shows_what_came_and_stays_an_attachment() -> None:
    data = cms(der(0x04, INNER + b"x" * 1000))[:300]
    parsed = parse_mail(signed_mail(data))
    assert parsed.text is not None
    assert parsed.text.startswith("Dobrý den")
    assert ([each.name for each in parsed.attachments], codes(parsed)) == (
        ["smime.p7m"],
        ["container_unreadable"],
    )


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(ENCODINGS)), st.data())
def test_damaged_signed_data_never_raises_and_never_grows(encoding: str, data: st.DataObject) -> None:
    raw = bytearray(ENCODINGS[encoding](INNER))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    signed = read_signed_content(bytes(raw))
    assert signed is None or len(signed.content) <= len(raw)
    assert DefectCode.PARSER_ERROR not in codes(parse_mail(signed_mail(bytes(raw))))


# --- TNEF ---


def attribute(identifier: int, value: bytes, level: int = 2) -> bytes:
    return struct.pack("<BII", level, identifier, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def padded(value: bytes) -> bytes:
    return value + b"\0" * (-len(value) % 4)


def variable(kind: int, identifier: int, value: bytes) -> bytes:
    return struct.pack("<HHII", kind, identifier, 1, len(value)) + padded(value)


def unicode(identifier: int, value: str) -> bytes:
    return variable(0x1F, identifier, value.encode("utf-16-le") + b"\0\0")


def properties(*each: bytes) -> bytes:
    return struct.pack("<I", len(each)) + b"".join(each)


def attached(title: bytes, content: bytes, *more: bytes) -> bytes:
    found = (
        attribute(0x00069002, bytes(14))
        + attribute(0x00018010, title + b"\0")
        + attribute(0x0006800F, content)
    )
    return found + (attribute(0x00069005, properties(*more)) if more else b"")


def tnef(*attributes: bytes, message_class: bytes = b"IPM.Microsoft Mail.Note") -> bytes:
    head = attribute(0x00089006, b"\0\0\1\0", 1) + attribute(0x00069007, struct.pack("<II", 1250, 0), 1)
    return SIGNATURE + b"\1\0" + head + attribute(0x00078008, message_class + b"\0", 1) + b"".join(attributes)


def message(*each: bytes) -> bytes:
    named = struct.pack("<HH", 0x0003, 0x8001) + bytes(16) + struct.pack("<III", 0, 7, 9)
    text_named = (
        struct.pack("<HH", 0x000B, 0x8002)
        + bytes(16)
        + struct.pack("<II", 1, 6)
        + padded(b"a\0b\0c\0")
        + bytes(4)
    )
    several = struct.pack("<HHI", 0x101E, 0x6001, 2) + (struct.pack("<I", 3) + padded(b"ab\0")) * 2
    return attribute(0x00069003, properties(named, text_named, several, *each), 1)


def winmail(data: bytes, body: bytes | None = None) -> bytes:
    pieces = [] if body is None else [part("Content-Type: text/plain", body=body)]
    return multipart("mixed", *pieces, base64_part("application/ms-tnef; name=winmail.dat", data))


LONG = "Smlouva o dílo č. 12.pdf"
FILES = attached(b"SMLOUV~1.PDF", PDF, unicode(0x3707, LONG)) + attached("žluť.txt".encode("cp1250"), b"text")


def test_the_files_in_a_winmail_dat_are_the_mail_s() -> None:
    raw = winmail(tnef(message(unicode(0x1000, "packed")), FILES), b"outer")
    parsed = parse_mail(raw)
    assert (parsed.text, parsed.has_attachments, parsed.defects) == ("outer", True, ())
    assert [(each.name, each.content_type, each.inline) for each in parsed.attachments] == [
        (LONG, "application/pdf", False),
        ("žluť.txt", "text/plain", False),
    ]
    assert contents(raw) == {LONG: PDF, "žluť.txt": b"text"}


@pytest.mark.parametrize(
    "content_type", ["application/vnd.ms-tnef", "application/octet-stream; name=WINMAIL.DAT"]
)
def test_a_winmail_dat_is_known_by_its_type_or_its_name(content_type: str) -> None:
    raw = multipart("mixed", part(body="x"), base64_part(content_type, tnef(FILES)))
    assert sorted(contents(raw)) == [LONG, "žluť.txt"]
    assert sorted(contents(base64_part(content_type, tnef(FILES)))) == [LONG, "žluť.txt"]


def test_a_winmail_dat_with_nothing_in_it_is_no_attachment() -> None:
    parsed = parse_mail(winmail(tnef(message(unicode(0x1000, "packed"))), b"outer"))
    assert (parsed.text, parsed.attachments, parsed.has_attachments) == ("outer", (), False)


def test_a_meeting_in_a_winmail_dat_stays_an_attachment() -> None:
    data = tnef(message_class=b"IPM.Microsoft Schedule.MtgReq")
    assert contents(winmail(data, b"outer")) == {"winmail.dat": data}


def rtf(source: bytes) -> bytes:
    """RTF as Outlook packs it, all octets as they are."""
    body = b"".join(b"\0" + source[at : at + 8] for at in range(0, len(source), 8))
    return struct.pack("<IIII", len(body) + 12, len(source), 0x75465A4C, 0) + body


RTF = rb"{\rtf1\ansi\ansicpg1250{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset204 X;}}{\*\generator y;}\f0 P\'f8\'edli\'9a\par "
RTF += rb"k\u367?\u328?\tab {\f1 \'e4\'e0} \{x\}}"
HTML_RTF = rb"{\rtf1\ansi\ansicpg1250\fromhtml1 {\*\htmltag64 <p>}\htmlrtf {\b \htmlrtf0 P\'f8\'edli\'9a {\*\htmltag84 &amp;}"
HTML_RTF += rb"\htmlrtf & }\htmlrtf0 {\*\htmltag72 </p>}}"


@pytest.mark.parametrize(
    ("bodies", "text", "html"),
    [
        ([message(unicode(0x1000, "Dobrý den\r\n"))], "Dobrý den\n", None),
        ([message(variable(0x1E, 0x1000, "Dobrý den\0".encode("cp1250")))], "Dobrý den", None),
        ([attribute(0x0002800C, "Dobrý den\0".encode("cp1250"), 1)], "Dobrý den", None),
        ([message(variable(0x102, 0x1013, "<p>Dobrý den</p>".encode()),
                  struct.pack("<HHI", 3, 0x3FDE, 65001))], "Dobrý den", "<p>Dobrý den</p>"),
        ([message(variable(0x102, 0x1013, "<p>Dobrý den</p>".encode("iso8859-2")),
                  struct.pack("<HHI", 3, 0x3FDE, 28592))], "Dobrý den", "<p>Dobrý den</p>"),
        ([message(variable(0x102, 0x1009, rtf(RTF)))], "Příliš\nkůň\tда {x}", None),
        ([message(variable(0x102, 0x1009, rtf(HTML_RTF)))], "Příliš &", "<p>Příliš &amp;</p>"),
        ([], "", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [None, b"", b" \r\n"])
def test_a_mail_without_text_has_that_of_its_winmail_dat(
    bodies: list[bytes], text: str, html: str | None, body: bytes | None
) -> None:
    raw = winmail(tnef(*bodies, FILES), body)
    parsed = parse_mail(raw)
    assert ((parsed.text or "").strip("\n"), parsed.html) == (text.strip("\n"), html)
    assert sorted(contents(raw)) == [LONG, "žluť.txt"]


def test_an_image_that_packed_html_shows_is_inline() -> None:
    image = attached(b"a.png", b"png", unicode(0x3712, "a@x"), unicode(0x370E, "image/png"))
    parsed = parse_mail(winmail(tnef(message(variable(0x102, 0x1013, b"<p><img src='cid:a@x'>")), image)))
    assert [(each.name, each.content_type, each.inline) for each in parsed.attachments] == [
        ("a.png", "image/png", True)
    ]
    assert not parsed.has_attachments


def test_a_mail_attached_in_a_winmail_dat_gives_its_text_and_its_files() -> None:
    interface = bytes.fromhex("0703020000000000c000000000000046")
    inner = interface + tnef(message(unicode(0x1000, "inner text")), attached(b"b.pdf", PDF))
    outer = attribute(0x00069002, bytes(14)) + attribute(
        0x00069005, properties(unicode(0x3001, "Předmět"), variable(0x0D, 0x3701, inner))
    )
    assert contents(winmail(tnef(outer), b"outer")) == {"b.pdf": PDF, "Předmět.txt": b"inner text"}


def test_a_winmail_dat_that_is_cut_off_gives_what_came_and_stays_an_attachment() -> None:
    data = tnef(FILES)
    for cut in (3, 8, 20):
        raw = winmail(data[:-cut], b"outer")
        assert LONG in contents(raw)
        assert contents(raw)["winmail.dat"] == data[:-cut]
        assert codes(parse_mail(raw)) == ["container_unreadable"]


def test_a_part_that_is_no_winmail_dat_stays_an_attachment() -> None:
    raw = winmail(b"no TNEF", b"outer")
    assert (contents(raw), codes(parse_mail(raw))) == ({"winmail.dat": b"no TNEF"}, ["container_unreadable"])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_winmail_dat_never_raises_and_never_grows(data: st.DataObject) -> None:
    raw = bytearray(tnef(message(unicode(0x1000, "x"), variable(0x102, 0x1009, rtf(RTF))), FILES))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(4, len(raw)))
        raw[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    found = read_tnef(bytes(raw))
    assert found is None or sum(len(file.content) for file in found.files) <= len(raw)
    assert DefectCode.PARSER_ERROR not in codes(parse_mail(winmail(bytes(raw))))


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([0x75465A4C, 0x414C454D, 0]), st.integers(0, 2**32 - 1))
def test_no_rtf_raises_or_grows_beyond_its_limit(body: bytes, kind: int, size: int) -> None:
    unpacked = decompress_rtf(struct.pack("<IIII", len(body), size, kind, 0) + body)
    assert len(unpacked) <= min(size, RTF_MAX_OCTETS, 18 * len(body))
    for source in (body, unpacked, rb"{\rtf1\fromhtml1 " + body, rb"{\rtf1 " + body):
        read_rtf(source)


_WORDS = st.sampled_from(
    [rb"{", rb"}", rb"\*", rb"\fonttbl", rb"\f1", rb"\fcharset238", rb"\u-1", rb"\uc0", rb"\uc99", rb"\'e1", rb"\htmltag64 ",
     rb"\htmlrtf ", rb"\htmlrtf0 ", rb"\ansicpg99999 ", rb"\ansicpg1250 ", b"x", b"\n", rb"\{", rb"\par ", rb"\u55357?\u56832?"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(_WORDS, max_size=40))
def test_no_mixture_of_rtf_words_raises(words: list[bytes]) -> None:
    read_rtf(b"{\\rtf1 " + b"".join(words))
    read_rtf(b"{\\rtf1\\fromhtml1 " + b"".join(words))


def test_compressed_rtf_repeats_what_its_dictionary_holds() -> None:
    packed = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a00726370673132354232 0af32068656c090020627705b06c647d0a800fa0"
    )
    assert decompress_rtf(packed) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    repeated = struct.pack("<IIII", 0, 20, 0x75465A4C, 0) + b"\x02A" + bytes([207 >> 4, (207 & 15) << 4 | 15])
    assert decompress_rtf(repeated) == b"A" * 18


# --- uuencode in text ---


def uuencoded(content: bytes, name: str) -> str:
    pieces = (content[at : at + 45] for at in range(0, len(content), 45))
    body = "".join(binascii.b2a_uu(piece, backtick=True).decode() for piece in pieces)
    return f"begin 644 {name}\n{body}`\nend\n"


def encoded(text: str, encoding: str) -> bytes:
    body = text.replace("\n", "\r\n").encode()
    if encoding == "base64":
        body = base64.encodebytes(body)
    elif encoding == "quoted-printable":
        body = binascii.b2a_qp(body)
    return mail(
        "Content-Type: text/plain; charset=utf-8", f"Content-Transfer-Encoding: {encoding}", body=body
    )


@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_a_uuencoded_file_in_plain_text_is_an_attachment(encoding: str) -> None:
    text = f"Dobrý den,\n\n{uuencoded(PDF, 'smlouva č. 1.pdf')}\ndruhá:\n{uuencoded(b'png', 'a.png')}Jana\n"
    raw = encoded(text, encoding)
    parsed = parse_mail(raw)
    assert parsed.text == "Dobrý den,\n\n\ndruhá:\nJana\n"
    assert [(each.name, each.content_type, each.inline) for each in parsed.attachments] == [
        ("smlouva č. 1.pdf", "application/pdf", False),
        ("a.png", "image/png", False),
    ]
    assert contents(raw) == {"smlouva č. 1.pdf": PDF, "a.png": b"png"}


@pytest.mark.parametrize(
    "text",
    [
        "begin 644 kick-off\nDobrý den\nend\n",
        "begin 644 a.txt\n",
        "begin 644 a.txt\n`\nend\n",
        "begin the day\nwith a smile\nend\n",
        uuencoded(PDF, "a.pdf").removesuffix("end\n"),
        uuencoded(PDF, "a.pdf").replace("end\n", "# more\n"),
        "> " + uuencoded(PDF, "a.pdf").replace("\n", "\n> "),
    ],
)
def test_text_that_holds_no_complete_uuencoded_file_stays_as_it_is(text: str) -> None:
    parsed = parse_mail(encoded(text, "8bit"))
    assert (parsed.text, parsed.attachments) == (text, ())


def test_an_attached_text_file_is_not_searched_for_uuencoded_files() -> None:
    body = uuencoded(PDF, "a.pdf").encode()
    for headers in (
        ["Content-Type: text/plain; name=a.uu"],
        ["Content-Disposition: attachment; filename=a.uu"],
    ):
        assert contents(multipart("mixed", part(body="x"), part(*headers, body=body))) == {"a.uu": body}


# --- limits ---


def nested_signed(depth: int) -> bytes:
    inner = INNER
    for _ in range(depth):
        inner = part(
            "Content-Type: application/pkcs7-mime",
            "Content-Transfer-Encoding: binary",
            body=cms(der(0x04, inner)),
        )
    return b"From: a@b.cz\r\nSubject: Test\r\n" + inner


def test_containers_in_containers_are_opened_to_a_depth() -> None:
    assert parse_mail(nested_signed(8)).text == "Dobrý den, podepsaná zpráva.\n"
    parsed = parse_mail(nested_signed(9))
    assert (parsed.text, len(parsed.attachments), codes(parsed)) == (None, 1, ["parts_limit"])


def test_the_parts_of_all_containers_are_counted_together() -> None:
    many = multipart("mixed", *(base64_part("image/png", b"x") for _ in range(600)), boundary="in")
    raw = multipart("mixed", *(base64_part("application/pkcs7-mime", cms(der(0x04, many))) for _ in range(3)))
    parsed = parse_mail(raw)
    assert len(parsed.attachments) < 1010
    assert codes(parsed) == ["parts_limit"]


def many_files(count: int) -> bytes:
    return tnef(*(attached(b"a", b"") for _ in range(count)))


@pytest.mark.parametrize(
    "sized",
    [
        lambda k: signed_mail(b"\x30\x80" * (1_000_000 // k)),
        lambda k: signed_mail(cms(b"\x24\x80" * (1_000_000 // k))),
        lambda k: signed_mail(cms(b"\x24\x80" + b"\x04\x01a" * (1_000_000 // k))),
        lambda k: signed_mail(cms(ber(0x24, b"\x04\0" * (2_000_000 // k)))),
        lambda k: signed_mail(
            b"\x30\x80" + SIGNED_DATA + b"\xa0\x80\x30\x80\x02\x01\x01" + b"\x31\x80" * (1_000_000 // k)
        ),
        lambda k: signed_mail(cms(der(0x04, b"A: b\r\n" * (1_000_000 // k)))),
        lambda k: nested_signed(2000 // k),
        lambda k: winmail(many_files(50_000 // k)),
        lambda k: winmail(
            tnef(
                *(
                    attribute(0x00069003, properties(*[b"\x02\x10\x01\x00" + b"\xff" * 4] * 9), 1)
                    for _ in range(20_000 // k)
                )
            )
        ),
        lambda k: winmail(tnef(*(message(*[unicode(0x1000, "")] * 4000) for _ in range(32 // k)))),
        lambda k: winmail(
            tnef(message(variable(0x102, 0x1009, rtf(rb"{\rtf1 " + rb"{\b" * (300_000 // k)))))
        ),
        lambda k: winmail(
            tnef(message(variable(0x102, 0x1009, rtf(rb"{\rtf1 " + rb"\'e1\f1" * (150_000 // k)))))
        ),
        lambda k: mail(body=uuencoded(b"x", "a") * (30_000 // k)),
        lambda k: mail(body="begin 644 a\n#AAAA\n" * (100_000 // k)),
    ],
)
@pytest.mark.slow
def test_no_container_takes_long(sized: Callable[[int], bytes]) -> None:
    raw = sized(1)
    assert_linear(parse.parse_mail, raw, sized(SMALLER))
    assert DefectCode.PARSER_ERROR not in codes(parse_mail(raw))
