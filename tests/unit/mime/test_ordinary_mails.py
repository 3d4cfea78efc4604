"""Mails as people and programs write them, and exactly what is read from them."""

from datetime import UTC, datetime

import pytest

from app.mime.model import Address, AttachmentInfo, DefectCode, ParsedMail
from tests.support.sandboxed_reader import extract_attachment, parse_mail

from .mails import PANGRAM, base64_part, mail, multipart, nested, part

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def codes(parsed: ParsedMail) -> list[str]:
    return [defect.code.value for defect in parsed.defects]


def test_every_field_of_a_plain_mail_is_read() -> None:
    parsed = parse_mail(
        mail(
            "Return-Path: <jana@firma.cz>",
            "Message-ID: <2@firma.cz>",
            "In-Reply-To: <1@firma.cz>",
            "References: <0@firma.cz>\r\n <1@firma.cz>",
            "Date: Mon, 01 Jan 2024 10:00:00 +0100",
            "From: =?utf-8?Q?Jana_Nov=C3=A1kov=C3=A1?= <jana@firma.cz>",
            'To: "Info, Firma" <info@firma.cz>, Petr <petr@firma.cz>',
            "Cc: cc@firma.cz",
            "Bcc: bcc@firma.cz",
            "Reply-To: odpovedi@firma.cz",
            "Subject: =?utf-8?B?UMWZw61sacWh?=",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            body="Dobrý den,\r\nposílám objednávku.\r\n",
        )
    )
    assert parsed == ParsedMail(
        message_id_header="<2@firma.cz>",
        in_reply_to="<1@firma.cz>",
        references=("<0@firma.cz>", "<1@firma.cz>"),
        from_=Address("Jana Nováková", "jana@firma.cz"),
        to=(Address("Info, Firma", "info@firma.cz"), Address("Petr", "petr@firma.cz")),
        cc=(Address(None, "cc@firma.cz"),),
        bcc=(Address(None, "bcc@firma.cz"),),
        reply_to=(Address(None, "odpovedi@firma.cz"),),
        subject="Příliš",
        snippet="Dobrý den, posílám objednávku.",
        date_header=datetime(2024, 1, 1, 9, tzinfo=UTC),
        text="Dobrý den,\nposílám objednávku.\n",
    )


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-2", "windows-1250", "utf-16", "cp852", "utf-7"])
@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_czech_text_is_read_in_every_charset_and_encoding(charset: str, encoding: str) -> None:
    import base64
    import quopri

    content = PANGRAM.encode(charset)
    body = {
        "8bit": content,
        "quoted-printable": quopri.encodestring(content),
        "base64": base64.encodebytes(content),
    }[encoding]
    head = f"Content-Type: text/plain; charset={charset}", f"Content-Transfer-Encoding: {encoding}"
    parsed = parse_mail(mail(*head, body=body))
    assert parsed.text is not None
    assert parsed.text.rstrip("\n") == PANGRAM
    assert parsed.defects == ()


def test_a_subject_in_raw_8_bit_is_read_by_the_charset_of_the_mail() -> None:
    raw = mail("Subject: SUBJ", "Content-Type: text/plain; charset=windows-1250", body="x")
    parsed = parse_mail(raw.replace(b"SUBJ", "Šťastný kůň".encode("cp1250")))
    assert parsed.subject == "Šťastný kůň"


def test_raw_utf8_headers_are_read() -> None:
    parsed = parse_mail(mail("Subject: Kůň", "From: Žák <zak@firma.cz>"))
    assert (parsed.subject, parsed.from_) == ("Kůň", Address("Žák", "zak@firma.cz"))
    assert parsed.defects == ()


def test_an_empty_subject_is_an_empty_text_and_none_is_none() -> None:
    assert parse_mail(mail("Subject:")).subject == ""
    assert parse_mail(b"From: a@b.cz\r\n\r\nx").subject is None


def test_of_alternatives_text_and_html_are_both_given() -> None:
    parsed = parse_mail(
        multipart(
            "alternative",
            part("Content-Type: text/plain; charset=utf-8", body="Ahoj kůň\r\n"),
            part("Content-Type: text/html; charset=utf-8", body="<p>Ahoj <b>kůň</b></p>"),
        )
    )
    assert (parsed.text, parsed.html) == ("Ahoj kůň\n", "<p>Ahoj <b>kůň</b></p>")
    assert (parsed.attachments, parsed.has_attachments, parsed.defects) == ((), False, ())


