"""A message that is processed with its answer, at the service."""

from app.states import SubmissionStatus
from tests.support.served_mailbox import ADMIN, ServedMailbox
from tests.support.stored_mail import mail
from tools.servers.process import wait_until

PATIENCE_S = 60.0


def state_of(mailbox: ServedMailbox, message_id: str) -> object:
    return mailbox.call("GET", f"/messages/{message_id}")["state"]


def test_a_sent_answer_marks_its_message_once(served_mailbox: ServedMailbox) -> None:
    [message] = served_mailbox.receive(mail())
    subject = f"messages/{message['id']}"
    sent = served_mailbox.send("karel@example.com", in_reply_to=message["id"], mark_processed=True)
    assert sent["status"] == SubmissionStatus.SENT
    wait_until(lambda: state_of(served_mailbox, message["id"]) == "processed", PATIENCE_S, "the message")
    wait_until(
        lambda: served_mailbox.submission(sent["id"])["sent_copy"] == "filed", PATIENCE_S, "the copy in Sent"
    )
    [event] = served_mailbox.events("message.processed", subject)
    assert (event["message_id"], event["notify"]) == (message["id"], False)
    audited = served_mailbox.call("GET", f"/audit?subject={subject}&limit=200", caller=ADMIN)["data"]
    assert [each["actor"] for each in audited if each["action"] == "message.state_changed"] == ["user:jana"]


def test_an_answer_that_failed_marks_nothing(served_mailbox: ServedMailbox) -> None:
    served_mailbox.smtp.behaviour.data_reply = "554 5.6.0 No"
    [message] = served_mailbox.receive(mail())
    failed = served_mailbox.send("karel@example.com", in_reply_to=message["id"], mark_processed=True)
    assert failed["status"] == SubmissionStatus.FAILED
    assert state_of(served_mailbox, message["id"]) == "new"
    served_mailbox.smtp.behaviour.data_reply = None
    served_mailbox.call("POST", f"/submissions/{failed['id']}/retry")
    wait_until(lambda: state_of(served_mailbox, message["id"]) == "processed", PATIENCE_S, "the message")
