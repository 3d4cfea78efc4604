"""Which text is the message: none vanishes because it has a name, is marked inline, or comes in another type."""

import pytest

from tests.support.sandboxed_reader import parse_mail

from .mails import base64_part, mail, multipart, nested, part

PDF = base64_part("application/pdf; name=a.pdf", b"%PDF", "Content-Disposition: attachment")


def text(*headers: str, body: str = "Dobrý den") -> bytes:
    return part(*headers, body=body)


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Type: text/plain; name=zprava.txt"],
        ["Content-Type: text/plain", "Content-Disposition: inline; filename=body.txt"],
        ["Content-Type: text/plain; name=a.txt", "Content-Disposition: inline"],
        ["Content-Type: text/html; name=body.html", "Content-Disposition: inline; filename=body.html"],
        ["Content-Type: text/markdown; name=README.md"],
        ["Content-Type: text/x-amp-html"],
        ["Content-Type: text/enriched; name=x"],
    ],
)
def test_the_only_text_is_the_message_whatever_its_name(headers: list[str]) -> None:
    for raw in (
        mail(*headers, body="Dobrý den"),
        multipart("mixed", text(*headers), PDF),
        multipart("mixed", PDF, text(*headers)),
        multipart("signed", text(*headers), base64_part("application/pgp-signature", b"x")),
        multipart("mixed", nested("related", text(*headers), boundary="in"), PDF),
    ):
        parsed = parse_mail(raw)
        assert parsed.text == "Dobrý den"
        assert [each.name for each in parsed.attachments if not each.inline] in ([], ["a.pdf"])


def test_of_named_texts_the_first_is_the_message_where_none_is_unnamed() -> None:
    first = text("Content-Type: text/plain; name=a.txt", body="zprava")
    parsed = parse_mail(multipart("mixed", first, text("Content-Type: text/plain; name=b.txt"), PDF))
    assert (parsed.text, [each.name for each in parsed.attachments]) == ("zprava", ["b.txt", "a.pdf"])


def test_beside_an_unnamed_text_a_named_one_is_a_file() -> None:
    for disposition in ("inline; filename=log.txt", "attachment; filename=log.txt"):
        log = text("Content-Type: text/plain", f"Content-Disposition: {disposition}", body="line")
        for pieces in ([text(), log], [log, text()]):
            parsed = parse_mail(multipart("mixed", *pieces))
            assert (parsed.text, [each.name for each in parsed.attachments]) == ("Dobrý den", ["log.txt"])


def test_alternatives_with_names_and_marked_inline_are_both_the_message() -> None:
    for disposition in ("inline", "inline; filename=x"):
        parsed = parse_mail(
            multipart(
                "alternative",
                text("Content-Type: text/plain; name=a.txt", f"Content-Disposition: {disposition}"),
                text(
                    "Content-Type: text/html; name=a.html",
                    f"Content-Disposition: {disposition}",
                    body="<p>Den",
                ),
            )
        )
        assert (parsed.text, parsed.html, parsed.attachments) == ("Dobrý den", "<p>Den</p>", ())


def test_a_sent_text_file_stays_a_file() -> None:
    raw = mail("Content-Type: text/plain", "Content-Disposition: attachment; filename=log.txt", body="line")
    parsed = parse_mail(raw)
    assert (parsed.text, [each.name for each in parsed.attachments]) == (None, ["log.txt"])
    assert parse_mail(mail("Content-Disposition: attachment", body="Dobrý den")).text == "Dobrý den"


@pytest.mark.parametrize("kind", ["text/calendar", "text/vcard", "text/csv"])
def test_text_for_programs_stays_a_file(kind: str) -> None:
    parsed = parse_mail(mail(f"Content-Type: {kind}", body="BEGIN:X"))
    assert (parsed.text, parsed.has_attachments) == (None, True)


@pytest.mark.parametrize("start", ["<r@x>", "r@x", "<R@X>", "<r%40x>"])
@pytest.mark.parametrize("name", ["", "; name=page.html"])
def test_the_root_of_related_is_what_start_names(start: str, name: str) -> None:
    image = base64_part("image/png", b"png", "Content-ID: <i@x>")
    page = text(f"Content-Type: text/html{name}", "Content-ID: <r@x>", body='<p>Den<img src="cid:i@x">')
    for pieces in ([image, page], [page, image]):
        raw = multipart(f'related; start="{start}"; type="text/html"', *pieces)
        parsed = parse_mail(raw)
        assert (parsed.text, parsed.html) == ("Den", '<p>Den<img src="cid:i@x"></p>')
        assert [(each.content_type, each.inline) for each in parsed.attachments] == [("image/png", True)]