def test_html_alone_is_also_rendered_as_text() -> None:
    parsed = parse_mail(
        mail(
            "Content-Type: text/html; charset=utf-8",
            body="<html><head><title>T</title><style>p{color:red}</style></head><body><h1>Faktura</h1>"
            "<p>Dobr&yacute; den,</p><table><tr><td>Cena</td><td>100&nbsp;Kč</td></tr></table>"
            "<ul><li>jedna<li>dvě</ul></body></html>",
        )
    )
    assert parsed.text is not None
    assert [line.split() for line in parsed.text.split("\n") if line] == [
        ["Faktura"], ["Dobrý", "den,"], ["Cena", "100", "Kč"], ["*", "jedna"], ["*", "dvě"],
    ]  # fmt: skip
    assert parsed.snippet == "Faktura Dobrý den, Cena 100 Kč * jedna * dvě"
    assert parsed.html is not None
    assert "<style" not in parsed.html
    assert "<title" not in parsed.html


def test_the_charset_in_the_html_counts_where_the_header_names_none() -> None:
    html = f'<meta http-equiv="Content-Type" content="text/html; charset=windows-1250"><p>{PANGRAM}</p>'
    assert parse_mail(mail("Content-Type: text/html", body=html, charset="cp1250")).text == PANGRAM


def test_an_image_in_related_html_is_inline_and_keeps_its_cid() -> None:
    raw = multipart(
        "mixed",
        nested(
            "related",
            nested(
                "alternative",
                part("Content-Type: text/plain", body="logo"),
                part(
                    "Content-Type: text/html",
                    body='<img src="cid:logo@x" alt="Logo"><img src="http://e/t.gif">',
                ),
                boundary="alt",
            ),
            base64_part("image/png; name=logo.png", PNG, "Content-ID: <logo@x>"),
            boundary="rel",
        ),
        base64_part(
            "application/pdf", b"%PDF-1.4", 'Content-Disposition: attachment; filename="Faktura č. 1.pdf"'
        ),
    )
    parsed = parse_mail(raw)
    assert parsed.html == '<img src="cid:logo@x" alt="Logo"><img>'
    logo, invoice = (each.part for each in parsed.attachments)
    assert logo != invoice
    assert parsed.attachments == (
        AttachmentInfo(1, "logo.png", "image/png", len(PNG), "logo@x", True, logo),
        AttachmentInfo(2, "Faktura č. 1.pdf", "application/pdf", 8, None, False, invoice),
    )
    assert parsed.has_attachments
    assert parsed.defects == ()
    for info, content in zip(parsed.attachments, (PNG, b"%PDF-1.4"), strict=True):
        found = extract_attachment(raw, info.n)
        assert found is not None
        assert (found.info, found.content) == (info, content)
    assert extract_attachment(raw, 0) is None
    assert extract_attachment(raw, 3) is None


def test_a_mail_with_inline_images_only_has_no_attachments() -> None:
    parsed = parse_mail(
        multipart(
            "related",
            part("Content-Type: text/html", body="<img src=cid:A%40x>"),
            base64_part(
                "image/png", PNG, "Content-ID: <a@x>", "Content-Disposition: attachment; filename=a.png"
            ),
        )
    )
    assert [each.inline for each in parsed.attachments] == [True]
    assert not parsed.has_attachments


@pytest.mark.parametrize(
    "disposition",
    [
        "attachment; filename*=utf-8''P%C5%99%C3%ADloha%20%C4%8D.%201.pdf",
        "attachment; filename*=iso-8859-2''P%F8%EDloha%20%E8.%201.pdf",
        "attachment;\r\n filename*0*=utf-8''P%C5%99%C3%AD;\r\n filename*1*=loha%20;\r\n filename*2*=%C4%8D.%201.pdf",
        'attachment; filename="=?utf-8?Q?P=C5=99=C3=ADloha_=C4=8D=2E_1=2Epdf?="',
        'attachment; filename="=?iso-8859-2?B?UPjtbG9oYSDoLiAxLnBkZg==?="',
        'attachment; filename="Příloha č. 1.pdf"',
    ],
)
def test_czech_file_names_are_read_in_every_form(disposition: str) -> None:
    parsed = parse_mail(
        multipart(
            "mixed",
            part(body="x"),
            base64_part("application/pdf", b"x", f"Content-Disposition: {disposition}"),
        )
    )
    assert [each.name for each in parsed.attachments] == ["Příloha č. 1.pdf"]
    assert parsed.defects == ()


def test_a_forwarded_mail_is_an_attachment_and_not_the_text() -> None:
    inner = mail("Subject: inner", "Content-Type: text/html", body="<p>inner")
    raw = multipart("mixed", part(body="see below"), part("Content-Type: message/rfc822", body=inner))
    parsed = parse_mail(raw)
    assert (parsed.text, parsed.html, parsed.subject) == ("see below", None, "Test")
    assert [(each.name, each.content_type) for each in parsed.attachments] == [
        ("inner.eml", "message/rfc822")
    ]
    found = extract_attachment(raw, 1)
    assert found is not None
    assert found.content == inner


