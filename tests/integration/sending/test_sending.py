"""Sending with real SMTP servers: the outcome of a mail, and that none is sent twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import time_machine
from sqlmodel import select

from app import clock
from app.errors import (
    IdempotencyMismatch,
)
from app.gateway import Gateway
from app.models import Connector, Submission
from app.services.sending import ending
from app.services.sending.sender import Sender
from app.states import SendingStatus, SentCopyState
from tests.support.sender_runs import (
    A,
    B,
    C,
    behave,
    events,
    recipient_rows,
    recipients,
    run,
    run_later,
    state,
)
from tests.support.sending_mailbox import OWNER, sending_connector, submit
from tools.servers.dovecot import Dovecot
from tools.servers.smtp import SmtpServer


class TestOutcomes:
    def test_a_mail_that_the_server_accepts_is_sent(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        made = submit(gateway, mailbox, "Karel <karel@example.com>", bcc=["tajny@example.com"])
        run(sender)
        row = state(gateway, made.submission.id)
        assert (row.status, row.attempts) == ("sent", 1)
        assert recipients(gateway, row.id) == {"karel@example.com": "sent", "tajny@example.com": "sent"}
        assert events(gateway) == [("submission.sent.v1", "sent")]
        [mail] = smtp_server.mails
        assert mail.envelope_from == "info@firma.cz"
        assert set(mail.envelope_recipients) == {"karel@example.com", "tajny@example.com"}
        assert b"tajny" not in mail.raw
        assert row.message_id_header.encode() in mail.raw

    def test_a_sent_mail_is_not_sent_again(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        submit(gateway, mailbox)
        for days in range(4):
            run_later(sender, timedelta(days=days))
        assert len(smtp_server.mails) == 1

    def test_recipients_are_told_apart(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        smtp_server.behaviour.recipient_replies = {
            B: "550 5.1.1 No such user: secret text",
            C: "451 4.7.1 Greylisted",
        }
        made = submit(gateway, mailbox, A, B, C)
        run(sender)
        row = state(gateway, made.submission.id)
        assert row.status == "queued"
        assert recipients(gateway, row.id) == {A: "sent", B: "refused", C: "deferred"}
        assert events(gateway) == []
        smtp_server.behaviour.recipient_replies = {}
        run_later(sender, timedelta(minutes=2))
        assert [mail.envelope_recipients for mail in smtp_server.mails] == [(A,), (C,)]
        assert recipients(gateway, row.id) == {A: "sent", B: "refused", C: "sent"}
        assert events(gateway) == [("submission.sent.v1", "partly_sent")]
        with gateway.db.reading() as session:
            details = {each.address: each.detail for each in recipient_rows(session, row.id)}
        assert details[B] == "The mail server refused (550 5.1.1)."

    @pytest.mark.parametrize(
        "behaviour",
        [
            {"sender_reply": "550 5.7.1 Not from here"},
            {"data_reply": "554 5.7.1 Spam"},
            {"recipient_replies": {A: "550 5.1.1 No"}},
        ],
    )
    def test_a_5xx_is_final(
        self,
        gateway: Gateway,
        sender: Sender,
        mailbox: Connector,
        smtp_server: SmtpServer,
        behaviour: dict[str, Any],
    ) -> None:
        behave(smtp_server, behaviour)
        made = submit(gateway, mailbox, A)
        run(sender)
        assert state(gateway, made.submission.id).status == "failed"
        assert recipients(gateway, made.submission.id) == {A: "refused"}
        assert events(gateway) == [("submission.failed.v1", "failed")]

    @pytest.mark.parametrize(
        "behaviour",
        [
            {"sender_reply": "451 4.3.0 Later"},
            {"sender_reply": "421 4.3.2 Closing"},
            {"data_reply": "452 4.3.1 Full"},
            {"recipient_replies": {A: "450 4.2.0 Later"}},
            {"recipient_replies": {A: "421 4.3.2 Closing"}},
        ],
    )
    def test_a_4xx_is_tried_again(
        self,
        gateway: Gateway,
        sender: Sender,
        mailbox: Connector,
        smtp_server: SmtpServer,
        behaviour: dict[str, Any],
    ) -> None:
        behave(smtp_server, behaviour)
        made = submit(gateway, mailbox, A)
        run(sender)
        row = state(gateway, made.submission.id)
        assert (row.status, row.attempts) == ("queued", 1)
        assert row.next_attempt_at is not None
        assert 40 < (row.next_attempt_at - clock.utc_now()).total_seconds() < 75
        smtp_server.reset()
        run_later(sender, timedelta(minutes=2))
        assert state(gateway, row.id).status == "sent"

    def test_after_two_days_it_is_given_up(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        smtp_server.behaviour.data_reply = "451 4.3.0 Later"
        made = submit(gateway, mailbox, A)
        run_later(sender, timedelta(hours=47, minutes=59, seconds=30))
        assert state(gateway, made.submission.id).status == "failed"
        assert recipients(gateway, made.submission.id) == {A: "refused"}
        assert events(gateway) == [("submission.failed.v1", "failed")]

    def test_an_answer_lost_after_the_final_dot_is_uncertain_and_never_sent_again(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        smtp_server.behaviour.drop_after_dot = True
        made = submit(gateway, mailbox, A)
        run(sender)
        assert state(gateway, made.submission.id).status == "uncertain"
        assert recipients(gateway, made.submission.id) == {A: "uncertain"}
        assert events(gateway) == [("submission.failed.v1", "uncertain")]
        smtp_server.behaviour.drop_after_dot = False
        run_later(sender, timedelta(days=1))
        assert len(smtp_server.mails) == 1

    def test_a_refused_login_is_tried_twice_and_the_mail_waits(
        self, gateway: Gateway, sender: Sender
    ) -> None:
        with SmtpServer(user="info", password="another", auth_required=True) as server:
            mailbox = sending_connector(gateway, server)
            made = [submit(gateway, mailbox, A).submission.id for _ in range(5)]
            for days in range(5):
                run_later(sender, timedelta(days=days))
            assert server.login_attempts == 2
            assert {state(gateway, each).status for each in made} == {"queued"}

    def test_nothing_is_tried_while_sending_is_stopped(
        self, gateway: Gateway, sender: Sender, smtp_server: SmtpServer
    ) -> None:
        mailbox = sending_connector(gateway, smtp_server, status="active")
        made = submit(gateway, mailbox, A)
        with gateway.db.unit_of_work() as session:
            stopped = session.get(Connector, mailbox.id)
            assert stopped is not None
            stopped.sending_status = SendingStatus.STOPPED
        run(sender)
        assert (state(gateway, made.submission.id).status, smtp_server.mails) == ("queued", [])
        with gateway.db.unit_of_work() as session:
            stopped = session.get(Connector, mailbox.id)
            assert stopped is not None
            stopped.sending_status = SendingStatus.ACTIVE
        run(sender)
        assert state(gateway, made.submission.id).status == "sent"

    def test_an_unreachable_server_is_tried_again(self, gateway: Gateway, sender: Sender) -> None:
        with SmtpServer() as server:
            mailbox = sending_connector(gateway, server)
        made = submit(gateway, mailbox, A)
        run(sender)
        row = state(gateway, made.submission.id)
        assert (row.status, row.attempts) == ("queued", 1)

    def test_a_mail_is_not_sent_before_its_time(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        made = submit(gateway, mailbox, A, send_at=clock.utc_now() + timedelta(hours=1))
        run(sender)
        run_later(sender, timedelta(minutes=59))
        assert (state(gateway, made.submission.id).status, smtp_server.mails) == ("queued", [])
        run_later(sender, timedelta(minutes=61))
        assert state(gateway, made.submission.id).status == "sent"


class TestKept:
    def test_the_date_is_the_time_of_the_first_attempt(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        later = clock.utc_now() + timedelta(days=2)
        made = submit(gateway, mailbox, A, send_at=later)
        smtp_server.behaviour.data_reply = "451 4.3.0 Later"
        run_later(sender, timedelta(days=2, minutes=1))
        smtp_server.behaviour.data_reply = None
        run_later(sender, timedelta(days=2, hours=1))
        first, second = (mail.raw for mail in smtp_server.mails)
        assert first == second
        date = parsedate_to_datetime(first.partition(b"\r\n")[0].decode().removeprefix("Date: "))
        assert timedelta() <= date - later.replace(microsecond=0) < timedelta(minutes=5)
        assert state(gateway, made.submission.id).status == "sent"

    @pytest.mark.parametrize("days", [{"delete_sent_after_days": 3}, {"delete_failed_after_days": 3}, {}])
    def test_is_deleted_when_the_connector_says_and_not_before(
        self, gateway: Gateway, sender: Sender, smtp_server: SmtpServer, days: dict[str, Any]
    ) -> None:
        smtp_server.behaviour.recipient_replies = {B: "550 5.1.1 No such user"}
        at = sending_connector(gateway, smtp_server, **days)
        sent, failed = submit(gateway, at, A).submission.id, submit(gateway, at, B).submission.id
        run(sender)
        with gateway.db.unit_of_work() as session:  # as if the copy were settled
            for row in session.exec(select(Submission)):
                row.next_attempt_at = None
        ending.delete_old(gateway)
        assert {state(gateway, sent).status, state(gateway, failed).status} == {"sent", "failed"}
        with time_machine.travel(clock.utc_now() + timedelta(days=4), tick=True):
            ending.delete_old(gateway)
        with gateway.db.reading() as session:
            left = set(session.exec(select(Submission.id)))
        gone = {sent} if "delete_sent_after_days" in days else {failed} if days else set()
        assert left == {sent, failed} - gone


class TestIdempotency:
    def test_the_same_request_gives_the_same_submission(self, gateway: Gateway, mailbox: Connector) -> None:
        first = submit(gateway, mailbox, key="k1")
        again = submit(gateway, mailbox, key="k1")
        assert again.submission.id == first.submission.id
        assert [each.address for each in again.recipients] == ["karel@example.com"]
        assert submit(gateway, mailbox, key="k2").submission.id != first.submission.id
        assert submit(gateway, mailbox).submission.id != submit(gateway, mailbox).submission.id

    def test_another_request_with_the_key_is_refused(self, gateway: Gateway, mailbox: Connector) -> None:
        submit(gateway, mailbox, key="k1")
        with pytest.raises(IdempotencyMismatch):
            submit(gateway, mailbox, key="k1", subject="Another")

    def test_many_requests_at_once_with_one_key_make_one_submission(
        self, gateway: Gateway, mailbox: Connector, sender: Sender, smtp_server: SmtpServer
    ) -> None:
        barrier = threading.Barrier(8)

        def one(_: int) -> str:
            barrier.wait(10)
            return submit(gateway, mailbox, key="k1").submission.id

        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(one, range(8)))
        assert len(ids) == 1
        run(sender)
        assert len(smtp_server.mails) == 1


class TestCancelling:
    def test_a_cancelled_one_is_never_sent(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        made = submit(gateway, mailbox, A)
        with gateway.db.unit_of_work() as session:
            ending.remove(session, OWNER, made.submission.id)
        run(sender)
        row = state(gateway, made.submission.id)
        assert (row.status, row.source_zstd, smtp_server.mails) == ("cancelled", None, [])

    def test_a_mail_that_some_recipients_have_got_is_partly_sent(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        smtp_server.behaviour.recipient_replies = {B: "451 4.7.1 Greylisted"}
        made = submit(gateway, mailbox, A, B)
        run(sender)
        with gateway.db.unit_of_work() as session:
            ending.remove(session, OWNER, made.submission.id)
        assert state(gateway, made.submission.id).status == "partly_sent"
        assert recipients(gateway, made.submission.id) == {A: "sent", B: "refused"}
        assert events(gateway) == [("submission.sent.v1", "partly_sent")]


class TestSentCopy:
    @pytest.fixture
    def at_dovecot(
        self, gateway: Gateway, smtp_server: SmtpServer, dovecot: Dovecot, imap_user: str
    ) -> Connector:
        return sending_connector(
            gateway,
            smtp_server,
            imap_port=dovecot.port,
            imap_username=imap_user,
            password=dovecot.password,
            smtp_file_sent="always",
        )

    def test_the_copy_is_in_the_folder_for_sent_mail_and_marked_as_read(
        self,
        gateway: Gateway,
        sender: Sender,
        at_dovecot: Connector,
        dovecot: Dovecot,
        smtp_server: SmtpServer,
    ) -> None:
        made = submit(gateway, at_dovecot, A)
        run(sender)
        row = state(gateway, made.submission.id)
        assert (row.status, row.sent_copy) == ("sent", "filed")
        [copy] = dovecot.messages(at_dovecot.imap_username, "Sent")
        assert copy.flags == {"\\Seen"}
        assert copy.raw == smtp_server.mails[0].raw

    def test_the_copy_shows_whom_the_others_do_not_see(
        self,
        gateway: Gateway,
        sender: Sender,
        at_dovecot: Connector,
        dovecot: Dovecot,
        smtp_server: SmtpServer,
    ) -> None:
        for number in range(3):
            submit(gateway, at_dovecot, A, subject=str(number), bcc=["Žofie <tajny@example.com>"])
        run(sender)
        copies = dovecot.messages(at_dovecot.imap_username, "Sent")
        assert len(copies) == 3
        assert all(b"<tajny@example.com>" in copy.raw for copy in copies)
        assert not any(b"tajny" in mail.raw for mail in smtp_server.mails)

    def test_the_copy_is_not_doubled_after_a_crash_before_it_was_recorded(
        self, gateway: Gateway, sender: Sender, at_dovecot: Connector, dovecot: Dovecot
    ) -> None:
        made = submit(gateway, at_dovecot, A)
        run(sender)
        with gateway.db.unit_of_work() as session:
            row = session.get(Submission, made.submission.id)
            assert row is not None
            row.sent_copy, row.next_attempt_at = SentCopyState.PENDING, clock.utc_now()
        run(sender)
        assert state(gateway, made.submission.id).sent_copy == "filed"
        assert len(dovecot.messages(at_dovecot.imap_username, "Sent")) == 1

    def test_its_failure_leaves_the_submission_sent(
        self, gateway: Gateway, sender: Sender, mailbox: Connector
    ) -> None:
        made = submit(gateway, mailbox, A)
        for hours in range(6):
            run_later(sender, timedelta(hours=10 * hours))
        row = state(gateway, made.submission.id)
        assert (row.status, row.sent_copy, row.sent_copy_attempts) == ("sent", "failed", 5)