@pytest.mark.parametrize("parameters", ["", '; type="text/html"', '; start="<gone@x>"', "; type=multipart/x"])
def test_a_page_after_its_images_is_found_where_start_does_not_name_it(parameters: str) -> None:
    image = base64_part("image/png", b"png", "Content-ID: <i@x>")
    page = text("Content-Type: text/html", "Content-ID: <r@x>", body='<p>Den<img src="cid:i@x">')
    parsed = parse_mail(multipart(f"related{parameters}", image, page))
    assert (parsed.text, len(parsed.attachments), parsed.has_attachments) == ("Den", 1, False)


def test_the_root_may_be_a_multipart_and_other_pages_are_files() -> None:
    both = nested("alternative", text(), text("Content-Type: text/html", body="<p>Den"), boundary="alt")
    frame = text("Content-Type: text/html", "Content-ID: <f@x>", body="<p>frame")
    parsed = parse_mail(multipart("related; type=multipart/alternative", both, frame))
    assert (parsed.text, parsed.html, len(parsed.attachments)) == ("Dobrý den", "<p>Den</p>", 1)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Now <bold>is</bold> the time", "Now is the time"),
        ("one\ntwo\n\nthree\n\n\nfour", "one two\nthree\n\nfour"),
        ("a << b", "a < b"),
        ("<color><param>red</param>Red</color> <italic>i</italic>", "Red i"),
        ("<nofill>a\n b\n\nc</nofill>", "a\n b\n\nc"),
        ("<fontfamily><param>Times\nNew</param>x</fontfamily>", "x"),
        ("<x-unknown>kůň</x-unknown>", "kůň"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("", ""),
    ],
)
def test_enriched_text_is_shown_without_its_commands(source: str, shown: str) -> None:
    head = "Content-Type: text/enriched; charset=utf-8"
    assert parse_mail(mail(head, body=source)).text == shown
    parsed = parse_mail(multipart("mixed", text(head, body=source), PDF))
    assert (parsed.text, [each.name for each in parsed.attachments]) == (shown, ["a.pdf"])


def test_richtext_is_shown_without_its_commands() -> None:
    body = "<bold>Now</bold> is<nl>the <lt>time<comment>hidden</comment> of\nall"
    assert parse_mail(mail("Content-Type: text/richtext", body=body)).text == "Now is\nthe <time of all"


def test_beside_plain_text_and_html_enriched_text_is_no_attachment() -> None:
    enriched = text("Content-Type: text/enriched", body="<bold>Dobrý</bold> den")
    plain, rich = (
        text("Content-Type: text/plain", body="plain"),
        text("Content-Type: text/html", body="<p>Den"),
    )
    assert parse_mail(multipart("alternative", plain, enriched)).text == "plain"
    parsed = parse_mail(multipart("alternative", enriched, rich))
    assert (parsed.text, parsed.html, parsed.attachments) == ("Dobrý den", "<p>Den</p>", ())


def test_an_empty_text_beside_a_named_one_does_not_hide_it() -> None:
    log = text("Content-Type: text/plain; name=log.txt", body="line")
    parsed = parse_mail(multipart("mixed", text(body="\r\n"), log))
    assert [each.name for each in parsed.attachments] == ["log.txt"]


@pytest.mark.parametrize("kind", ["plain", "html", "enriched"])
def test_the_only_text_is_the_message_though_it_says_attachment(kind: str) -> None:
    attached = text(f"Content-Type: text/{kind}", "Content-Disposition: attachment")
    for raw in (
        multipart("mixed", attached, PDF),
        multipart("mixed", PDF, attached),
        multipart("mixed", nested("related", attached, boundary="in"), PDF),
        multipart("alternative", attached),
    ):
        parsed = parse_mail(raw)
        assert parsed.text == "Dobrý den"
        assert [each.name for each in parsed.attachments] in ([], ["a.pdf"])


def test_a_file_that_is_text_stays_a_file() -> None:
    unnamed = "Content-Type: text/plain", "Content-Disposition: attachment"
    for headers in (
        ("Content-Type: text/plain", "Content-Disposition: attachment; filename=a.txt"),
        ("Content-Type: text/plain; name=a.txt", "Content-Disposition: attachment"),
        ("Content-Type: text/csv", "Content-Disposition: attachment"),
        ("Content-Type: text/calendar", "Content-Disposition: attachment"),
    ):
        parsed = parse_mail(multipart("mixed", PDF, text(*headers)))
        assert (parsed.text, len(parsed.attachments)) == (None, 2)
    parsed = parse_mail(multipart("mixed", text("Content-Type: text/plain", body="Ahoj"), text(*unnamed)))
    assert (parsed.text, len(parsed.attachments)) == ("Ahoj", 1)
