"""Sending with real SMTP servers: the outcome of a mail, and that none is sent twice."""

import dataclasses
import ipaddress
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import time_machine
from sqlmodel import Session, col, select

from app import clock
from app.adapters import smtp
from app.adapters.network import NetworkPolicy
from app.adapters.smtp import Envelope, Limits, Outcome, Server
from app.errors import (
    CertificateRefused,
    CommandRefused,
    ConnectionLost,
    HostUnreachable,
    IdempotencyMismatch,
    LoginRefused,
    MailServerError,
    MailServerTimeout,
    MailServerUnavailable,
    NotSmtp,
    TooManyConnections,
)
from app.gateway import Gateway
from app.models import Connector, Event, Submission, SubmissionRecipient
from app.services.access.rules import Principal, PrincipalKind
from app.services.sending import ending, outcomes
from app.services.sending.kept import Kept
from app.services.sending.sender import THREADS, Attempt, Sender, carry_out, claim_next, limits_of
from app.states import Security, SendingStatus, SentCopyState
from tests.support.sending_mailbox import OWNER, PASSWORD, sending_connector, submit
from tests.support.settings import SettingsFactory
from tools.servers.certificates import Certificates
from tools.servers.dovecot import Dovecot
from tools.servers.smtp import SmtpServer

CONTENT = b"Subject: x\r\n\r\nHello\r\n"
A, B, C = "a@example.com", "b@example.com", "c@example.com"


@pytest.fixture
def sender(gateway: Gateway) -> Iterator[Sender]:
    made = Sender(gateway)
    yield made
    made.stop()


@pytest.fixture
def patient(settings: SettingsFactory) -> Iterator[Gateway]:
    """A gateway that waits for a server longer than any test runs."""
    with closing(Gateway.from_settings(settings(command_timeout_s=60))) as made:
        yield made


@pytest.fixture
def mailbox(gateway: Gateway, smtp_server: SmtpServer) -> Connector:
    return sending_connector(gateway, smtp_server)


def run(sender: Sender) -> None:
    sender.send_due()
    assert sender.wait(30)


def run_later(sender: Sender, after: timedelta) -> None:
    """One run of the job, as if that much time had passed."""
    with time_machine.travel(clock.utc_now() + after, tick=True):
        run(sender)


def state(gateway: Gateway, submission_id: str) -> Submission:
    with gateway.db.reading() as session:
        return session.exec(select(Submission).where(col(Submission.id) == submission_id)).one()


def recipients(gateway: Gateway, submission_id: str) -> dict[str, str]:
    with gateway.db.reading() as session:
        return {each.address: each.status for each in _recipients(session, submission_id)}


def _recipients(session: Session, submission_id: str) -> Sequence[SubmissionRecipient]:
    return outcomes.recipients_of(session, submission_id)


def claimed_attempt(gateway: Gateway, connector: Connector) -> Attempt:
    """The next attempt; nobody has carried it out."""
    with gateway.db.unit_of_work() as session:
        claimed = claim_next(session, connector.id, limits_of(gateway))
    assert isinstance(claimed, Attempt)
    return claimed


def sending_of(gateway: Gateway, connector: Connector) -> Connector:
    """The connector as it is now."""
    with gateway.db.reading() as session:
        found = session.get(Connector, connector.id)
    assert found is not None
    return found


def events(gateway: Gateway) -> list[tuple[str, str]]:
    with gateway.db.reading() as session:
        rows = session.exec(select(Event).order_by(col(Event.position))).all()
    return [(row.type.removeprefix("com.aymine.imap."), row.data["status"]) for row in rows]


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
            details = {each.address: each.detail for each in _recipients(session, row.id)}
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
        _behave(smtp_server, behaviour)
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
        _behave(smtp_server, behaviour)
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


