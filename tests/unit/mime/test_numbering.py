"""The number of an attachment keeps its meaning, whatever a later reader makes of the mail."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.mime.model import Listed, ParsedMail
from tests.support.sandboxed_reader import extract_attachment, parse_mail
from tests.unit.mime.mails import base64_part, multipart, nested, part
from tools.corpus import mail_files

NUMBERS_OF_READER_1 = Path(__file__).resolve().parents[2] / "data" / "reader_1_numbers.json"
"""What reader 1 gave of each collected mail with attachments, as of commit ec42bc1: by the sha256 of the mail, in the order
of the numbers, each attachment's size in octets and the beginning of its sha256."""
ENDS = 5
"""How many of a mail's attachments are compared, from each end."""
PDF = "Content-Disposition: attachment; filename="


def pdf(content: bytes, name: str) -> bytes:
    return base64_part("application/pdf", content, f"{PDF}{name}")


THREE = multipart(
    "mixed", part(body="hello"), pdf(b"one", "1.pdf"), pdf(b"second", "2.pdf"), pdf(b"3", "3.pdf")
)


def contents(raw: bytes, listed: Sequence[Listed], parsed: ParsedMail | None = None) -> dict[int, bytes]:
    """What is given under each number."""
    numbers = [each.n for each in (parsed.attachments if parsed else listed)]
    found = {n: extract_attachment(raw, n, listed) for n in numbers}
    return {n: each.content for n, each in found.items() if each is not None}


def as_listed(parsed: ParsedMail) -> list[Listed]:
    return [Listed(each.n, each.part, each.size_octets) for each in parsed.attachments]


def by_reader_1(*sizes: int) -> list[Listed]:
    return [Listed(n, None, size) for n, size in enumerate(sizes, 1)]


def test_a_second_reading_numbers_as_the_first() -> None:
    first = parse_mail(THREE)
    assert parse_mail(THREE, listed=as_listed(first)) == first


def test_newly_found_parts_come_after_the_listed_ones() -> None:
    one, two, three = as_listed(parse_mail(THREE))
    listed = [Listed(1, three.part, 1), Listed(2, one.part, 3)]
    parsed = parse_mail(THREE, listed=listed)
    assert [(each.n, each.name, each.part) for each in parsed.attachments] == [
        (1, "3.pdf", three.part),
        (2, "1.pdf", one.part),
        (3, "2.pdf", two.part),
    ]
    assert contents(THREE, as_listed(parsed)) == {1: b"3", 2: b"one", 3: b"second"}
    assert contents(THREE, listed) == {1: b"3", 2: b"one"}


def test_a_listed_part_that_is_text_today_stays_listed_and_is_no_attachment() -> None:
    raw = multipart("mixed", part(body="hello"), part(body="second text"))
    begin = raw.index(b"second text")
    parsed = parse_mail(raw, listed=[Listed(1, str(begin), 11)])
    assert [(each.n, each.inline, each.size_octets) for each in parsed.attachments] == [(1, True, 11)]
    assert not parsed.has_attachments
    assert parsed.text == "hello\nsecond text"
    assert contents(raw, as_listed(parsed)) == {1: b"second text"}


def test_a_multipart_that_was_listed_whole_is_found() -> None:
    raw = multipart("mixed", part(body="hello"), nested("mixed", pdf(b"one", "1.pdf"), boundary="in"))
    whole = raw[raw.index(b"--in") :]
    whole = whole[: whole.index(b"--in--")]
    listed = [Listed(1, str(raw.index(b"--in")), 0)]
    parsed = parse_mail(raw, listed=listed)
    assert [each.n for each in parsed.attachments] == [1, 2]
    given = contents(raw, as_listed(parsed))
    assert given[1].rstrip() == whole.rstrip()
    assert given[2] == b"one"


def test_a_listed_part_that_is_not_found_leaves_a_gap() -> None:
    parsed = parse_mail(THREE, listed=[Listed(1, "999999", 4), Listed(2, "nonsense", 4)])
    assert [each.n for each in parsed.attachments] == [3, 4, 5]
    assert extract_attachment(THREE, 1, [Listed(1, "999999", 4)]) is None


def test_a_number_that_is_not_listed_gives_nothing() -> None:
    listed = as_listed(parse_mail(THREE))[:1]
    assert extract_attachment(THREE, 1, listed) is not None
    assert extract_attachment(THREE, 2, listed) is None


def test_a_name_of_ours_holds_the_number_that_the_part_has() -> None:
    raw = multipart("mixed", part(body="hello"), *[base64_part("application/pdf", b"%d" % n) for n in (1, 2)])
    first, second = as_listed(parse_mail(raw))
    parsed = parse_mail(raw, listed=[Listed(1, second.part, 1)])
    assert [(each.part, each.name) for each in parsed.attachments] == [
        (second.part, "attachment-1.pdf"),
        (first.part, "attachment-2.pdf"),
    ]


