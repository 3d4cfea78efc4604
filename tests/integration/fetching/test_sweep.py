"""The sweep: due connectors are fetched from by themselves, and a bad mailbox does not stop another."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import pytest

from app import clock
from app.gateway import Gateway
from app.services.fetching.sweep import Sweeper
from tests.support.fetched_mailbox import Mailbox, mailbox
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import ImapProxy, answer
from tools.servers.process import wait_until
from tools.servers.silent import SilentServer

WAIT_S = 20.0


@pytest.fixture
def sweeper(gateway: Gateway) -> Iterator[Sweeper]:
    made = Sweeper(gateway)
    yield made
    made.stop()


def due(box: Mailbox) -> Mailbox:
    box.set(next_fetch_at=clock.utc_now() - timedelta(seconds=1))
    return box


def until_stored(sweeper: Sweeper, box: Mailbox, count: int, within_s: float = WAIT_S) -> None:
    def is_stored() -> bool:
        sweeper.sweep()
        return len(box.messages()) == count

    wait_until(is_stored, within_s, f"{count} stored messages")


def test_a_connector_that_is_due_is_fetched_from_and_then_waits_its_interval(
    gateway: Gateway, dovecot: Dovecot, sweeper: Sweeper
) -> None:
    box = due(mailbox(gateway, dovecot, poll_interval_s=60))
    dovecot.deliver(box.user, mail())
    until_stored(sweeper, box, 1)
    wait_until(lambda: box.connector.last_success_at is not None, WAIT_S, "the cycle's end")
    next_fetch_at = box.connector.next_fetch_at
    assert next_fetch_at is not None
    assert next_fetch_at > clock.utc_now() + timedelta(seconds=30)


@pytest.mark.parametrize("status", ["paused", "stopped", "awaiting_credentials", "awaiting_confirmation"])
def test_a_connector_that_is_not_to_be_fetched_from_is_left_alone(
    gateway: Gateway, dovecot: Dovecot, sweeper: Sweeper, status: str
) -> None:
    idle, active = due(mailbox(gateway, dovecot, status=status)), due(mailbox(gateway, dovecot))
    dovecot.deliver(idle.user, mail())
    dovecot.deliver(active.user, mail())
    until_stored(sweeper, active, 1)
    assert idle.messages() == []
    assert len(idle.raws("INBOX")) == 1


def test_mailboxes_that_hang_do_not_keep_a_healthy_one_waiting(
    gateway: Gateway, dovecot: Dovecot, sweeper: Sweeper
) -> None:
    with SilentServer() as server:
        hanging = [due(mailbox(gateway, dovecot, imap_port=server.port, status="failing")) for _ in range(5)]
        sweeper.sweep()
        healthy = due(mailbox(gateway, dovecot))
        dovecot.deliver(healthy.user, mail())
        until_stored(sweeper, healthy, 1)
        assert all(box.messages() == [] for box in hanging)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("status", ["active", "failing"])
def test_one_owners_many_mailboxes_that_hang_do_not_keep_another_owner_waiting(
    settings: SettingsFactory, dovecot: Dovecot, status: str
) -> None:
    patient = settings(fetch_threads=8, command_timeout_s=60)
    with contextlib.closing(Gateway.from_settings(patient)) as gateway:
        sweeper = Sweeper(gateway)
        with SilentServer() as one, SilentServer() as two:
            for server in (one, two) * 10:
                due(mailbox(gateway, dovecot, owner="bob", imap_port=server.port, status=status))
            sweeper.sweep()
            mine = due(mailbox(gateway, dovecot, owner="jana", status=status))
            dovecot.deliver(mine.user, mail())
            until_stored(sweeper, mine, 1, within_s=30)  # half the time that a server may hang
        sweeper.stop()


def test_a_refused_login_only_spaces_out_the_others_of_the_host(
    gateway: Gateway, dovecot: Dovecot, sweeper: Sweeper
) -> None:
    wrong = due(mailbox(gateway, dovecot, password="wrong"))
    sweeper.sweep()
    wait_until(lambda: wrong.connector.last_error_code == "login_refused", WAIT_S, "the refusal")
    right = due(mailbox(gateway, dovecot))
    dovecot.deliver(right.user, mail())
    until_stored(sweeper, right, 1)
    assert wrong.connector.refused_logins == 1


def test_a_server_that_asks_for_a_pause_gets_it(
    gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy
) -> None:
    throttled = "BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds"
    imap_proxy.break_on("SELECT", answer(throttled))
    box = mailbox(gateway, dovecot, imap_port=imap_proxy.port)
    assert box.fetch().error_code == "throttled"
    next_fetch_at = box.connector.next_fetch_at
    assert next_fetch_at is not None
    assert timedelta(seconds=240) < next_fetch_at - clock.utc_now() < timedelta(seconds=301)


def test_two_instances_on_one_mailbox_double_nothing(
    gateway: Gateway, settings: SettingsFactory, dovecot: Dovecot
) -> None:
    box = mailbox(gateway, dovecot, first_fetch="all")
    dovecot.deliver_all(box.user, [mail(str(number)) for number in range(60)])
    with contextlib.closing(Gateway.from_settings(settings())) as other:
        sweepers = [Sweeper(gateway), Sweeper(other)]
        for _ in range(3):
            due(box)
            for each in sweepers:
                each.sweep()
        wait_until(lambda: len(box.raws("INBOX")) == 0, WAIT_S, "an empty source folder")
        for each in sweepers:
            each.stop()
    assert len(box.messages()) == 60
    assert len(box.raws("Trash")) == 60
