"""What headers say that no standard allows, as users of mail software reported it: each read as its sender meant it."""

from datetime import UTC, datetime

import pytest

from app.mime.minimal import parse_minimal
from app.mime.model import DefectCode, ParsedMail
from app.mime.parse import parse_mail as parse_mail_here
from tests.support.sandboxed_reader import parse_mail

from .mails import assert_linear, multipart, part


def read(*lines: bytes | str, body: bytes = b"x") -> ParsedMail:
    head = b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return parse_mail(head + b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (r'"\" \"" <a@b.cz>', [('" "', "a@b.cz")]),
        ("Novák, Jan <jan@x.cz>", [("Novák, Jan", "jan@x.cz")]),
        (
            "Novák, Jan, Ing. <jan@x.cz>, Petr <p@x.cz>",
            [("Novák, Jan, Ing.", "jan@x.cz"), ("Petr", "p@x.cz")],
        ),
        (
            "Novák, Jan <jan@x.cz>; Malý, Petr <p@x.cz>",
            [("Novák, Jan", "jan@x.cz"), ("Malý, Petr", "p@x.cz")],
        ),
        ('"Novák, Jan", <jan@x.cz>', [("Novák, Jan", "jan@x.cz")]),
        ("jan@x.cz, Malý, Petr <p@x.cz>", [(None, "jan@x.cz"), ("Malý, Petr", "p@x.cz")]),
        ("Nová, Jana; Starý, Petr", [("Nová, Jana", ""), ("Starý, Petr", "")]),
        ("root, jan@x.cz", [(None, "root"), (None, "jan@x.cz")]),
        ("root, jan@x.cz, Petr <p@x.cz>", [(None, "root"), (None, "jan@x.cz"), ("Petr", "p@x.cz")]),
        ('"Blah "One, comma" foo" <a@b.cz>', [("Blah One, comma foo", "a@b.cz")]),
        ('"jan novak"@example.cz', [(None, '"jan novak"@example.cz')]),
        ('"jan.no.vak."@mobil.example', [(None, '"jan.no.vak."@mobil.example')]),
        ('"a@b"@example.cz', [(None, '"a@b"@example.cz')]),
        ('jan."no vak"@example.cz', [(None, 'jan."no vak"@example.cz')]),
        ('Jan <"jan novak"@example.cz>, p@x.cz', [("Jan", '"jan novak"@example.cz'), (None, "p@x.cz")]),
        ('"jan.novak"@example.cz', [(None, "jan.novak@example.cz")]),
        ("=?UTF-8?Q?Ji=C5=99=C3=AD_=3Cjiri=40x.cz=3E?=", [("Jiří", "jiri@x.cz")]),
        ("=?UTF-8?Q?Nov=C3=A1k=2C_Jan_=3Cjan=40x.cz=3E?=", [("Novák, Jan", "jan@x.cz")]),
        ("=?utf-8?Q?Jan?= <=?utf-8?Q?jan=40x.cz?=>", [("Jan", "jan@x.cz")]),
        ("=?utf-8?Q?banka=40x.cz?= <evil@y.cz>", [("banka@x.cz", "evil@y.cz")]),
        ('"Jan Novák <jan@x.cz>"', [("Jan Novák", "jan@x.cz")]),
        ("Jan <jan@x.cz> Petr <p@x.cz>", [("Jan", "jan@x.cz"), ("Petr", "p@x.cz")]),
        ("<jan@x.cz> <p@x.cz>", [(None, "jan@x.cz"), (None, "p@x.cz")]),
        ("Jan <jan@x.cz> <jan@x.cz>", [("Jan", "jan@x.cz")]),
        ("<jan@x.cz, p@x.cz>", [(None, "jan@x.cz"), (None, "p@x.cz")]),
        ("jan@x.cz via Group <g@x.cz>", [("jan@x.cz via Group", "g@x.cz")]),
        ("Jana <mailto:jana@x.cz>", [("Jana", "jana@x.cz")]),
        ("mailto:jana@x.cz", [(None, "jana@x.cz")]),
        ("Jana [mailto:jana@x.cz]", [("Jana", "jana@x.cz")]),
        ("Jana <MAILTO:jana@x.cz?subject=a>", [("Jana", "jana@x.cz")]),
        ("Jana <<jana@x.cz>>", [("Jana", "jana@x.cz")]),
        ("Jana <<jana@x.cz>", [("Jana", "jana@x.cz")]),
        ("Jana <jana@x.cz>>, p@x.cz", [("Jana", "jana@x.cz"), (None, "p@x.cz")]),
        ("=?iso-8859-1?Q?Celentano;_R=EDo?= <r@x.cz>", [("Celentano; Río", "r@x.cz")]),
        ("=?utf-8?Q?Jana?=< jana@x.cz >", [("Jana", "jana@x.cz")]),
        ("jdoe@test   . example, jana @ x.cz", [(None, "jdoe@test.example"), (None, "jana@x.cz")]),
        ("[Jana] <jana@x.cz>", [("[Jana]", "jana@x.cz")]),
        ("=?utf-8?Q?Jana?= <Jana Nova <jana@x.cz>", [("Jana <Jana Nova >", "jana@x.cz")]),
        ("Jana &lt;jana@x.cz&gt;", [("Jana", "jana@x.cz")]),
        ("'jan@x.cz'", [(None, "jan@x.cz")]),
        ("jan@[192.0.2.1]", [(None, "jan@[192.0.2.1]")]),
        ("undisclosed-recipients:;", []),
        ("undisclosed-recipients", []),
        ("<undisclosed-recipients:;>", []),
        ('"Undisclosed recipients:;"', []),
        ("Undisclosed recipients <>", []),
        ("undisclosed-recipients:;@mx.x.cz", []),
        ("unlisted-recipients:; (no To-header on input)", []),
        ("(Recipient list suppressed)", []),
        ("a <undisclosed:;>", []),
        ("<Undisclosed-Recipient:@mailman.x.cz;>", []),
        ("Undisclosed-Recipient:@mailman.x.cz;", []),
        ("A group(of friends): Jan <jan@x.cz>;(the end of the group)", [("Jan", "jan@x.cz")]),
    ],
)
def test_people_are_read_as_the_sender_meant(value: str, expected: list[tuple[str | None, str]]) -> None:
    parsed = read("From: a@b.cz", f"To: {value}")
    assert [(each.name, each.address) for each in parsed.to] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<jan novak@x.cz>", [(None, "jannovak@x.cz")]),
        ("Jan <jan@x y.cz>", [("Jan", "jan@xy.cz")]),
        ("Jan <jan (doma) novak@x.cz>", [("Jan", "jannovak@x.cz")]),
    ],
)
def test_an_address_with_white_space_in_a_word_is_a_defect(
    value: str, expected: list[tuple[str | None, str]]
) -> None:
    parsed = read("From: a@b.cz", f"To: {value}")
    assert [(each.name, each.address) for each in parsed.to] == expected
    assert [(each.code, each.detail) for each in parsed.defects] == [
        (DefectCode.BAD_ADDRESS, "white space in an address in to")
    ]