def test_a_forwarded_multipart_keeps_its_own_parts() -> None:
    inner = multipart("mixed", part(body="inner"), base64_part("image/png", PNG), boundary="inner")
    parsed = parse_mail(
        multipart("mixed", part(body="outer"), part("Content-Type: message/rfc822", body=inner))
    )
    assert (parsed.text, len(parsed.attachments)) == ("outer", 1)


def test_a_signed_mail_shows_its_text_and_attaches_the_signature() -> None:
    parsed = parse_mail(
        multipart(
            "signed",
            part("Content-Type: text/plain", body="podepsáno"),
            base64_part("application/pkcs7-signature; name=smime.p7s", b"\x30\x80"),
        )
    )
    assert parsed.text == "podepsáno"
    assert [(each.name, each.size_octets) for each in parsed.attachments] == [("smime.p7s", 2)]


def test_an_opaque_smime_mail_is_an_attachment_without_text() -> None:
    raw = mail("Content-Type: application/pkcs7-mime", "Content-Transfer-Encoding: base64", body="MIA=")
    parsed = parse_mail(raw)
    assert (parsed.text, parsed.snippet, [each.name for each in parsed.attachments]) == (
        None,
        "",
        ["attachment-1.p7m"],
    )


def test_an_invitation_is_an_attachment_beside_its_text() -> None:
    parsed = parse_mail(
        multipart(
            "alternative",
            part("Content-Type: text/plain", body="Schůzka"),
            part("Content-Type: text/html; charset=utf-8", body="<p>Schůzka"),
            part("Content-Type: text/calendar; method=REQUEST", body="BEGIN:VCALENDAR"),
        )
    )
    assert parsed.text == "Schůzka"
    assert [(each.name, each.inline) for each in parsed.attachments] == [("attachment-1.ics", False)]
    assert parsed.has_attachments


def test_winmail_dat_stays_an_attachment() -> None:
    parsed = parse_mail(
        multipart("mixed", part(body="x"), base64_part("application/ms-tnef; name=winmail.dat", b"\x78\x9f"))
    )
    assert [each.name for each in parsed.attachments] == ["winmail.dat"]


def test_a_delivery_report_is_an_automatic_mail() -> None:
    raw = multipart(
        "report; report-type=delivery-status",
        part(body="Nedoručeno"),
        part("Content-Type: message/delivery-status", body="Reporting-MTA: dns; mx\r\n\r\nStatus: 5.1.1\r\n"),
        part("Content-Type: text/rfc822-headers", body="Subject: x\r\n"),
        headers=["Return-Path: <>"],
    )
    parsed = parse_mail(raw)
    assert parsed.text == "Nedoručeno"
    assert parsed.is_auto_reply
    assert [each.content_type for each in parsed.attachments] == [
        "message/delivery-status",
        "text/rfc822-headers",
    ]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Auto-Submitted: auto-replied", True),
        ("Auto-Submitted: auto-generated; type=x", True),
        ("Auto-Submitted: no", False),
        ("Auto-Submitted: NO; comment", False),
        ("X-Auto-Response-Suppress: All", False),
        ("X-Auto-Response-Suppress: DR, OOF, AutoReply", False),
        ("X-Auto-Response-Suppress: DR", False),
        ("Precedence: auto_reply", True),
        ("Precedence: bulk", False),
        ("X-Autoreply: yes", True),
        ("Return-Path: <>", True),
        ("Return-Path: <a@b.cz>", False),
        ("X-Nothing: x", False),
    ],
)
def test_automatic_mail_is_known_by_its_header(header: str, expected: bool) -> None:
    assert parse_mail(mail(header)).is_auto_reply is expected


def test_several_texts_in_one_mail_are_joined_in_order() -> None:
    parsed = parse_mail(
        multipart(
            "mixed",
            part("Content-Type: text/plain", body="first"),
            base64_part("image/png; name=a.png", PNG, "Content-Disposition: inline"),
            part("Content-Type: text/html", body="<p>second"),
            part("Content-Type: text/plain", body="-- \r\nlist footer <x>"),
        )
    )
    assert parsed.text == "first\nsecond\n-- \nlist footer <x>"
    assert parsed.html is not None
    assert parsed.html.index("first") < parsed.html.index("<p>second") < parsed.html.index("footer &lt;x&gt;")
    assert parsed.has_attachments