def test_the_list_of_reader_1_is_found_by_its_own_rules() -> None:
    """It took a named text for an attachment, and a part with an unused Content-ID in multipart/related too."""
    raw = multipart(
        "mixed",
        part(body="hello"),
        part("Content-Type: text/plain; name=note.txt", body="a note"),
        nested(
            "related",
            part("Content-Type: text/html", body="<p>hello</p>"),
            base64_part("application/pdf", b"invoice!", "Content-ID: <unused@x>"),
            part("Content-Type: text/html", "Content-ID: <other@x>", body="<p>x</p>"),
            boundary="rel",
        ),
        pdf(b"last", "last.pdf"),
    )
    listed = by_reader_1(6, 8, 8, 4)
    assert contents(raw, listed) == {1: b"a note", 2: b"invoice!", 3: b"<p>x</p>", 4: b"last"}
    parsed = parse_mail(raw, listed=listed)
    assert [each.n for each in parsed.attachments] == [1, 2, 3, 4]
    assert contents(raw, as_listed(parsed)) == contents(raw, listed)


def test_parts_listed_by_reader_1_are_decoded_as_reader_1_did() -> None:
    """It left uuencoded and unknown encodings as they were, and read text behind base64 as base64."""
    uuencoded = b"begin 644 a\n#86)C\n`\nend"
    pasted = base64.b64encode(b"content") + b"\n-- \nlist footer"
    raw = multipart(
        "mixed",
        part(body="hello"),
        part(f"{PDF}a.bin", "Content-Transfer-Encoding: x-uuencode", body=uuencoded),
        part(f"{PDF}b.bin", "Content-Transfer-Encoding: base64", body=pasted),
        part(f"{PDF}c.bin", "Content-Transfer-Encoding: quoted-printable", body="a=\nb=20c=3D=\n"),
    )
    decoded = [uuencoded, b"content" + base64.b64decode(b"listfooter=="), b"ab c="]
    listed = by_reader_1(*[len(each) for each in decoded])
    assert contents(raw, listed) == dict(enumerate(decoded, 1))


def test_if_the_sizes_do_not_agree_all_leaves_are_compared() -> None:
    """Should today's reader see other types, the sizes still tell which parts were meant."""
    raw = multipart("mixed", part(body="four"), part(body="seven77"), pdf(b"two2", "2.pdf"))
    assert contents(raw, by_reader_1(7, 4)) == {1: b"seven77", 2: b"two2"}


def test_a_number_that_may_mean_two_parts_gives_none() -> None:
    raw = multipart("mixed", part(body="same"), part(body="SAME"), pdf(b"two", "2.pdf"))
    assert contents(raw, by_reader_1(4, 3)) == {2: b"two"}
    assert [each.n for each in parse_mail(raw, listed=by_reader_1(4, 3)).attachments] == [2]


def test_sizes_that_are_nowhere_give_nothing() -> None:
    assert contents(THREE, by_reader_1(77)) == {}
    assert [each.n for each in parse_mail(THREE, listed=by_reader_1(77)).attachments] == [2, 3, 4]


def test_the_order_distinguishes_attachments_of_one_size() -> None:
    raw = multipart("mixed", part(body="hi"), *[pdf(letter, "x.pdf") for letter in (b"a", b"b", b"c")])
    assert contents(raw, by_reader_1(1, 1, 1)) == {1: b"a", 2: b"b", 3: b"c"}


def test_bare_cr_shifts_no_place() -> None:
    raw = (
        multipart("mixed", part(body="hello"), pdf(b"one", "1.pdf"))
        .replace(b"\r\n", b"\n")
        .replace(b"\n", b"\r")
    )
    listed = as_listed(parse_mail(raw))
    assert contents(raw, listed) == {1: b"one"}


@pytest.mark.slow
def test_the_numbers_of_reader_1_keep_their_meaning_in_every_collected_mail(corpus: Path) -> None:
    numbers: dict[str, list[tuple[int, str]]] = json.loads(NUMBERS_OF_READER_1.read_text(encoding="utf-8"))
    compared = 0
    for path in mail_files(corpus):
        raw = path.read_bytes()
        had = numbers.get(hashlib.sha256(raw).hexdigest(), [])
        listed = by_reader_1(*[size for size, _ in had])
        for n, (size, sha256) in list(enumerate(had, 1)):
            if ENDS < n <= len(had) - ENDS:
                continue
            found = extract_attachment(raw, n, listed)
            assert found is not None, (path.name, n)
            assert len(found.content) == size, (path.name, n)
            assert hashlib.sha256(found.content).hexdigest().startswith(sha256), (path.name, n)
            compared += 1
    if (corpus / "manifest.json").is_file():
        assert compared
