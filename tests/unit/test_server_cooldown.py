"""When a server rests, for how long, and what ends it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine

from app.server_cooldown import PAUSE, ServerCooldown, server_name

HOST = server_name("IMAP.firma.invalid", 993, "tls")


@pytest.fixture
def now() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC), tick=False) as made:
        yield made


@pytest.fixture
def cooldown() -> ServerCooldown:
    return ServerCooldown()


def turn_away(cooldown: ServerCooldown, *mailboxes: str) -> None:
    for mailbox in mailboxes:
        cooldown.record_turned_away(HOST, mailbox)


def pause_s(cooldown: ServerCooldown, now: time_machine.Traveller) -> int:
    """How long nobody may connect from now on; that time is over then."""
    seconds = 0
    while not cooldown.may_connect(HOST, connected=0):
        now.shift(1)
        seconds += 1
    return seconds


def test_a_server_is_one_whatever_the_case_of_its_name() -> None:
    assert server_name("imap.FIRMA.invalid", 993, "tls") == HOST
    assert server_name("imap.firma.invalid", 993, "starttls") != HOST


@pytest.mark.usefixtures("now")
def test_three_mailboxes_turned_away_start_a_cooldown_and_one_never_does(cooldown: ServerCooldown) -> None:
    turn_away(cooldown, *["a"] * 50, "b")
    assert cooldown.may_connect(HOST, connected=5)
    turn_away(cooldown, "c")
    assert not cooldown.may_connect(HOST, connected=0)
    assert cooldown.may_connect(server_name("other.invalid", 993, "tls"), connected=5)


@pytest.mark.usefixtures("now")
def test_a_mailbox_that_is_let_in_between_keeps_the_cooldown_from_starting(cooldown: ServerCooldown) -> None:
    turn_away(cooldown, "a", "b")
    cooldown.record_let_in(HOST)
    turn_away(cooldown, "c", "d")
    assert cooldown.may_connect(HOST, connected=5)


def test_after_the_cooldown_one_mailbox_at_a_time_may_try(
    cooldown: ServerCooldown, now: time_machine.Traveller
) -> None:
    turn_away(cooldown, "a", "b", "c")
    assert 30 <= pause_s(cooldown, now) <= 60
    assert cooldown.may_connect(HOST, connected=0)
    assert not cooldown.may_connect(HOST, connected=1)
    assert cooldown.was_turned_away(HOST, "a")
    assert not cooldown.was_turned_away(HOST, "d")


def test_the_pauses_grow_to_half_an_hour_and_one_that_is_let_in_ends_them(
    cooldown: ServerCooldown, now: time_machine.Traveller
) -> None:
    turn_away(cooldown, "a", "b", "c")
    pauses = []
    for _ in range(10):
        pauses.append(pause_s(cooldown, now))
        turn_away(cooldown, "d")
    assert all(30 * 2**number <= pause <= 60 * 2**number for number, pause in enumerate(pauses[:5]))
    assert all(PAUSE.longest_s / 2 <= pause <= PAUSE.longest_s for pause in pauses[6:])
    cooldown.record_let_in(HOST)
    assert cooldown.may_connect(HOST, connected=5)
    assert not cooldown.was_turned_away(HOST, "a")


def test_logins_that_began_before_the_pause_do_not_make_it_longer(
    cooldown: ServerCooldown, now: time_machine.Traveller
) -> None:
    turn_away(cooldown, *"abcdefghij")
    assert pause_s(cooldown, now) <= 60