def test_text_with_a_file_name_is_an_attachment() -> None:
    raw = multipart(
        "mixed",
        part("Content-Type: text/plain", body="see log"),
        part("Content-Type: text/plain; name=log.txt", body="line\r\n"),
        part("Content-Type: text/html", "Content-Disposition: attachment", body="<p>x"),
    )
    parsed = parse_mail(raw)
    assert (parsed.text, parsed.html) == ("see log", None)
    assert [(each.name, each.content_type) for each in parsed.attachments] == [
        ("log.txt", "text/plain"),
        ("attachment-2.html", "text/html"),
    ]


def test_flowed_text_is_joined() -> None:
    head = "Content-Type: text/plain; charset=utf-8; format=flowed"
    body = "One \r\nline.\r\n  stuffed\r\n> quoted \r\n> text\r\n-- \r\nJana\r\n"
    assert parse_mail(mail(head, body=body)).text == "One line.\n stuffed\n> quoted text\n-- \nJana\n"
    assert parse_mail(mail(head + "; delsp=yes", body="Pří \r\nliš\r\n")).text == "Příliš\n"


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r"])
def test_every_kind_of_line_end_is_read(line_end: bytes) -> None:
    raw = multipart("mixed", part(body="text"), base64_part("application/pdf; name=a.pdf", b"pdf" * 100))
    parsed = parse_mail(raw.replace(b"\r\n", line_end))
    assert (parsed.text, [each.size_octets for each in parsed.attachments]) == ("text", [300])
    assert codes(parsed) == (["bare_cr"] if line_end == b"\r" else [])


def test_nested_multiparts_may_share_the_beginning_of_a_boundary() -> None:
    inner = nested("alternative", part(body="text"), boundary="b-inner")
    parsed = parse_mail(multipart("mixed", inner, base64_part("image/png", PNG), boundary="b"))
    assert (parsed.text, len(parsed.attachments)) == ("text", 1)


def test_an_inner_multipart_that_is_not_closed_ends_with_the_outer() -> None:
    inner = part("Content-Type: multipart/alternative; boundary=in", body="--in\r\n\r\ntext")
    parsed = parse_mail(multipart("mixed", inner, base64_part("image/png", PNG)))
    assert (parsed.text, [each.size_octets for each in parsed.attachments]) == ("text", [len(PNG)])


def test_a_multipart_cut_off_in_its_attachment_keeps_what_came() -> None:
    raw = multipart("mixed", part(body="text"), base64_part("image/png", PNG))
    parsed = parse_mail(raw[:-60])
    assert parsed.text == "text"
    assert 0 < parsed.attachments[0].size_octets < len(PNG)
    assert DefectCode.UNCLOSED_MULTIPART in codes(parsed)


def test_a_multipart_without_boundary_or_parts_is_read_as_text() -> None:
    for head in ("Content-Type: multipart/mixed", "Content-Type: multipart/mixed; boundary=nowhere"):
        parsed = parse_mail(mail(head, body="Dobrý den"))
        assert (parsed.text, parsed.attachments) == ("Dobrý den", ())
        assert DefectCode.MISSING_BOUNDARY in codes(parsed)


def test_a_mail_without_header_is_all_text() -> None:
    parsed = parse_mail("Dobrý den\r\nJana\r\n".encode())
    assert (parsed.text, parsed.subject, parsed.from_) == ("Dobrý den\nJana\n", None, None)
    assert codes(parsed) == ["no_headers"]


def test_a_mail_without_body_has_an_empty_text() -> None:
    parsed = parse_mail(b"From: a@b.cz\r\nSubject: only\r\n")
    assert (parsed.subject, parsed.text) == ("only", "")


def test_the_line_of_an_mbox_is_skipped() -> None:
    assert parse_mail(b"From jana Mon Jan 1 2024\r\n" + mail()).subject == "Test"


def test_garbage_between_headers_does_not_hide_the_rest() -> None:
    parsed = parse_mail(b"From: a@b.cz\r\nthis is no header\r\nSubject: x\r\n\r\nbody")
    assert (parsed.subject, parsed.text) == ("x", "body")


def test_a_nul_in_subject_and_text_becomes_the_replacement_character() -> None:
    parsed = parse_mail(mail("Subject: a\x00b", body="c\x00d"))
    assert (parsed.subject, parsed.text) == ("a\ufffdb", "c\ufffdd")
    assert codes(parsed) == ["control_characters"]


def test_the_json_keeps_everything() -> None:
    parsed = parse_mail(
        multipart(
            "mixed",
            part(body="x"),
            base64_part("image/png", PNG),
            headers=["Date: 1 Jan 2024 10:00 GMT", "Cc: ;"],
        )
    )
    assert ParsedMail.from_json(parsed.to_json()) == parsed
