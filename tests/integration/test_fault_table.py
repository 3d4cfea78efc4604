"""Every command of a cycle, with everything that a server may answer instead: each mail is stored once and processed
once when the trouble is over, and the connector ends well."""

import contextlib
import os
import random
import re
from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from app.gateway import Gateway
from tests.support.fetched_mailbox import Mailbox, hashes, mailbox
from tests.support.figures import FIGURES
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import Exchange, Fault, ImapProxy, answer, cut_after, cut_before

SEED = int(os.environ.get("CUT_SEED", "1"))
CUTS = int(os.environ.get("CUT_SAMPLE", "8"))
"""Of the octets of a session, where not all of them are tried."""
SHARES = 8
"""Tests that share all octets among them, so that several workers have something to do."""
MAX_CYCLES = 6

COMMANDS = {
    "CAPABILITY": "CAPABILITY",
    "LOGIN": "LOGIN",
    "LIST": "LIST",
    "NAMESPACE": "NAMESPACE",
    "SELECT": "SELECT",
    "SEARCH": "UID SEARCH UNDELETED",
    "SIZES": "UID FETCH .*SIZE",
    "BODIES": r"UID FETCH .*BODY\.PEEK\[\]",
    "STATUS": "STATUS",
    "MOVE": "UID MOVE",
    "NOOP": "NOOP",
    "LOGOUT": "LOGOUT",
}


def garbage(exchange: Exchange) -> list[bytes]:
    """Octets that are no IMAP."""
    exchange.pass_on()
    return [b"\x00\xff\xfe this is not IMAP \x80\r\n"]


def other_tag(exchange: Exchange) -> list[bytes]:
    """The answer to a question that nobody asked."""
    return [b"ZZ999 OK done\r\n", *exchange.pass_on()]


def huge_literal(_exchange: Exchange) -> list[bytes]:
    """More than any machine has."""
    return [b"* 1 FETCH (UID 1 BODY[] {4294967295}\r\n"]


def short_literal(exchange: Exchange) -> list[bytes]:
    """Literals that announce less than there is (HCL Domino)."""
    return [
        re.sub(rb"\{(\d+)\}", lambda m: b"{%d}" % max(int(m[1]) - 7, 0), each) for each in exchange.pass_on()
    ]


def flood(exchange: Exchange) -> list[bytes]:
    """Untagged news that nobody asked for."""
    news = [b"* %d EXISTS\r\n" % number for number in range(2000)]
    return [*news, b"* 1 FETCH (FLAGS (\\Seen))\r\n", *exchange.pass_on()]


def bye(_exchange: Exchange) -> list[bytes]:
    """The server goes down."""
    return [b"* BYE shutting down\r\n"]


def silence(_exchange: Exchange) -> list[bytes]:
    """No answer, and no end."""
    return []


def expunged_meanwhile(exchange: Exchange) -> list[bytes]:
    """A part of the answer, then NO (RFC 2180 §4.1.2)."""
    lines = exchange.pass_on()
    return [*lines[:1], exchange.tag + b" NO [EXPUNGEISSUED] some messages are gone\r\n"]


def twice(exchange: Exchange) -> list[bytes]:
    """The tagged answer, doubled."""
    lines = exchange.pass_on()
    return [*lines, lines[-1]]


FAULTS: dict[str, Fault] = {
    "cut before": cut_before,
    "cut after": cut_after,
    "NO": answer("NO cannot"),
    "NO UNAVAILABLE": answer("NO [UNAVAILABLE] later"),
    "NO INUSE": answer("NO [INUSE] locked"),
    "NO LIMIT": answer("NO [LIMIT] too many"),
    "NO SERVERBUG": answer("NO [SERVERBUG] oops"),
    "NO CORRUPTION": answer("NO [CORRUPTION] damaged"),
    "BAD": answer("BAD what?"),
    "throttled": answer("BAD Request is throttled. Suggested Backoff Time: 1000 milliseconds"),
    "OK without anything": answer("OK done"),
    "BYE": bye,
    "silence": silence,
    "garbage": garbage,
    "other tag": other_tag,
    "huge literal": huge_literal,
    "short literal": short_literal,
    "flood": flood,
    "part and NO": expunged_meanwhile,
    "doubled answer": twice,
}


