"""One copy of each sent mail, whoever files it: the gateway or the provider."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlmodel import col, select

from app import clock
from app.gateway import Gateway
from app.models import Connector, Submission
from app.services.sending.sender import Sender
from tests.support.sending_mailbox import sending_connector, submit
from tools.servers.dovecot import Dovecot
from tools.servers.smtp import SmtpServer


@pytest.fixture
def sender(gateway: Gateway) -> Iterator[Sender]:
    made = Sender(gateway)
    yield made
    made.stop()


class Mailbox:
    """A mailbox whose provider may file what it sends."""

    def __init__(self, gateway: Gateway, sender: Sender, smtp: SmtpServer, dovecot: Dovecot, **settings: Any):
        self._gateway, self._sender, self._smtp, self._dovecot = gateway, sender, smtp, dovecot
        self.user = dovecot.new_user()
        self.connector = sending_connector(
            gateway,
            smtp,
            imap_port=dovecot.port,
            imap_username=self.user,
            password=dovecot.password,
            **settings,
        )
        self._now = clock.utc_now()

    def send(self) -> str:
        made = submit(self._gateway, self.connector, bcc=["tajny@example.com"])
        self.after(timedelta())
        return made.submission.id

    def after(self, span: timedelta) -> None:
        """One run of the job, so much later."""
        self._now += span
        with time_machine.travel(max(self._now, clock.utc_now()), tick=True):
            self._sender.send_due()
            assert self._sender.wait(60)

    def provider_files(self) -> None:
        """The provider files the mail that was sent last, as it got it."""
        self._dovecot.deliver(self.user, self._smtp.mails[-1].raw, "Sent")

    @property
    def copies(self) -> int:
        return len(self._dovecot.messages(self.user, "Sent"))

    @property
    def learnt(self) -> bool | None:
        with self._gateway.db.reading() as session:
            found = session.get(Connector, self.connector.id)
        assert found is not None
        return found.provider_files_sent

    def state(self, submission_id: str) -> str:
        with self._gateway.db.reading() as session:
            statement = select(Submission).where(col(Submission.id) == submission_id)
            return session.exec(statement).one().sent_copy.value


@pytest.fixture
def mailbox(gateway: Gateway, sender: Sender, smtp_server: SmtpServer, dovecot: Dovecot) -> Mailbox:
    return Mailbox(gateway, sender, smtp_server, dovecot)


def test_a_provider_that_files_is_seen_and_left_to_it(mailbox: Mailbox) -> None:
    first = mailbox.send()
    assert mailbox.copies == 0
    mailbox.provider_files()
    mailbox.after(timedelta(seconds=15))
    assert (mailbox.copies, mailbox.learnt, mailbox.state(first)) == (1, True, "filed")
    second = mailbox.send()
    mailbox.after(timedelta(seconds=30))
    assert (mailbox.copies, mailbox.state(second)) == (1, "pending")
    mailbox.provider_files()
    mailbox.after(timedelta(seconds=35))
    assert (mailbox.copies, mailbox.state(second)) == (2, "filed")


def test_a_provider_that_fails_to_file_once_does_not_leave_none(mailbox: Mailbox) -> None:
    mailbox.send()
    mailbox.provider_files()
    mailbox.after(timedelta(seconds=15))
    second = mailbox.send()
    mailbox.after(timedelta(seconds=65))
    assert (mailbox.copies, mailbox.state(second)) == (1, "pending")
    mailbox.after(timedelta(minutes=2))
    assert (mailbox.copies, mailbox.state(second)) == (2, "filed")


def test_a_provider_that_does_not_file_costs_one_wait(mailbox: Mailbox) -> None:
    made = [mailbox.send() for _ in range(3)]
    mailbox.after(timedelta(seconds=15))
    assert (mailbox.copies, mailbox.learnt) == (3, False)
    made.append(mailbox.send())
    assert mailbox.copies == 4
    mailbox.after(timedelta(minutes=2))
    assert (mailbox.copies, mailbox.learnt) == (4, False)
    assert {mailbox.state(each) for each in made} == {"filed"}


def test_a_slow_provider_is_noticed_and_our_copy_taken_away(mailbox: Mailbox) -> None:
    first = mailbox.send()
    mailbox.after(timedelta(seconds=15))
    assert (mailbox.copies, mailbox.learnt) == (1, False)
    mailbox.provider_files()
    assert mailbox.copies == 2
    mailbox.after(timedelta(seconds=65))
    assert (mailbox.copies, mailbox.learnt, mailbox.state(first)) == (1, True, "filed")


@pytest.mark.parametrize(("file_sent", "copies", "state"), [("always", 1, "filed"), ("never", 0, "none")])
def test_always_and_never_are_done_at_once(
    gateway: Gateway,
    sender: Sender,
    smtp_server: SmtpServer,
    dovecot: Dovecot,
    file_sent: str,
    copies: int,
    state: str,
) -> None:
    mailbox = Mailbox(gateway, sender, smtp_server, dovecot, smtp_file_sent=file_sent)
    made = mailbox.send()
    mailbox.after(timedelta(minutes=5))
    assert (mailbox.copies, mailbox.state(made), mailbox.learnt) == (copies, state, None)
