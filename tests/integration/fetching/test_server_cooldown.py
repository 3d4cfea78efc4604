"""A server that turns everybody away is left in peace, and found again when it is well; a mailbox that is turned away
alone keeps no other waiting."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from app import clock
from app.gateway import Gateway
from app.services.fetching.sweep import Sweeper
from tests.support.fetched_mailbox import Mailbox, mailbox
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import ImapProxy, answer
from tools.servers.process import wait_until

WAIT_S = 20.0
BOXES = 8


@pytest.fixture
def now() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime.now(UTC), tick=True) as made:
        yield made


@pytest.fixture
def sweeper(gateway: Gateway) -> Iterator[Sweeper]:
    made = Sweeper(gateway)
    yield made
    made.stop()


@pytest.fixture
def boxes(gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy) -> list[Mailbox]:
    """Mailboxes of one server, each with a mail."""
    made = [mailbox(gateway, dovecot, imap_port=imap_proxy.port) for _ in range(BOXES)]
    for box in made:
        dovecot.deliver(box.user, mail())
    return made


def let_be_due(boxes: list[Mailbox]) -> None:
    """Whatever each connector's own back-off says."""
    for box in boxes:
        box.set(next_fetch_at=clock.utc_now() - timedelta(seconds=1))


def failing(boxes: list[Mailbox]) -> list[Mailbox]:
    return [box for box in boxes if box.connector.status == "failing"]


def sweep_until(sweeper: Sweeper, condition: Callable[[], bool], what: str) -> None:
    def swept() -> bool:
        sweeper.sweep()
        return condition()

    wait_until(swept, WAIT_S, what)


def banned(proxy: ImapProxy) -> None:
    proxy.turn_away(b"")


def too_busy(proxy: ImapProxy) -> None:
    proxy.turn_away(b"* BYE too busy, come again\r\n")


def unavailable(proxy: ImapProxy) -> None:
    proxy.break_on("LOGIN", answer("NO [UNAVAILABLE] not now"), times=1000)


def crowded(proxy: ImapProxy) -> None:
    proxy.break_on("LOGIN", answer("NO [LIMIT] too many connections"), times=1000)


@pytest.mark.parametrize("turn_away", [banned, too_busy, unavailable, crowded])
def test_a_server_that_turns_all_away_is_asked_by_three_and_then_left_in_peace(
    boxes: list[Mailbox], imap_proxy: ImapProxy, sweeper: Sweeper, turn_away: Callable[[ImapProxy], None]
) -> None:
    turn_away(imap_proxy)
    let_be_due(boxes)
    sweep_until(sweeper, lambda: len(failing(boxes)) == 3, "three that were turned away")
    let_be_due(boxes)
    for _ in range(5):
        sweeper.sweep()
    sweeper.stop()  # and whatever was started has ended
    assert imap_proxy.connections == 3
    assert len(failing(boxes)) == 3


def test_after_the_pause_one_probes_and_when_it_is_let_in_all_are_fetched_from(
    boxes: list[Mailbox], imap_proxy: ImapProxy, sweeper: Sweeper, now: time_machine.Traveller
) -> None:
    banned(imap_proxy)
    let_be_due(boxes)
    sweep_until(sweeper, lambda: len(failing(boxes)) == 3, "three that were turned away")
    now.shift(61)
    let_be_due(boxes)
    sweep_until(sweeper, lambda: len(failing(boxes)) == 4, "a probe by one that had not been turned away")
    let_be_due(boxes)
    for _ in range(5):
        sweeper.sweep()
    assert imap_proxy.connections == 4
    imap_proxy.turn_away(None)
    now.shift(121)
    let_be_due(boxes)
    sweep_until(sweeper, lambda: all(box.messages() for box in boxes), "mail from all")


def test_a_server_that_asks_for_a_pause_gets_it_from_all_its_mailboxes(
    gateway: Gateway,
    dovecot: Dovecot,
    boxes: list[Mailbox],
    imap_proxy: ImapProxy,
    sweeper: Sweeper,
    now: time_machine.Traveller,
) -> None:
    throttled = "BAD Request is throttled. Suggested Backoff Time: 120000 milliseconds"
    imap_proxy.break_on("SELECT", answer(throttled))
    asked, *others = boxes
    let_be_due([asked])
    sweep_until(sweeper, lambda: asked.connector.last_error_code == "throttled", "the server's wish")
    elsewhere = mailbox(gateway, dovecot)
    dovecot.deliver(elsewhere.user, mail())
    let_be_due([*others, elsewhere])
    sweep_until(sweeper, lambda: bool(elsewhere.messages()), "mail from another server")
    assert imap_proxy.connections == 1
    now.shift(121)
    sweep_until(sweeper, lambda: all(box.messages() for box in boxes), "mail from all")


def test_a_fetch_by_command_does_not_wait_and_ends_the_rest_when_it_is_let_in(
    boxes: list[Mailbox], imap_proxy: ImapProxy, sweeper: Sweeper
) -> None:
    banned(imap_proxy)
    let_be_due(boxes)
    sweep_until(sweeper, lambda: len(failing(boxes)) == 3, "three that were turned away")
    imap_proxy.turn_away(None)
    assert boxes[-1].fetch_well().stored == 1
    let_be_due(boxes)
    sweep_until(sweeper, lambda: all(box.messages() for box in boxes), "mail from all")


def test_one_mailbox_that_is_turned_away_again_and_again_keeps_no_other_waiting(
    boxes: list[Mailbox], imap_proxy: ImapProxy, sweeper: Sweeper
) -> None:
    bad, *others = boxes
    login = f'LOGIN "{re.escape(bad.user)}"'
    imap_proxy.break_on(login, answer("NO [UNAVAILABLE] not you"), times=1000)
    for _ in range(5):
        assert bad.fetch().error_code == "mail_server_unavailable"
    let_be_due(others)
    sweep_until(sweeper, lambda: all(box.messages() for box in others), "mail from the others")
    assert bad.messages() == []
