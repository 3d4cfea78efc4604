"""Servers that hang, and accounts that are refused: the mail of others goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from app import clock
from app.gateway import Gateway
from app.services.access.rules import Principal, PrincipalKind
from app.services.sending.sender import THREADS, Sender
from tests.support.sender_runs import A, run, state
from tests.support.sending_mailbox import sending_connector, submit
from tests.support.settings import SettingsFactory
from tests.support.smtp_talk import scripted_server, silent_server
from tools.servers.smtp import SmtpServer


@pytest.fixture
def patient(settings: SettingsFactory) -> Iterator[Gateway]:
    """A gateway that waits for a server longer than any test runs."""
    with closing(Gateway.from_settings(settings(command_timeout_s=60))) as made:
        yield made


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


def _until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.02)
