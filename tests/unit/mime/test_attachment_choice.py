"""What counts as attached, what as part of the message, and what attachments without a name are called."""

import pytest

from app.mime import parse
from app.mime.model import ParsedMail
from tests.support.sandboxed_reader import extract_attachment, parse_mail

from .mails import assert_linear, base64_part, mail, multipart, nested, part

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(100))


def html(body: str, *headers: str) -> bytes:
    return part("Content-Type: text/html; charset=utf-8", *headers, body=body)


def image(*headers: str) -> bytes:
    return base64_part("image/png; name=foto.png", PNG, *headers)


def inline(parsed: ParsedMail) -> list[bool]:
    return [each.inline for each in parsed.attachments]


@pytest.mark.parametrize(
    ("shown", "header"),
    [
        ('<img src="cid:a@x">', "Content-ID: <a@x>"),
        ("<img src=cid:a@x>", "Content-ID: <a@x>"),
        ("<IMG alt='>' SRC='CID:A%40X'>", "Content-ID: <a@x>"),
        ('<p><img\n width="1"\n src = "cid:a@x"/>', "Content-ID: a@x"),
        ('<img alt="" src="cid: a@x ">', "Content-ID:\r\n <a@x>"),
        ('<img src="cid:a&amp;b">', "Content-ID: <a&b>"),
        ('<img src="image001.png">', "Content-ID: <image001.png>"),
        ('<img src="http://example.cz/logo.png">', "Content-Location: http://example.cz/logo.png"),
        ('<img src="http://example.cz/a%20b.png">', "Content-Location: http://example.cz/a\r\n %20b.png"),
        ('<img src="logo.png">', "Content-Location: logo.png"),
        ("<!-- x --><style>p{}</style><img src=cid:a@x>", "Content-ID: <a@x>"),
        ("<!--><img src=cid:a@x>", "Content-ID: <a@x>"),
        ("<image src=cid:a@x>", "Content-ID: <a@x>"),
    ],
)
def test_an_image_that_the_html_shows_is_inline(shown: str, header: str) -> None:
    parsed = parse_mail(multipart("related", html(shown), image(header)))
    assert (inline(parsed), parsed.has_attachments) == ([True], False)
    attached = image(header, "Content-Disposition: attachment; filename=foto.png")
    assert inline(parse_mail(multipart("mixed", html(shown), attached))) == [True]


@pytest.mark.parametrize(
    "shown",
    [
        "<p>Posílám fotku.<attachment></attachment>",
        "<p>cid:a@x",
        "<!-- <img src=cid:a@x> -->",
        "<!--[if gte mso 9]><v:image src='cid:a@x'/><![endif]-->",
        "<style>p { background: url(cid:a@x) }</style>",
        "<template><img src=cid:a@x></template>",
        "<noscript><img src=cid:a@x></noscript>",
        '<a href="cid:a@x">faktura</a>',
        '<p title="cid:a@x">x',
        "<img src=cid:a@x.cz>",
        "<img src='cid:a@x",
        "<img src=cid:>",
    ],
)
@pytest.mark.parametrize("kind", ["related", "mixed"])
def test_what_the_html_does_not_show_is_an_attachment(shown: str, kind: str) -> None:
    headers = "Content-ID: <a@x>", "Content-Disposition: inline; filename=IMG_0013.png"
    parsed = parse_mail(multipart(kind, html(shown), image(*headers)))
    assert (inline(parsed), parsed.has_attachments) == ([False], True)


def test_an_image_named_by_plain_text_only_is_an_attachment() -> None:
    body = part("Content-Type: text/plain", body="[cid:a@x]")
    assert inline(parse_mail(multipart("related", body, image("Content-ID: <a@x>")))) == [False]


def test_what_withheld_html_refers_to_is_an_attachment() -> None:
    deep = "<div>" * 10_000 + "<img src=cid:a@x>"
    assert inline(parse_mail(multipart("related", html(deep), image("Content-ID: <a@x>")))) == [False]


def test_of_several_images_each_is_judged_for_itself() -> None:
    pieces = [image(f"Content-ID: <{n}@x>", "Content-Disposition: inline") for n in range(4)]
    raw = multipart("related", html("<img src=cid:2@x><img src=cid:0@x>"), *pieces)
    parsed = parse_mail(raw)
    assert (inline(parsed), parsed.has_attachments) == ([True, False, True, False], True)
    for info in parsed.attachments:
        found = extract_attachment(raw, info.n)
        assert found is not None
        assert found.info == info


def test_a_pdf_with_an_id_is_an_attachment_unless_it_is_shown() -> None:
    pdf = base64_part("application/pdf; name=faktura.pdf", b"%PDF", "Content-ID: <5C6E@x>")
    for kind in ("related", "mixed", "alternative"):
        parsed = parse_mail(multipart(kind, html("<p>V příloze faktura."), pdf))
        assert (inline(parsed), parsed.has_attachments) == ([False], True)


@pytest.mark.parametrize(
    ("signature", "headers"),
    [
        ("application/pkcs7-signature", ["name=smime.p7s"]),
        ("application/x-pkcs7-signature", []),
        ("application/pgp-signature", ["name=signature.asc"]),
        ("application/octet-stream", ["name=smime.p7s"]),
    ],
)
def test_a_detached_signature_is_listed_and_no_attachment(signature: str, headers: list[str]) -> None:
    signed = part("Content-Type: text/plain", body="Dobrý den.")
    content_type = "; ".join([signature, *headers])
    vouching = base64_part(content_type, b"0\x82", "Content-Disposition: attachment; filename=smime.p7s")
    parsed = parse_mail(multipart(f"signed; protocol={signature}", signed, vouching))
    assert (parsed.text, inline(parsed), parsed.has_attachments) == ("Dobrý den.", [True], False)