@pytest.mark.parametrize(
    "value",
    [
        "< jan . novak @ x . cz >",
        '<"jan novak"@x.cz>',
        "<mailto: jan@x.cz>",
        "<jan(doma)@x.cz>",
        "<jan@x.cz p@x.cz>",
    ],
)
def test_white_space_that_an_address_may_have_is_no_defect(value: str) -> None:
    parsed = read("From: a@b.cz", f"To: {value}")
    assert all("@x.cz" in each.address for each in parsed.to)
    assert (len(parsed.to) > 0, parsed.defects) == (True, ())


@pytest.mark.parametrize("torn", ["__", "-- ", "garbage of a filter", "=20"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_is_no_field_does_not_cut_off_the_field_before_it(torn: str, end: str) -> None:
    raw = end.join(
        ["From: a@b.cz", "To : Jana", torn, "  <jana@x.cz>,", torn, "\tpetr@x.cz", "Subject: one", torn, " two", "Date: 1 Jan 2024 10:00 GMT", "", "x"]
    ).encode()  # fmt: skip
    parsed = parse_mail(raw)
    assert [(each.name, each.address) for each in parsed.to] == [("Jana", "jana@x.cz"), (None, "petr@x.cz")]
    assert (parsed.subject, parsed.text) == ("one two", "x")
    assert [each.code for each in parsed.defects] == [DefectCode.BAD_HEADER]


@pytest.mark.slow
def test_lines_that_are_no_fields_cost_linear_time() -> None:
    for torn in (b"\n__", b"\n__\n  x", b"\n" + b"_" * 77, b"\n "):
        assert_linear(parse_mail_here, b"From: a@b.cz\nTo: x" + torn * (1_000_000 // len(torn)))


def test_the_sender_is_the_first_person_with_an_address() -> None:
    sender = read('From: "Jan", jan@x.cz', "To: a@b.cz").from_
    assert sender is not None
    assert sender.address == "jan@x.cz"


def test_200_fields_of_recipients_are_all_shown() -> None:
    parsed = read("From: a@b.cz", *(f"To: u{n}@x.cz" for n in range(200)), *["Cc: c@x.cz"] * 30)
    assert [each.address for each in parsed.to] == [f"u{n}@x.cz" for n in range(200)]
    assert len(parsed.cc) == 30


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12 Mar 24 4:12:06 PM", (16, 12, 6)),
        ("12 Mar 2024 12:30:00 AM +0000", (0, 30, 0)),
        ("12 Mar 2024 12:30:00 p.m. GMT", (12, 30, 0)),
        ("Tue, 12 Mar 2024 16:12:06 AM", None),
        ("Tue, 12 Mar 2024 10:00:00 GMT+1", (9, 0, 0)),
        ("Tue, 12 Mar 2024 10:00:00 GMT+0100", (9, 0, 0)),
        ("Tue, 12 Mar 2024 10:00:00 UTC-01:00", (11, 0, 0)),
        ("Tue Mar 12 2024 10:00:00 GMT+0100 (CET)", (9, 0, 0)),
        ("Tue Mar 12 10:00:00 2024 +0100", (9, 0, 0)),
        ("Tue, 12 Mar 2024 13:30:57 -600", (19, 30, 57)),
        ("Tue, 12 Mar 2024 10:00:00 +530", (4, 30, 0)),
        ("Tue, 12 Mar 2024 10:00:00 +01000", None),
        ("Tue, 12 Mar 2024 10:00:00 W. Europe Standard Time", (9, 0, 0)),
        ("Tue, 12 Mar 2024 10:00:00 Central Europe Standard Time", (9, 0, 0)),
        ("Fri, 12 Jul 2024 10:00:00 W. Europe Standard Time", None),
        ("Tue, 12 Mar 2024 10:00:00 Nowhere Standard Time", None),
        ("Tue, 12 Mar 2024 10:00:00 Europe/Prague", (9, 0, 0)),
        ("Tue, 12 Mar 2024 10:00:00 IST", None),
        ("Tue, 12 Mar 2024 10:00:00 A", None),
        ("Tue, 12 Mar 2024 10:00:00 (CET)", (9, 0, 0)),
        ("út, 12 března 2024 10:00:00 +0100", (9, 0, 0)),
        ("Di, 12 Mär 2024 10:00:00 +0100", (9, 0, 0)),
        ("12. 3. 2024 10:00:00 +0100", (9, 0, 0)),
        ("03/12/2024 10:00:00 +0100", None),
        ("Tue, 12 Mar 2024 09(comment):   55  :  06 -0600", (15, 55, 6)),
        ("2024-03-12", None),
        ("Tue, 12 Mar 2024 10:00:99 +0100", None),
    ],
)
def test_a_date_is_right_or_a_defect(value: str, expected: tuple[int, int, int] | None) -> None:
    parsed = read("From: a@b.cz", f"Date: {value}")
    if expected is None:
        assert parsed.date_header is None
        assert DefectCode.BAD_DATE in [each.code for each in parsed.defects]
    else:
        assert parsed.date_header == datetime(2024, 3, 12, *expected, tzinfo=UTC)


def test_a_date_without_a_zone_is_utc_and_a_defect() -> None:
    parsed = read("From: a@b.cz", "Date: Tue, 12 Mar 2024 10:00:00")
    assert parsed.date_header == datetime(2024, 3, 12, 10, tzinfo=UTC)
    assert [each.code for each in parsed.defects] == [DefectCode.BAD_DATE]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=?utf-8?Q?=3Ca=40x=3E?=", ("<a@x>",)),
        (
            "=?us-ascii?Q?<1@xxxx.d?= =?us-ascii?Q?e>_<2@y.de>?= <3=$=@z.de>",
            ("<1@xxxx.de>", "<2@y.de>", "<3=$=@z.de>"),
        ),
        ("a@x b@x", ("<a@x>", "<b@x>")),
        ("1234567", ("<1234567>",)),
        ('"<a@x>"', ("<a@x>",)),
        ('"a@x"', ("<a@x>",)),
        ("&lt;a@x&gt;", ("<a@x>",)),
        ("<<a@x>>", ("<a@x>",)),
        ("<a@x><b@x>", ("<a@x>", "<b@x>")),
        ("<a@x>,<b@x>", ("<a@x>", "<b@x>")),
        ("<a-long-one\r\n @x>", ("<a-long-one@x>",)),
        ("<1234   @   local(blah)  .machine .example>", ("<1234@local.machine.example>",)),
        ("<a@x> (message of Monday, <jan@x.cz>)", ("<a@x>",)),
        ("Message from Jan <jan@x.cz> of Monday <a@x>", ("<a@x>",)),
        ("Your message of Monday to jan@x.cz", ()),
    ],
)
def test_identifiers_are_separated_from_the_text_around_them(value: str, expected: tuple[str, ...]) -> None:
    assert read("From: a@b.cz", f"References: {value}").references == expected