class TestRefusals:
    @pytest.mark.parametrize("limit_reply", ["452 4.5.3 Too many recipients", "552 Too many recipients"])
    def test_recipients_for_whom_there_is_no_room_get_further_transactions_at_once(
        self,
        gateway: Gateway,
        sender: Sender,
        mailbox: Connector,
        smtp_server: SmtpServer,
        limit_reply: str,
    ) -> None:
        smtp_server.behaviour.recipient_limit, smtp_server.behaviour.limit_reply = 3, limit_reply
        smtp_server.behaviour.recipient_replies = {"r4@example.com": "550 5.1.1 No such user"}
        made = submit(gateway, mailbox, *(f"r{number}@example.com" for number in range(8)))
        before = smtp_server.connections
        run(sender)
        assert [len(mail.envelope_recipients) for mail in smtp_server.mails] == [3, 3, 1]
        got = [address for mail in smtp_server.mails for address in mail.envelope_recipients]
        assert sorted(got) == [f"r{number}@example.com" for number in range(8) if number != 4]
        row = state(gateway, made.submission.id)
        assert (row.status, row.attempts, row.error_code) == ("partly_sent", 1, "recipient_refused")
        assert row.error_enhanced_status == "5.1.1"
        assert smtp_server.connections == before + 1

    def test_a_server_that_takes_nobody_is_not_asked_for_ever(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        smtp_server.behaviour.recipient_limit = 0
        made = submit(gateway, mailbox, A, B)
        run(sender)
        row = state(gateway, made.submission.id)
        assert (row.status, row.error_code) == ("queued", "mail_deferred")
        assert recipients(gateway, row.id) == {A: "deferred", B: "deferred"}

    @pytest.mark.parametrize(
        "replies",
        [
            [b"554 5.7.1 Not from your address\r\n"],
            [b"220 hi\r\n", b"550 5.7.1 Bad name\r\n", b"550 5.7.1 Bad name\r\n"],
            [b"220 hi\r\n", b"421 4.7.0 Try again later (EHLO)\r\n"],
        ],
    )
    def test_a_refusal_before_the_login_is_about_the_server_and_the_mail_waits(
        self, gateway: Gateway, sender: Sender, smtp_server: SmtpServer, replies: list[bytes]
    ) -> None:
        with scripted_server(replies) as port:
            made = submit(gateway, sending_connector(gateway, smtp_server, smtp_port=port), A)
            run(sender)
        row = state(gateway, made.submission.id)
        assert (row.status, row.attempts) == ("queued", 1)
        assert recipients(gateway, row.id) == {A: "deferred"}
        assert row.error_server_text is not None
        assert row.error_server_text.encode() == replies[-1].strip()

    def test_starttls_that_is_refused_for_now_is_told_by_the_connector(
        self, gateway: Gateway, sender: Sender, smtp_server: SmtpServer
    ) -> None:
        with scripted_server([b"220 hi\r\n", b"250 hi\r\n", b"454 4.7.0 TLS not available\r\n"]) as port:
            at = sending_connector(gateway, smtp_server, smtp_security="starttls", smtp_port=port)
            made = submit(gateway, at, A)
            run(sender)
        assert state(gateway, made.submission.id).status == "queued"
        found = sending_of(gateway, at)
        assert (found.sending_status, found.sending_error_code) == ("waiting", "mail_server_unavailable")
        assert found.sending_error_server_text == "454 4.7.0 TLS not available"

    @pytest.mark.parametrize(
        ("step", "said", "code"),
        [
            ("sender_reply", "530 5.7.0 Authentication required", "login_wanted"),
            ("recipient", "530 5.7.0 Authentication required", "login_wanted"),
            ("sender_reply", "550 5.4.5 Daily user sending limit exceeded", "sending_limit_reached"),
            ("data_reply", "550 5.4.5 Daily user sending limit exceeded", "sending_limit_reached"),
            ("recipient", "550 5.1.90 You have reached your daily limit", "sending_limit_reached"),
        ],
    )
    def test_an_account_from_which_nothing_is_taken_waits_longer_and_longer(
        self,
        gateway: Gateway,
        sender: Sender,
        mailbox: Connector,
        smtp_server: SmtpServer,
        step: str,
        said: str,
        code: str,
    ) -> None:
        if step == "recipient":
            smtp_server.behaviour.recipient_replies = {A: said}
        else:
            setattr(smtp_server.behaviour, step, said)
        made = [submit(gateway, mailbox, A).submission.id for _ in range(3)]
        waits, after, asked = [], timedelta(), smtp_server.connections
        for _ in range(4):
            with time_machine.travel(clock.utc_now() + after, tick=True):
                run(sender)
                row = sending_of(gateway, mailbox)
                assert (row.sending_status, row.sending_error_code) == ("waiting", code)
                assert row.sending_next_attempt_at is not None
                waits.append(row.sending_next_attempt_at - clock.utc_now())
            after += waits[-1]
        assert smtp_server.connections - asked <= 4
        assert all(before * 1.3 < later for before, later in itertools.pairwise(waits))
        assert {state(gateway, each).status for each in made} == {"queued"}
        smtp_server.reset()
        run_later(sender, after + timedelta(hours=5))
        assert {state(gateway, each).status for each in made} == {"sent"}
        row = sending_of(gateway, mailbox)
        assert (row.sending_status, row.sending_error_code) == ("active", None)

    def test_starttls_that_is_not_offered_is_about_the_server_and_the_connector_says_so(
        self, gateway: Gateway, sender: Sender, smtp_server: SmtpServer
    ) -> None:
        with scripted_server([b"220 hi\r\n", b"250 hi\r\n", b"502 5.5.1 What?\r\n"]) as port:
            at = sending_connector(gateway, smtp_server, smtp_security="starttls", smtp_port=port)
            made = submit(gateway, at, A)
            run(sender)
        assert state(gateway, made.submission.id).status == "queued"
        with gateway.db.reading() as session:
            found = session.get(Connector, at.id)
        assert found is not None
        assert (found.sending_status, found.sending_error_code) == ("waiting", "starttls_not_offered")

    @pytest.mark.parametrize(
        ("said", "code", "status"),
        [
            ("552 5.3.4 Message size exceeds fixed limit", "mail_too_large", "failed"),
            ("554 5.2.252 SendAsDenied", "sender_refused", "failed"),
            ("530 5.7.0 Authentication required", "login_wanted", "queued"),
            ("451 4.3.0 Later", "mail_deferred", "queued"),
        ],
    )
    def test_the_code_of_a_refusal_is_told(
        self,
        gateway: Gateway,
        sender: Sender,
        mailbox: Connector,
        smtp_server: SmtpServer,
        said: str,
        code: str,
        status: str,
    ) -> None:
        smtp_server.behaviour.sender_reply = said
        made = submit(gateway, mailbox, A)
        run(sender)
        row = state(gateway, made.submission.id)
        assert (row.status, row.error_code, row.error_enhanced_status) == (status, code, said.split()[1])
        assert row.error_server_text == said
        with gateway.db.reading() as session:
            [recipient] = _recipients(session, row.id)
        assert recipient.detail is not None
        assert " ".join(said.split()[:2]) in recipient.detail

    def test_the_machine_greets_by_its_name_or_its_address(
        self, settings: SettingsFactory, smtp_server: SmtpServer
    ) -> None:
        greetings: list[bytes] = []

        def serve(connection: socket.socket) -> None:
            connection.sendall(b"220 hi\r\n")
            greetings.append(connection.recv(1000))
            connection.sendall(b"421 4.7.0 no\r\n")

        with _accepting(serve) as port:
            for name in (None, "gateway.example.com"):
                with closing(Gateway.from_settings(settings(ehlo_name=name))) as made:
                    submit(made, sending_connector(made, smtp_server, smtp_port=port), A)
                    each = Sender(made)
                    run(each)
                    each.stop()
        assert greetings == [b"ehlo [127.0.0.1]\r\n", b"ehlo gateway.example.com\r\n"]

    def test_a_burst_takes_one_connection(
        self, gateway: Gateway, sender: Sender, mailbox: Connector, smtp_server: SmtpServer
    ) -> None:
        smtp_server.behaviour.recipient_replies = {B: "550 5.1.1 No such user"}
        before = smtp_server.connections
        made = [submit(gateway, mailbox, to).submission.id for to in (A, B, C, A)]
        run(sender)
        assert [state(gateway, each).status for each in made] == ["sent", "failed", "sent", "sent"]
        assert smtp_server.connections == before + 1

    def test_a_connection_that_the_server_ends_after_a_mail_costs_no_attempt(
        self, gateway: Gateway, sender: Sender, smtp_server: SmtpServer
    ) -> None:
        def serve(connection: socket.socket) -> None:
            mails, within = 0, False
            connection.sendall(b"220 hi\r\n")
            for line in connection.makefile("rb"):
                mails += line == b".\r\n"
                if within and line != b".\r\n":
                    continue
                within = line.upper() == b"DATA\r\n"
                if mails and line.upper().startswith(b"MAIL"):
                    connection.sendall(b"421 4.7.0 enough\r\n")
                    return
                connection.sendall(b"354 go\r\n" if within else b"250 ok\r\n")

        with _accepting(serve) as port:
            at = sending_connector(gateway, smtp_server, smtp_port=port)
            made = [submit(gateway, at, A).submission.id for _ in range(3)]
            run(sender)
        found = [(state(gateway, each).status, state(gateway, each).attempts) for each in made]
        assert found == [("sent", 1)] * 3


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


class TestFairness:
    def test_a_server_that_hangs_does_not_hold_up_the_others(
        self, patient: Gateway, smtp_server: SmtpServer
    ) -> None:
        sender = Sender(patient)
        with silent_server() as port, SmtpServer() as placeholder:
            hanging = [
                sending_connector(patient, placeholder, smtp_host="localhost", smtp_port=port)
                for _ in range(THREADS + 4)
            ]
            for each in hanging:
                submit(patient, each)
            sender.send_due()
            healthy = submit(patient, sending_connector(patient, smtp_server), A)

            def is_sent() -> bool:
                sender.send_due()
                return state(patient, healthy.submission.id).status == "sent"

            _until(is_sent, timeout_s=30)  # half the time that a server may hang
            sender.stop()

    def test_one_owners_silent_servers_do_not_hold_up_another_owner(
        self, patient: Gateway, smtp_server: SmtpServer
    ) -> None:
        sender = Sender(patient)
        bob = Principal(kind=PrincipalKind.USER, id="bob")
        with silent_server() as one, silent_server() as two, silent_server() as three, SmtpServer() as other:
            for port in (one, two, three) * 8:
                submit(patient, sending_connector(patient, other, smtp_port=port, owner="bob"), by=bob)
            sender.send_due()
            mine = submit(patient, sending_connector(patient, smtp_server), A)

            def is_sent() -> bool:
                sender.send_due()
                return state(patient, mine.submission.id).status == "sent"

            _until(is_sent, timeout_s=30)  # half the time that a server may hang
            sender.stop()

    def test_a_closed_port_gives_no_rest_to_another_port_of_the_host(
        self, gateway: Gateway, sender: Sender, smtp_server: SmtpServer
    ) -> None:
        closed = sending_connector(gateway, smtp_server, smtp_port=1)
        failed, mine = submit(gateway, closed), submit(gateway, sending_connector(gateway, smtp_server), A)
        with gateway.db.unit_of_work() as session:  # not due before the other has failed
            session.merge(mine.submission).next_attempt_at = clock.utc_now() + timedelta(minutes=1)
        run(sender)
        assert state(gateway, failed.submission.id).status == "queued"
        with gateway.db.unit_of_work() as session:
            session.merge(mine.submission).next_attempt_at = clock.utc_now()
        run(sender)
        assert state(gateway, mine.submission.id).status == "sent"

    def test_a_server_that_sends_one_account_away_is_tried_for_another(
        self, gateway: Gateway, sender: Sender
    ) -> None:
        busy = [b"220 hi\r\n", b"250-hi\r\n250 AUTH PLAIN\r\n", b"454 4.7.0 not now\r\n", b"221 bye\r\n"]
        with scripted_server(busy) as port, SmtpServer() as other:
            first = submit(gateway, sending_connector(gateway, other, smtp_port=port))
            run(sender)
            second = submit(gateway, sending_connector(gateway, other, smtp_port=port))
            run(sender)
        assert [state(gateway, each.submission.id).attempts for each in (first, second)] == [1, 1]

    def test_stopping_gives_up_what_hangs_and_queues_it_again(self, patient: Gateway) -> None:
        sender = Sender(patient)
        with silent_server() as port, SmtpServer() as placeholder:
            hanging = sending_connector(patient, placeholder, smtp_port=port)
            made = submit(patient, hanging)
            sender.send_due()
            _until(lambda: state(patient, made.submission.id).status == "sending")
            started = time.monotonic()
            sender.stop()
            assert time.monotonic() - started < 30
        assert state(patient, made.submission.id).status == "queued"


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


class TestAdapter:
    """The SMTP conversation itself."""

    def deliver(self, server: Server, *to: str, **options: Any) -> list[Outcome]:
        values: dict[str, Any] = {
            "network": NetworkPolicy(_networks("127.0.0.0/8", "::1/128")),
            "tls": ssl.create_default_context(),
            "limits": Limits(connect_s=2, command_s=3, attempt_s=6, answer_s=3),
            **options,
        }
        content = values.pop("content", CONTENT)
        results = smtp.submit(server, Envelope("info@firma.cz", to or (A,)), content, **values)
        return [result.outcome for result in results]

    @pytest.mark.parametrize("security", list(Security))
    def test_logs_in_over_every_kind_of_connection(
        self, security: Security, certificates: Certificates
    ) -> None:
        with SmtpServer(
            security=security, certificates=certificates, user="info", password=PASSWORD, auth_required=True
        ) as server:
            target = Server("127.0.0.1", server.port, security, "info", PASSWORD)
            assert self.deliver(target, tls=certificates.client_context()) == [Outcome.ACCEPTED]
            [mail] = server.mails
            assert (mail.over_tls, mail.authenticated_as) == (security != Security.NONE, "info")
            wrong = dataclasses.replace(target, password="wrong")
            with pytest.raises(LoginRefused):
                self.deliver(wrong, tls=certificates.client_context())

    @pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
    def test_a_certificate_nobody_vouches_for_is_refused(
        self, security: Security, certificates: Certificates
    ) -> None:
        with SmtpServer(security=security, certificates=certificates) as server:
            with pytest.raises(CertificateRefused):
                self.deliver(Server("127.0.0.1", server.port, security))
            assert server.mails == []

    def test_a_server_without_starttls_gets_no_password(self) -> None:
        with SmtpServer(user="info", password=PASSWORD) as server, pytest.raises(MailServerUnavailable):
            self.deliver(Server("127.0.0.1", server.port, Security.STARTTLS, "info", PASSWORD))

    def test_plain_text_is_not_spoken_outside_the_allowed_private_networks(
        self, smtp_server: SmtpServer
    ) -> None:
        with pytest.raises(HostUnreachable):
            self.deliver(Server("127.0.0.1", smtp_server.port, Security.NONE), network=NetworkPolicy())

    @pytest.mark.parametrize("address", ["a@b.cz\r\nRCPT TO:<x@y.cz>", "a b@c.cz", "a@b.cz>", "é@b.cz", ""])
    def test_an_address_that_is_a_command_is_not_sent(self, smtp_server: SmtpServer, address: str) -> None:
        with pytest.raises(CommandRefused):
            self.deliver(Server("127.0.0.1", smtp_server.port, Security.NONE), address)

    def test_bare_line_ends_cannot_smuggle_a_second_mail(self, smtp_server: SmtpServer) -> None:
        content = b"Subject: x\n\nHello\n.\nMAIL FROM:<x@y.cz>\r.\r\n..\r\n.\r\nend"
        assert self.deliver(Server("127.0.0.1", smtp_server.port, Security.NONE), content=content) == [
            Outcome.ACCEPTED
        ]
        [mail] = smtp_server.mails
        assert mail.raw == b"Subject: x\r\n\r\nHello\r\n.\r\nMAIL FROM:<x@y.cz>\r\n.\r\n..\r\n.\r\nend\r\n"

    @pytest.mark.parametrize(
        ("replies", "error"),
        [
            ([], ConnectionLost),
            ([b"554 no\r\n"], CommandRefused),
            ([b"421 busy\r\n"], TooManyConnections),
            ([b"450 later\r\n"], MailServerUnavailable),
            ([b"HTTP/1.1 400 Bad Request\r\n"], NotSmtp),
            ([b"220 " + b"x" * 10_000 + b"\r\n"], ConnectionLost),
            ([b"220-x\r\n" * 1000], ConnectionLost),
            ([b"220 hi\r\n", b"502 no\r\n", b"502 no\r\n"], CommandRefused),
            ([b"220 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 what\r\n"], CommandRefused),
        ],
    )
    def test_a_server_gone_wrong_is_an_error_of_the_tree(
        self, replies: list[bytes], error: type[MailServerError]
    ) -> None:
        with scripted_server(replies) as port, pytest.raises(error) as caught:
            self.deliver(Server("127.0.0.1", port, Security.NONE))
        assert type(caught.value) is error

    def test_a_lost_connection_before_the_dot_is_an_error_and_after_it_uncertain(self) -> None:
        # Banner, EHLO, MAIL, RCPT, and DATA, whose answer is followed by one read of the content.
        before = [b"220 hi\r\n", *[b"250 ok\r\n"] * 3]
        with scripted_server(before) as port, pytest.raises(ConnectionLost):
            self.deliver(Server("127.0.0.1", port, Security.NONE))
        with scripted_server([*before, b"354 go\r\n"]) as port:
            assert self.deliver(Server("127.0.0.1", port, Security.NONE)) == [Outcome.UNCERTAIN]

    def test_no_answer_to_the_dot_is_uncertain(self, smtp_server: SmtpServer) -> None:
        smtp_server.behaviour.data_delay_s = 3
        limits = Limits(connect_s=2, command_s=1, attempt_s=5, answer_s=0.3)
        target = Server("127.0.0.1", smtp_server.port, Security.NONE)
        assert self.deliver(target, limits=limits) == [Outcome.UNCERTAIN]

    def test_a_server_that_gives_one_octet_at_a_time_meets_the_deadline(self) -> None:
        with dripping_server() as port:
            started = time.monotonic()
            limits = Limits(connect_s=2, command_s=2, attempt_s=1, answer_s=1)
            with pytest.raises(MailServerTimeout):
                self.deliver(Server("127.0.0.1", port, Security.NONE), limits=limits)
            assert time.monotonic() - started < 30


def _behave(server: SmtpServer, behaviour: dict[str, Any]) -> None:
    for name, value in behaviour.items():
        setattr(server.behaviour, name, value)


def _networks(*texts: str) -> list[Any]:
    return [ipaddress.ip_network(text) for text in texts]


def _until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.02)


@contextmanager
def _accepting(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on a free port; each connection is served in a thread of its own."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        opened: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                opened.append(connection)
                threading.Thread(target=_quietly, args=(serve, connection), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        for connection in opened:
            connection.close()
        thread.join(5)


def _quietly(serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with suppress(OSError):
        serve(connection)


@contextmanager
def silent_server() -> Iterator[int]:
    """Takes connections and says nothing."""
    with _accepting(lambda connection: None) as port:
        yield port


@contextmanager
def scripted_server(replies: list[bytes]) -> Iterator[int]:
    """Gives the replies, one before each thing it reads, then closes."""

    def serve(connection: socket.socket) -> None:
        for reply in replies:
            connection.sendall(reply)
            if not connection.recv(65536):
                break
        connection.close()

    with _accepting(serve) as port:
        yield port


@contextmanager
def dripping_server() -> Iterator[int]:
    """A greeting without end, one octet at a time."""

    def serve(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"2")
            threading.Event().wait(0.1)

    with _accepting(serve) as port:
        yield port
