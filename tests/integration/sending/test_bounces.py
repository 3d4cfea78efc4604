"""What comes back: a report of mail that was not delivered, at the service, its parser and real servers."""

import httpx
import pytest

from tests.support.served_mailbox import ServedMailbox
from tools.servers.dovecot import Dovecot
from tools.servers.smtp import SmtpServer

EVA, IVA = "eva@example.net", "iva@example.net"


def report(message_id: str, *to: str, action: str = "failed", status: str = "5.1.1") -> bytes:
    """A report on a mail, as RFC 3464 has it."""
    groups = "\r\n".join(
        f"Final-Recipient: rfc822; {each}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; 550 {status} No such user\r\n"
        for each in to
    )
    return (
        "From: MAILER-DAEMON@mx.example.net\r\nTo: info@firma.cz\r\nSubject: Undelivered: Order\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n{groups}"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: {message_id}\r\nSubject: Order\r\n\r\nHello\r\n"
        "--b--\r\n"
    ).encode()


def statuses(submission: dict[str, object]) -> dict[str, str]:
    recipients = submission["recipients"]
    assert isinstance(recipients, list)
    return {each["address"]: each["status"] for each in recipients}


def bounces(mailbox: ServedMailbox, submission_id: object) -> list[dict[str, object]]:
    return mailbox.events("submission.bounced", f"submissions/{submission_id}")


def test_a_report_is_told_at_its_submission_and_stays_a_message(served_mailbox: ServedMailbox) -> None:
    sent = served_mailbox.send(EVA)
    [message] = served_mailbox.receive(report(sent["message_id_header"], EVA.upper()))
    now = served_mailbox.submission(sent["id"])
    assert (now["status"], statuses(now)) == ("failed", {EVA: "bounced"})
    assert "550 5.1.1" in now["recipients"][0]["detail"]
    assert (now["error"]["code"], now["error"]["enhanced_status"]) == ("bounced", "5.1.1")
    assert now["error"]["server_text"] == "550 5.1.1 No such user"
    assert bounces(served_mailbox, sent["id"]) == [
        {
            "connector_id": served_mailbox.id,
            "submission_id": sent["id"],
            "status": "failed",
            "message_id": message["id"],
        }
    ]
    assert (message["subject"], message["is_auto_reply"]) == ("Undelivered: Order", True)


def test_each_failure_is_told_once_and_of_its_recipient_alone(served_mailbox: ServedMailbox) -> None:
    sent = served_mailbox.send(EVA, IVA)
    first = report(sent["message_id_header"], EVA)
    served_mailbox.receive(first, first.replace(b"Sorry", b"Again"))
    now = served_mailbox.submission(sent["id"])
    assert (now["status"], statuses(now)) == ("partly_sent", {EVA: "bounced", IVA: "sent"})
    assert len(bounces(served_mailbox, sent["id"])) == 1
    served_mailbox.receive(report(sent["message_id_header"], IVA))
    assert [each["status"] for each in bounces(served_mailbox, sent["id"])] == ["partly_sent", "failed"]


def test_what_came_back_is_sent_again_by_command(served_mailbox: ServedMailbox) -> None:
    sent = served_mailbox.send(EVA)
    served_mailbox.receive(report(sent["message_id_header"], EVA, status="5.2.2"))
    again = served_mailbox.call("POST", f"/submissions/{sent['id']}/retry")
    assert statuses(again) == {EVA: "pending"}
    served_mailbox.smtp.wait_for(2)


@pytest.mark.parametrize(
    "of", ["another mail", "another recipient", "a delay", "no Message-ID but the subject"]
)
def test_a_report_that_is_not_about_a_failure_of_ours_changes_nothing(
    served_mailbox: ServedMailbox, of: str
) -> None:
    sent = served_mailbox.send(EVA)
    header = sent["message_id_header"]
    raw = {
        "another mail": report("<other@firma.cz>", EVA),
        "another recipient": report(header, "adam@example.net"),
        "a delay": report(header, EVA, action="delayed", status="4.4.1"),
        "no Message-ID but the subject": report("", EVA),
    }[of]
    assert len(served_mailbox.receive(raw)) == 1
    now = served_mailbox.submission(sent["id"])
    assert (now["status"], statuses(now), now["error"]) == ("sent", {EVA: "sent"}, None)
    assert bounces(served_mailbox, sent["id"]) == []


@pytest.mark.parametrize(("group", "expected"), [("sales", "bounced"), ("strangers", "sent")])
def test_a_report_in_another_mailbox_counts_if_the_same_people_read_it(
    served_mailbox: ServedMailbox,
    served: httpx.Client,
    dovecot: Dovecot,
    smtp_server: SmtpServer,
    group: str,
    expected: str,
) -> None:
    sent = served_mailbox.send(EVA)
    other = ServedMailbox.made(served, dovecot, smtp_server, group=group)
    other.receive(report(sent["message_id_header"], EVA))
    assert statuses(served_mailbox.submission(sent["id"])) == {EVA: expected}
    assert len(bounces(served_mailbox, sent["id"])) == (expected == "bounced")