def test_an_answer_names_the_mail_and_not_its_writer() -> None:
    parsed = read("From: a@b.cz", "To: jan@x.cz", "In-Reply-To: <jan@x.cz> wrote in <87x@y>")
    assert parsed.in_reply_to == "<87x@y>"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("X-Auto-Response-Suppress: All", False),
        ("X-Autoresponse: vacation", True),
        ("X-Mail-Autoreply: autoreply", True),
        ("X-AutoReply-From: a@b.cz", True),
        ("X-Autogenerated: Reply", True),
        ("X-FC-MachineGenerated: true", True),
        ("X-POST-MessageClass: 9; Autoresponder", True),
        ("Delivered-To: Autoresponder", True),
        ("Delivered-To: jan@x.cz", False),
        ("X-Precedence: auto_reply", True),
        ("X-Autoreply: no", False),
        ("Return-Path: <MAILER-DAEMON>", True),
        ("Return-Path: <mailer-daemons@x.cz>", False),
        ("Auto-Submitted: no (a person)", False),
        ("List-Id: <users.x.cz>", False),
        ("Content-Type: multipart/report; boundary=b", True),
    ],
)
def test_fields_that_machines_write_show_an_automatic_mail(line: str, expected: bool) -> None:
    raw = f"From: a@b.cz\r\n{line}\r\n\r\nx".encode()
    assert parse_mail(raw).is_auto_reply is expected
    assert parse_minimal(raw, DefectCode.PARSER_DIED).is_auto_reply is expected


