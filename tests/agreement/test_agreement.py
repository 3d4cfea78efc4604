"""The standard library reads nothing that we lose, in every mail of the folder, but for what was looked at.

`make test` leaves out a few mails that cost as much as all others together: those over which the library sits long, and
those with a great many attachments. `make soak` reads all of them.
"""

import json
from pathlib import Path

import pytest

from app.adapters.parser import ParserProcess
from tests.support.figures import FIGURES
from tests.unit.mime.mails import base64_part, mail, multipart, part
from tools.agreement.compare import GRAVE, disagreements, read_ours
from tools.agreement.standard_library import StandardLibrary
from tools.agreement.survey import survey
from tools.agreement.verdicts import FILE, known_verdicts, listed


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"library_cpu_s": 2, "attachments_max": 50}, id="quick mails"),
        pytest.param({}, id="all mails", marks=pytest.mark.soak),
    ],
)
def test_no_text_attachment_or_octet_is_lost_that_the_standard_library_reads(
    corpus: Path, limits: dict[str, int]
) -> None:
    unknown = []
    for found in survey(corpus, **limits):
        right = found.verdict[0] if found.verdict else "nobody has said who"
        FIGURES[f"disagreements with the standard library: {right} right"] += 1
        if found.verdict is None and found.disagreement.field in GRAVE:
            each = found.disagreement
            unknown.append(
                f"{found.path} {each.field}\n  ours   {listed(each.ours)}\n  theirs {listed(each.theirs)}"
            )
    assert unknown == [], "\n".join(unknown)


def test_each_verdict_says_who_is_right_and_why() -> None:
    stated = [each for fields in known_verdicts().values() for each in fields.values()]
    assert [each for each in stated if each[0] not in ("ours", "theirs", "both") or len(each[1]) < 10] == []
    assert (
        FILE.read_text(encoding="utf-8")
        == json.dumps(known_verdicts(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "field"),
    [
        (mail(body="jedna"), mail(body="jedna druha"), "lost_text"),
        (
            multipart("mixed", part(body="jedna")),
            multipart("mixed", part(body="jedna"), base64_part("application/pdf; name=a.pdf", b"%PDF")),
            "lost_attachment",
        ),
        (
            multipart("mixed", base64_part("application/pdf; name=a.pdf", b"%PDF-1")),
            multipart("mixed", base64_part("application/pdf; name=a.pdf", b"%PDF-2")),
            "changed_bytes",
        ),
        (
            mail("Content-Type: text/html", body="<p>jedna"),
            mail("Content-Type: text/html", body="<p>jedna<p>druha"),
            "lost_html",
        ),
        (mail("Subject: a"), mail("Subject: b"), "subject"),
        (mail("From: Jana <jana@a.cz>"), mail("From: Jana <jan@a.cz>"), "from"),
        (mail("Date: 1 Jan 2024 10:00 +0000"), mail("Date: 1 Jan 2024 10:00 +0100"), "date"),
    ],
)  # fmt: skip
def test_what_differs_is_found(ours: bytes, theirs: bytes, field: str) -> None:
    with StandardLibrary() as library, ParserProcess() as process:
        found = disagreements(read_ours(process, ours), library.read(theirs))
        assert [each.field for each in found] == [field]
        assert disagreements(read_ours(process, theirs), library.read(theirs)) == []


def test_a_mail_that_stops_the_library_is_no_disagreement_and_it_reads_on() -> None:
    with StandardLibrary() as library:
        deep = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(1500)
        )
        assert "died" in library.read(deep)
        assert library.read(mail("Subject: a"))["subject"] == {"value": "a"}