def test_a_signed_mail_with_a_file_has_an_attachment() -> None:
    pdf = base64_part("application/pdf; name=a.pdf", b"%PDF")
    signed = nested("mixed", part(body="text"), pdf, boundary="inner")
    parsed = parse_mail(multipart("signed", signed, base64_part("application/pgp-signature", b"x")))
    assert (inline(parsed), parsed.has_attachments) == ([False, True], True)


def test_a_signature_that_somebody_attached_is_an_attachment() -> None:
    pdf = base64_part("application/pdf; name=smlouva.pdf", b"%PDF")
    vouching = base64_part("application/pkcs7-signature; name=smlouva.pdf.p7s", b"0\x82")
    assert inline(parse_mail(multipart("mixed", part(body="x"), pdf, vouching))) == [False, False]


def test_another_form_of_the_text_is_listed_and_no_attachment() -> None:
    amp = part("Content-Type: text/x-amp-html", body="<html amp4email>")
    parsed = parse_mail(multipart("alternative", part(body="text"), amp, html("<p>text")))
    assert (inline(parsed), parsed.has_attachments) == ([True], False)


def forwarded(*headers: str, inner: bytes | None = None) -> bytes:
    inner = mail("Subject: =?utf-8?Q?Reklamace_=C4=8D=2E_12?=") if inner is None else inner
    return multipart("mixed", part(body="Přeposílám."), part(*headers, body=inner))


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("=?utf-8?Q?Reklamace_=C4=8D=2E_12?=", "Reklamace č. 12.eml"),
        ("=?iso-8859-2?Q?=BEluva?=", "žluva.eml"),
        ("Re: dotaz", "Re_ dotaz.eml"),
        ("Faktura 2024/15", "Faktura 2024_15.eml"),
        ("..\\..\\x", "_.._x.eml"),
        ("Ahoj\r\n svete", "Ahoj svete.eml"),
        ("", "attachment-1.eml"),
        ("...", "attachment-1.eml"),
        ("x" * 300, "x" * 251 + ".eml"),
        ("faktura.pdf", "faktura.pdf.eml"),
    ],
)
def test_an_attached_mail_without_a_name_is_called_after_its_subject(subject: str, name: str) -> None:
    raw = forwarded("Content-Type: message/rfc822", inner=mail(f"Subject: {subject}"))
    assert [each.name for each in parse_mail(raw).attachments] == [name]


def test_an_attached_mail_keeps_the_name_it_was_given() -> None:
    raw = forwarded("Content-Type: message/rfc822", "Content-Disposition: attachment; filename=puvodni.eml")
    assert [each.name for each in parse_mail(raw).attachments] == ["puvodni.eml"]


def test_an_attached_mail_in_base64_or_a_digest_or_a_report_has_its_subject_too() -> None:
    raw = multipart("mixed", part(body="x"), base64_part("message/rfc822", mail("Subject: Zakódovaný")))
    assert [each.name for each in parse_mail(raw).attachments] == ["Zakódovaný.eml"]
    raw = multipart("digest", part(body=mail("Subject: jedna")), part(body=mail("Subject: dva")))
    assert [each.name for each in parse_mail(raw).attachments] == ["jedna.eml", "dva.eml"]
    raw = forwarded("Content-Type: message/global", inner=mail("Subject: Kůň"))
    assert [each.name for each in parse_mail(raw).attachments] == ["Kůň.eml"]


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("text/markdown; charset=utf-8", "attachment-1.md"),
        ("text/x-patch", "attachment-1.patch"),
        ("text/x-python", "attachment-1.py"),
        ("text/x-something-new", "attachment-1.txt"),
        ("text/csv", "attachment-1.csv"),
        ("text/calendar", "attachment-1.ics"),
        ("image/heic", "attachment-1.heic"),
        ("application/vnd.oasis.opendocument.text", "attachment-1.odt"),
        ("application/x-unheard-of", "attachment-1.bin"),
        ("message/external-body", "attachment-1.eml"),
    ],
)
def test_a_part_without_a_name_gets_one_by_its_type(content_type: str, name: str) -> None:
    pieces = (
        part("Content-Type: text/plain", body="Viz níže."),
        part(f"Content-Type: {content_type}", body="x"),
    )
    parsed = parse_mail(multipart("mixed", *pieces))
    assert parsed.text == "Viz níže."
    assert [(each.name, each.inline) for each in parsed.attachments] == [(name, False)]


@pytest.mark.parametrize(
    "source", ["<img src=cid:a>" * 100_000, "<img '" * 200_000, '<img x="' * 200_000, "<style>" * 200_000,
               "<!--" * 300_000, "<img " + "a=b " * 300_000, "<img" + "/" * 1_000_000, "<img src='x'" * 100_000]
)  # fmt: skip
@pytest.mark.slow
def test_looking_for_images_takes_linear_time(source: str) -> None:
    raw = multipart("related", html(source), image("Content-ID: <a>"))
    assert_linear(lambda each: parse.parse_mail(each, with_html=False), raw)
