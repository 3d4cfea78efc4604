"""Refusals of real SMTP servers: which mail ends, which waits, and what the connector says."""

import itertools
import socket
from contextlib import closing
from datetime import timedelta

import pytest
import time_machine

from app import clock
from app.gateway import Gateway
from app.models import Connector
from app.services.sending.sender import Sender
from tests.support.sender_runs import A, B, C, recipient_rows, recipients, run, run_later, sending_of, state
from tests.support.sending_mailbox import sending_connector, submit
from tests.support.settings import SettingsFactory
from tests.support.smtp_talk import accepting, scripted_server
from tools.servers.smtp import SmtpServer


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
            [recipient] = recipient_rows(session, row.id)
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

        with accepting(serve) as port:
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

        with accepting(serve) as port:
            at = sending_connector(gateway, smtp_server, smtp_port=port)
            made = [submit(gateway, at, A).submission.id for _ in range(3)]
            run(sender)
        found = [(state(gateway, each).status, state(gateway, each).attempts) for each in made]
        assert found == [("sent", 1)] * 3