ON_POSTGRESQL = 24
"""Cases that PostgreSQL is given of the table: what a server answers has no part in how a transaction ends."""


@pytest.fixture
def hasty(settings: SettingsFactory) -> Iterator[Gateway]:
    """A gateway that waits a second at most."""
    with contextlib.closing(Gateway.from_settings(settings(command_timeout_s=1, fetch_threads=1))) as made:
        yield made


@pytest.fixture
def box(hasty: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy) -> Mailbox:
    return filled(hasty, dovecot, imap_proxy)


def filled(gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy) -> Mailbox:
    """A mailbox behind the proxy, with two different mails and a pair of twins."""
    made = mailbox(gateway, dovecot, imap_port=imap_proxy.port, poll_interval_s=1)
    dovecot.deliver_all(made.user, [mail("one"), mail("twin"), mail("twin"), mail("two")])
    return made


def settle_and_compare(box: Mailbox, reference: list[bytes]) -> None:
    for _ in range(MAX_CYCLES):
        if box.connector.status == "stopped":  # three refused logins would be a person's business
            pytest.fail("the connector was stopped")
        cycle = box.fetch()
        if cycle.outcome == "ok" and cycle.found == 0:
            break
    assert (cycle.outcome, cycle.found) == ("ok", 0), f"no rest after {MAX_CYCLES} cycles"
    assert box.connector.status == "active"
    assert hashes(box.sources()) == hashes(reference)
    assert hashes(box.raws("Trash")) == hashes(reference)
    assert box.raws("INBOX") == []
    assert len(box.events("message.stored")) == len(reference)
    assert box.events("message.quarantined") == []


def table() -> list[ParameterSet]:
    """Every command with every fault: all on SQLite, of PostgreSQL a sample, the others by `make soak`."""
    cases = [(command, fault) for command in COMMANDS for fault in FAULTS]
    sample = random.Random(SEED).sample(cases, ON_POSTGRESQL)
    soaked = [pytest.mark.soak]
    return [pytest.param("sqlite", *case) for case in cases] + [
        pytest.param("postgresql", *case, marks=[] if case in sample else soaked) for case in cases
    ]


@pytest.mark.parametrize(("database_url", "command", "fault"), table(), indirect=["database_url"])
def test_a_fault_leaves_nothing_lost_or_doubled(
    box: Mailbox, imap_proxy: ImapProxy, command: str, fault: str
) -> None:
    FIGURES["fault cases"] += 1
    reference = box.raws("INBOX")
    imap_proxy.break_on(COMMANDS[command], FAULTS[fault])
    box.fetch()
    assert imap_proxy.sent(COMMANDS[command]), "the command was not met"
    settle_and_compare(box, reference)


def octets_of_a_session(box: Mailbox, imap_proxy: ImapProxy) -> int:
    before = imap_proxy.octets_sent
    box.fetch_well()
    return imap_proxy.octets_sent - before


def cut_and_compare(box: Mailbox, imap_proxy: ImapProxy, position: int) -> None:
    FIGURES["octet cuts"] += 1
    reference = box.raws("INBOX")
    imap_proxy.cut_at(imap_proxy.octets_sent + position)
    box.fetch()
    settle_and_compare(box, reference)


def test_a_cut_at_any_octet_leaves_nothing_lost_or_doubled(
    hasty: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy
) -> None:
    octets = octets_of_a_session(filled(hasty, dovecot, imap_proxy), imap_proxy)
    for position in random.Random(SEED).sample(range(1, octets), CUTS):
        print(f"cut after octet {position} of {octets}, CUT_SEED={SEED}")
        cut_and_compare(filled(hasty, dovecot, imap_proxy), imap_proxy, position)


@pytest.mark.soak
@pytest.mark.parametrize("share", range(SHARES))
def test_a_cut_at_every_octet(hasty: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy, share: int) -> None:
    octets = octets_of_a_session(filled(hasty, dovecot, imap_proxy), imap_proxy)
    for position in range(1 + share, octets, SHARES):
        print(f"cut after octet {position} of {octets}")
        cut_and_compare(filled(hasty, dovecot, imap_proxy), imap_proxy, position)
