"""The main job on a real Cyrus, folders with awkward names, and its mails taken away in mid-work."""

from collections.abc import Iterator

import pytest

from app.gateway import Gateway
from tests.support.fetched_mailbox import Mailbox, hashes, mailbox
from tests.support.stored_mail import mail
from tools.servers.cyrus import Cyrus
from tools.servers.imap_proxy import Exchange, ImapProxy

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

RAWS = [mail("one"), mail("twin"), mail("twin"), mail("two")]


@pytest.fixture
def proxy(cyrus: Cyrus) -> Iterator[ImapProxy]:
    with ImapProxy(cyrus.port) as made:
        yield made


@pytest.fixture
def box(gateway: Gateway, cyrus: Cyrus, proxy: ImapProxy) -> Mailbox:
    made = mailbox(gateway, cyrus, imap_port=proxy.port, poll_interval_s=1)
    cyrus.deliver_all(made.user, RAWS)
    return made


def assert_each_is_there_once(box: Mailbox) -> None:
    assert hashes(box.sources()) == hashes(RAWS)
    assert hashes(box.raws("Trash")) == hashes(RAWS)
    assert box.raws("INBOX") == []
    assert len(box.events("message.stored")) == len(RAWS)
    assert box.events("message.quarantined") == []


def test_every_mail_is_stored_byte_for_byte_and_moved(box: Mailbox) -> None:
    cycle = box.fetch_well()
    assert (cycle.stored, cycle.moved) == (4, 4)
    assert_each_is_there_once(box)
    quiet = box.fetch_well()
    assert (quiet.found, quiet.moved) == (0, 0)


@pytest.mark.parametrize("name", ["[todo", "a&b", "&", "Účty 2026", "two  spaces", "x(y)"])
def test_a_folder_of_any_name_keeps_no_mail(box: Mailbox, cyrus: Cyrus, name: str) -> None:
    with cyrus.client(box.user) as client:
        client.create_folder(name)
    assert box.fetch_well().moved == 4
    assert_each_is_there_once(box)


@pytest.mark.parametrize("command", ["SELECT", "UID FETCH .*SIZE", r"UID FETCH .*BODY\.PEEK\[\]"])
def test_mails_taken_away_in_mid_work_are_not_quarantined_and_come_when_they_are_back(
    box: Mailbox, cyrus: Cyrus, proxy: ImapProxy, command: str
) -> None:
    def away(exchange: Exchange) -> list[bytes]:
        cyrus.take_spool_away()
        return exchange.pass_on()

    proxy.break_on(command, away)
    for _ in range(4):
        cycle = box.fetch()
        assert (cycle.outcome, cycle.stored, cycle.quarantined) == ("failed", 0, 0)
        assert cycle.error_code == "mail_not_given"
    assert (box.connector.status, box.connector.failed_attempts) == ("failing", 4)
    assert box.events("message.quarantined") == []
    cyrus.give_spool_back()
    box.fetch_well()
    assert_each_is_there_once(box)