def test_a_mail_of_the_mailer_daemon_is_automatic() -> None:
    assert read("From: Mail Delivery System <MAILER-DAEMON@x.cz>").is_auto_reply
    assert not read("From: Jana <jana@mailer-daemon.cz>").is_auto_reply


def test_clocks_are_changed_by_the_rules_of_the_year() -> None:
    for date, hour in (
        ("10 Jul 1997 10:00:00 EST5EDT", 14),
        ("30 Mar 1997 10:00:00 EST5EDT", 15),
        ("9 Mar 2024 10:00:00 America/New_York", 15),
        ("11 Mar 2024 10:00:00 America/New_York", 14),
        ("30 Mar 2024 10:00:00 Europe/Prague", 9),
        ("31 Mar 2024 10:00:00 Europe/Prague", 8),
    ):
        moment = read("From: a@b.cz", f"Date: {date}").date_header
        assert moment is not None, date
        assert moment.hour == hour, date
    assert read("From: a@b.cz", "Date: 27 Oct 2024 02:30:00 Europe/Prague").date_header is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"=?iso-8859-1?Q?J\xf6rg M\xfcller?=", "Jörg Müller"),
        ("=?iso-8859-1?Q?Jörg?=".encode(), "Jörg"),
        (b"=?windows-1250?Q?\x8eluv_=E1?=", "Žluv á"),
        ("=?utf-8?Q?Příliš_=C5=BE?=".encode(), "Příliš ž"),
        (b"=?utf-8?Q?Jak=3F_Ano?=C5=BE?=", "Jak? Ano?ž"),
        ("Příliš žluť \udce9 kůň".encode("utf-8", "surrogateescape"), "Příliš žluť \ufffd kůň"),
    ],
)
def test_raw_octets_are_the_letters_that_were_meant(value: bytes, expected: str) -> None:
    assert read(b"From: a@b.cz", b"Subject: " + value).subject == expected


def test_a_raw_subject_in_chinese_is_of_the_charset_of_the_text() -> None:
    raw = "Subject: 发信方已撤回邮件\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    raw += "--b\r\nContent-Type: text/plain; charset=gb2312\r\n\r\n你好\r\n--b--\r\n"
    assert parse_mail(raw.encode("gb18030")).subject == "发信方已撤回邮件"


