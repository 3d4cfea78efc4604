"""Reports that a mail was not delivered: of which mail, and to whom."""

import base64

import idna
import pytest

from app.mime.model import DeliveryReport, ParsedMail
from app.mime.parse import parse_mail
from tests.support.linear_time import assert_grows_linearly

OURS = "<a1b2@firma.cz>"
EVA = "Final-Recipient: rfc822; eva@example.net\nAction: failed\nStatus: 5.1.1\n"
RETURNED = f"Content-Type: message/rfc822\n\nFrom: info@firma.cz\nMessage-ID: {OURS}\nSubject: x\n\nHello\n"


def mail(*parts: str, header: str = "") -> bytes:
    body = "".join(f"--b\n{part}\n" for part in parts)
    head = f"From: MAILER-DAEMON@mx.example.net\nSubject: Undelivered\n{header}"
    kind = 'multipart/report; report-type=delivery-status; boundary="b"'
    return f"{head}MIME-Version: 1.0\nContent-Type: {kind}\n\n{body}--b--\n".encode()


def status(*groups: str, kind: str = "message/delivery-status", header: str = "") -> str:
    blocks = "\n".join(["Reporting-MTA: dns; mx.example.net\n", *groups])
    return f"Content-Type: {kind}\n{header}\n{blocks}"


def report_of(raw: bytes) -> DeliveryReport:
    report = parse_mail(raw).report
    assert report is not None
    assert ParsedMail.from_json(parse_mail(raw).to_json()).report == report
    return report


def failed(raw: bytes) -> list[tuple[tuple[str, ...], str | None]]:
    return [(each.addresses, each.enhanced_status) for each in report_of(raw).failed]


def test_a_report_names_the_mail_and_the_recipient() -> None:
    group = f"{EVA}Diagnostic-Code: smtp; 550 5.1.1 <eva@example.net>:\n User unknown\n"
    report = report_of(mail("Content-Type: text/plain\n\nSorry.\n", status(group), RETURNED))
    assert report.message_ids == (OURS,)
    [eva] = report.failed
    assert (eva.addresses, eva.code, eva.enhanced_status) == (("eva@example.net",), 550, "5.1.1")
    assert eva.server_text == "550 5.1.1 <eva@example.net>: User unknown"


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded", "Delayed (will retry)"])
def test_what_is_no_failure_is_no_report(action: str) -> None:
    group = f"Final-Recipient: rfc822; eva@example.net\nAction: {action}\nStatus: 4.4.1\n"
    assert parse_mail(mail(status(group), RETURNED)).report is None


@pytest.mark.parametrize("group", [
    "Final-Recipient: rfc822; eva@example.net\nAction: FAILED (too many hops)\n",
    "Final-Recipient: RFC822;<EVA@Example.NET>\nAction: failed\n",
    "Final-Recipient: eva@example.net\nAction: failed\n",
    "FINAL-RECIPIENT : rfc822;eva@example.net.\naction:failed\n",
    "Final-Recipient: rfc822; eva@example.net (Eva)\nAction: error\n",
    "Final-Recipient: rfc822;\n eva@example.net\nStatus: 5.0.0\n",
    'Final-Recipient: rfc822; "eva"@example.net\nAction: failed\n',
    "Final-Recipient: rfc822; eva@example.net\nDiagnostic-Code: smtp; 550 5.7.1 no\n",
])  # fmt: skip
def test_a_failure_is_found_however_it_is_written(group: str) -> None:
    assert [addresses for addresses, _ in failed(mail(status(group), RETURNED))] == [("eva@example.net",)]


def test_each_recipient_is_told_apart() -> None:
    adam = "Final-Recipient: rfc822; adam@example.net\nAction: delayed\nStatus: 4.2.2\n"
    iva = "Final-Recipient: rfc822; iva@example.net\nAction: failed\nStatus: 5.2.2\n"
    assert failed(mail(status(EVA, adam, iva), RETURNED)) == [
        (("eva@example.net",), "5.1.1"), (("iva@example.net",), "5.2.2"),
    ]  # fmt: skip
    assert len(failed(mail(status(EVA + iva), RETURNED))) == 2  # without the empty line between them


def test_a_forwarded_mail_names_the_address_that_we_wrote_to() -> None:
    group = "Original-Recipient: rfc822; eva+2Bshop@example.net\n" + EVA.replace("eva@", "e.nova@other.")
    assert failed(mail(status(group), RETURNED))[0][0] == (
        "eva+2bshop@example.net", "eva+shop@example.net", "e.nova@other.example.net",
    )  # fmt: skip


def test_international_addresses_are_compared_by_their_a_labels() -> None:
    group = "Final-Recipient: utf-8; eva@p\\x{159}\u00edklad.cz\nAction: failed\n"
    part = status(group, kind="message/global-delivery-status")
    assert failed(mail(part, RETURNED))[0][0] == (f"eva@{idna.encode('příklad.cz').decode()}",)


