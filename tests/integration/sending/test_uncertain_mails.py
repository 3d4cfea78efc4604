"""What becomes of a mail when nobody knows whether the server has taken it, at the service and real servers."""

import pytest

from tests.integration.sending.test_bounces import EVA, IVA, report, statuses
from tests.support.served_mailbox import ServedMailbox
from tests.support.stored_mail import mail
from tools.servers.process import wait_until

PATIENCE_S = 200.0
"""In case that the first look comes too early on a slow machine: the second one is a minute later."""


@pytest.fixture
def breaking(served_mailbox: ServedMailbox) -> ServedMailbox:
    """A mailbox whose SMTP server breaks off after the final dot, late enough to file the mail meanwhile."""
    served_mailbox.smtp.behaviour.drop_after_dot = True
    return served_mailbox


def types(mailbox: ServedMailbox, submission_id: str) -> list[str]:
    kinds = ("submission.failed", "submission.sent", "submission.bounced")
    return [kind for kind in kinds for _ in mailbox.events(kind, f"submissions/{submission_id}")]


def test_a_mail_that_the_server_has_filed_was_sent(breaking: ServedMailbox) -> None:
    breaking.smtp.behaviour.data_delay_s = 5.0
    [message] = breaking.receive(mail())
    body = {"connector_id": breaking.id, "to": [EVA, IVA], "text": "Hello", "in_reply_to": message["id"]}
    made = breaking.call("POST", "/submissions", {**body, "mark_processed": True})
    [taken] = breaking.smtp.wait_for(1, PATIENCE_S)
    with breaking.dovecot.client(breaking.user) as client:
        client.create_folder("Sent")
    breaking.dovecot.deliver(breaking.user, taken.raw, "Sent")
    wait_until(lambda: breaking.submission(made["id"])["status"] == "sent", PATIENCE_S, "the look")
    now = breaking.submission(made["id"])
    assert (statuses(now), now["sent_copy"], now["error"]) == ({EVA: "sent", IVA: "sent"}, "filed", None)
    assert types(breaking, made["id"]) == ["submission.failed", "submission.sent"]
    path = f"/messages/{message['id']}"
    wait_until(lambda: breaking.call("GET", path)["state"] == "processed", PATIENCE_S, "the message")
    assert len(breaking.smtp.mails) == 1
    assert len(breaking.dovecot.messages(breaking.user, "Sent")) == 1


def test_a_mail_that_came_back_has_failed(breaking: ServedMailbox) -> None:
    made = breaking.send(EVA)
    assert made["status"] == "uncertain"
    breaking.receive(report(made["message_id_header"], EVA))
    now = breaking.submission(made["id"])
    assert (now["status"], statuses(now)) == ("failed", {EVA: "bounced"})
    assert types(breaking, made["id"]) == ["submission.failed", "submission.bounced"]


def test_what_stays_unknown_is_sent_again_by_command_alone(breaking: ServedMailbox) -> None:
    made = breaking.send(EVA)
    breaking.smtp.behaviour.drop_after_dot = False
    assert len(breaking.smtp.mails) == 1
    breaking.call("POST", f"/submissions/{made['id']}/retry")
    wait_until(lambda: breaking.submission(made["id"])["status"] == "sent", PATIENCE_S, "the outcome")
    assert len(breaking.smtp.mails) == 2