@pytest.mark.parametrize("charset", ["windows-1250", "iso-8859-2"])
def test_raw_octets_are_of_the_charset_of_the_first_text(charset: str) -> None:
    head = ["Subject: Předmět", "Content-Type: multipart/mixed; boundary=b"]
    body = f"--b\r\nContent-Type: text/plain; charset={charset}\r\n\r\nŘ\r\n--b\r\nContent-Disposition: attachment; "
    body += 'filename="příloha.pdf"\r\n\r\nx\r\n--b--\r\n'
    raw = ("\r\n".join(head) + "\r\n\r\n" + body).encode(charset)
    parsed = parse_mail(raw)
    assert parsed.subject == parse_minimal(raw, DefectCode.PARSER_DIED).subject == "Předmět"
    assert [each.name for each in parsed.attachments] == ["příloha.pdf"]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain charset=windows-1250", "text/plain, charset=windows-1250", "text/plain\r\n\tcharset=windows-1250",
     'text/plain charset="windows-1250"; format=flowed', "text/plain; format=flowed charset=windows-1250"],
)  # fmt: skip
def test_a_charset_counts_without_its_semicolon(content_type: str) -> None:
    assert read(f"Content-Type: {content_type}", body="Žluť".encode("cp1250")).text == "Žluť"


@pytest.mark.parametrize(
    "content_type",
    ['multipart/mixed boundary="b"', "multipart/mixed\r\n\tboundary=b", "multipart/mixed, boundary=b",
     "multipart/mixed charset=utf-8 boundary=b"],
)  # fmt: skip
def test_a_boundary_counts_without_its_semicolon(content_type: str) -> None:
    body = b"--b\r\nContent-Type: text/plain\r\n\r\nAhoj\r\n--b--\r\n"
    assert read(f"Content-Type: {content_type}", body=body).text == "Ahoj"


@pytest.mark.parametrize(
    "parameters",
    [
        'filename*0="=?UTF-8?Q?k=C5=AF=C5?="; filename*1=" =?UTF-8?Q?=88.pdf?="',
        'filename*0="=?UTF-8?Q?k=C5=AF"; filename*1="=C5=88.pdf?="',
        'filename*0="utf-8\'\'k%C5%AF"; filename*1="%C5%88.pdf"',
        "filename=\"UTF-8''k%C5%AF%C5%88.pdf\"",
        'filename*="=?UTF-8?B?a8WvxYgucGRm?="',
    ],
)
def test_a_file_name_is_read_in_every_mixture_of_its_forms(parameters: str) -> None:
    raw = multipart("mixed", part(body="x"), part(f"Content-Disposition: attachment; {parameters}", body="y"))
    assert [each.name for each in parse_mail(raw).attachments] == ["kůň.pdf"]


@pytest.mark.parametrize("opening", [b" X-Odd: 1\r\n", b"\xef\xbb\xbf", b"\r\n \r\n", b"\t", b" "])
def test_a_header_that_begins_oddly_is_a_header(opening: bytes) -> None:
    raw = opening + b"From: a@b.cz\r\nSubject: Test\r\n\r\ntext"
    for parsed in (parse_mail(raw), parse_minimal(raw, DefectCode.PARSER_DIED)):
        assert (parsed.subject, parsed.from_ and parsed.from_.address) == ("Test", "a@b.cz")
    assert parse_mail(raw).text == "text"


@pytest.mark.parametrize(
    "value",
    ['"a".' * 16_000, '"a"@' * 16_000, "<a@b> " * 10_000, "mailto: " * 8_000, '"a,"' * 16_000, "a, " * 20_000,
     "<a@" * 20_000, "=?utf-8?q?@" * 6_000, "'<" * 30_000, "<" * 60_000, "a@ " * 20_000,
     "a@b . " * 10_000, "@ " * 30_000, "a@" + ". " * 30_000],
)  # fmt: skip
@pytest.mark.slow
def test_no_list_of_people_takes_long(value: str) -> None:
    assert_linear(lambda each: read(f"To: {each}", f"References: {each}", f"Date: {each}"), value)


def test_an_identifier_is_no_longer_than_a_line_in_octets() -> None:
    long = "😀" * 900 + "@x.cz"
    parsed = read(f"Message-ID: <{long}>", f"References: <{long}>")
    assert parsed.message_id_header == f"<{'😀' * 249}>"
    assert parsed.references == (parsed.message_id_header,)