@pytest.mark.parametrize("kind", [
    "message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers",
])  # fmt: skip
def test_the_returned_mail_says_which_it_was(kind: str) -> None:
    returned = RETURNED.replace("message/rfc822", kind).replace("Message-ID: ", "message-id:\n ")
    answers = "In-Reply-To: <other@firma.cz>\n"
    assert report_of(mail(status(EVA), returned, header=answers)).message_ids == (OURS,)


def test_parts_in_base64_are_read() -> None:
    encoded = base64.encodebytes(f"Reporting-MTA: dns; mx\r\n\r\n{EVA}".encode()).decode()
    part = f"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n{encoded}"
    assert failed(mail(part, RETURNED)) == [(("eva@example.net",), "5.1.1")]


def test_without_the_returned_mail_the_header_says_which_it_was() -> None:
    header = f"In-Reply-To: {OURS}\nReferences: <first@firma.cz> {OURS}\n"
    assert report_of(mail(status(EVA), header=header)).message_ids == (OURS, "<first@firma.cz>")
    assert parse_mail(mail(status(EVA))).report is None


def test_a_mail_inside_the_returned_mail_does_not_count() -> None:
    inner = f"Content-Type: message/rfc822\n\nMessage-ID: <top@firma.cz>\n\n> Message-ID: {OURS}\n"
    assert report_of(mail(status(EVA), inner)).message_ids == ("<top@firma.cz>",)


@pytest.mark.parametrize("kind", ["message/disposition-notification", "message/feedback-report"])
def test_other_reports_are_no_failures(kind: str) -> None:
    assert parse_mail(mail(status(EVA, kind=kind), RETURNED)).report is None


QMAIL = f"""From: MAILER-DAEMON@mx.example.net
Subject: failure notice

Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<eva@example.net>:
192.0.2.1 does not like recipient.
Remote host said: 550 5.1.1 User unknown

--- Below this line is a copy of the message.

Return-Path: <info@firma.cz>
Message-ID: {OURS}
Subject: Order

Hello
"""
EXIM = f"""From: Mail Delivery System <Mailer-Daemon@mx.example.net>
X-Failed-Recipients: eva@example.net
Auto-Submitted: auto-replied
Subject: Mail delivery failed: returning message to sender

A message that you sent could not be delivered.

  eva@example.net
    host mx.example.net: 550 no such user

------ This is a copy of the message, including all the headers. ------

Message-ID: {OURS}
"""


@pytest.mark.parametrize(("text", "expected"), [(QMAIL, "5.1.1"), (EXIM, None)])
def test_reports_for_people_are_read_too(text: str, expected: str | None) -> None:
    assert failed(text.encode()) == [(("eva@example.net",), expected)]
    assert report_of(text.encode()).message_ids == (OURS,)


def test_a_report_for_people_in_base64_is_read() -> None:
    head, _, body = QMAIL.partition("\n\n")
    encoded = base64.encodebytes(body.encode()).decode()
    raw = f"{head}\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n{encoded}"
    assert failed(raw.encode()) == [(("eva@example.net",), "5.1.1")]


def test_a_person_who_quotes_a_report_sends_none() -> None:
    assert parse_mail(QMAIL.replace("MAILER-DAEMON", "eva").encode()).report is None


@pytest.mark.parametrize("text", [
    QMAIL.replace("This is a permanent error; I've given up.", "The message is delayed; I will keep trying."),
    EXIM.replace("could not be delivered.", "has not yet been delivered to one or more of its recipients."),
    EXIM.replace("Mail delivery failed", "Warning: message 1tGabc-0001 delayed 24 hours"),
    f"""From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>
Subject: Warning: could not send message for past 4 hours

   ----- The following addresses had transient non-fatal errors -----
<eva@example.net>

   ----- Original message follows -----
Message-ID: {OURS}
""",
])  # fmt: skip
def test_a_delay_written_for_people_is_no_failure(text: str) -> None:
    assert parse_mail(text.encode()).report is None


def test_reading_a_report_is_linear() -> None:
    def groups(n: int) -> bytes:
        return mail(status(*(EVA.replace("eva", f"eva{i}") for i in range(n))), RETURNED)

    def prose(n: int) -> bytes:
        words = "Message-ID: < x@" * n + "\n" + "Message-ID:\n  " * n
        return QMAIL.replace("192.0.2.1", words).encode()

    small, large = groups(500), groups(4000)
    assert_grows_linearly(lambda: parse_mail(small), lambda: parse_mail(large))
    short, long = prose(5_000), prose(40_000)
    assert_grows_linearly(lambda: parse_mail(short), lambda: parse_mail(long))
