"""Attempts that end with their process, and attempts of several instances: no mail is sent twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine

from app import clock
from app.gateway import Gateway
from app.models import Connector, Submission
from app.services.sending import ending
from app.services.sending.kept import Kept
from app.services.sending.sender import Sender, carry_out, claim_next, limits_of
from tests.support.sender_runs import A, B, claimed_attempt, events, recipients, run, run_later, state
from tests.support.sending_mailbox import OWNER, sending_connector, submit
from tools.servers.smtp import SmtpServer


class TestCrashes:
    def test_an_attempt_that_never_ended_becomes_uncertain_when_its_time_is_up(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        made = submit(gateway, mailbox, A)
        claimed_attempt(gateway, mailbox)  # and here the process died
        row = state(gateway, made.submission.id)
        assert (row.status, row.attempts) == ("sending", 1)
        run(sender)
        assert state(gateway, made.submission.id).status == "sending"
        run_later(sender, timedelta(hours=1))
        assert state(gateway, made.submission.id).status == "uncertain"
        assert recipients(gateway, made.submission.id) == {A: "uncertain"}
        assert events(gateway) == [("submission.failed.v1", "uncertain")]
        assert smtp_server.mails == []

    def test_the_attempt_is_committed_before_the_network_is_touched(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        smtp_server.behaviour.data_delay_s = 1
        made = submit(gateway, mailbox, A)
        sender.send_due()
        smtp_server.wait_for(1)
        row = state(gateway, made.submission.id)
        assert (row.status, row.attempts) == ("sending", 1)
        assert sender.wait(30)
        assert state(gateway, row.id).status == "sent"

    def test_a_result_that_comes_too_late_changes_nothing(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        made = submit(gateway, mailbox, A)
        limits = limits_of(gateway)
        claimed = claimed_attempt(gateway, mailbox)
        run_later(sender, timedelta(hours=1))
        with Kept(gateway, limits, lambda: False) as kept:
            carry_out(gateway, claimed, kept)
        assert state(gateway, made.submission.id).status == "uncertain"
        assert len(events(gateway)) == 1

    def test_an_attempt_that_was_suspended_is_not_taken_for_a_later_one_with_its_number(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        made = submit(gateway, mailbox, A)
        limits = limits_of(gateway)
        suspended = claimed_attempt(gateway, mailbox)
        run_later(sender, timedelta(hours=1))
        with gateway.db.unit_of_work() as session:
            ending.retry(session, OWNER, made.submission.id)
            row = session.get(Submission, made.submission.id)
            assert row is not None
            row.attempts -= 1
        later = claimed_attempt(gateway, mailbox)
        assert later.number == suspended.number
        smtp_server.behaviour.recipient_replies = {A: "550 5.1.1 No such user"}
        with Kept(gateway, limits, lambda: False) as kept:
            carry_out(gateway, suspended, kept)
        assert state(gateway, made.submission.id).status == "sending"
        smtp_server.behaviour.recipient_replies = {}
        with Kept(gateway, limits, lambda: False) as kept:
            carry_out(gateway, later, kept)
        assert state(gateway, made.submission.id).status == "sent"

    @pytest.mark.parametrize(("to", "is_looked_for"), [([A], True), ([A, B], False)])
    def test_after_a_crash_sent_tells_only_of_a_mail_to_one(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, to: list[str], is_looked_for: bool
    ) -> None:
        made = submit(gateway, mailbox, *to)
        claimed_attempt(gateway, mailbox)
        later = clock.utc_now() + timedelta(hours=1)
        with time_machine.travel(later, tick=True), gateway.db.unit_of_work() as session:
            claim_next(session, mailbox.id, limits_of(gateway))
        row = state(gateway, made.submission.id)
        assert (row.status, row.next_attempt_at is not None) == ("uncertain", is_looked_for)

    def test_four_instances_send_each_mail_once(
        self, gateway: Gateway, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        made = [submit(gateway, mailbox, f"r{number}@example.com") for number in range(12)]
        others = [sending_connector(gateway, smtp_server) for _ in range(3)]
        made += [submit(gateway, other, f"o{number}@example.com") for number, other in enumerate(others)]
        senders = [Sender(gateway) for _ in range(4)]
        try:
            with ThreadPoolExecutor(4) as pool:
                for _ in range(4):
                    list(pool.map(run, senders))
        finally:
            for each in senders:
                each.stop()
        assert {state(gateway, each.submission.id).status for each in made} == {"sent"}
        got = [address for mail in smtp_server.mails for address in mail.envelope_recipients]
        assert sorted(got) == sorted(set(got))
        assert len(got) == 15
        assert len(events(gateway)) == 15
