"""The main job and its faults on other real servers than Dovecot, through a proxy that can break a command."""

from collections.abc import Iterator

import pytest

from app.gateway import Gateway
from tests.support.fetched_mailbox import Mailbox, hashes, mailbox
from tests.support.stored_mail import mail
from tools.servers.courier import Courier
from tools.servers.imap_proxy import ImapProxy, cut_after, cut_before
from tools.servers.inetd import InetdImapServer

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Courier takes a second for each SELECT, and the databases have been compared elsewhere."""

on_courier = pytest.mark.parametrize("other_imap_server", [Courier], indirect=True, ids=["courier"])
"""Mailutils writes header fields of its own into its mbox, so that the bytes of a mail change from one session to the
next: what is recognised by its bytes elsewhere cannot be there (docs/fetching.md)."""

RAWS = [mail("one"), mail("twin"), mail("twin"), mail("two")]


@pytest.fixture
def proxy(other_imap_server: InetdImapServer) -> Iterator[ImapProxy]:
    with ImapProxy(other_imap_server.port) as made:
        yield made


@pytest.fixture
def box(gateway: Gateway, other_imap_server: InetdImapServer, proxy: ImapProxy) -> Mailbox:
    made = mailbox(gateway, other_imap_server, imap_port=proxy.port, poll_interval_s=1)
    other_imap_server.deliver_all(made.user, RAWS)
    return made


def remaining(box: Mailbox) -> list[bytes]:
    """The mails in the source folder without the flag `\\Deleted`."""
    return [each.raw for each in box.server.messages(box.user) if "\\Deleted" not in each.flags]


def trash(box: Mailbox) -> list[bytes]:
    assert isinstance(box.server, InetdImapServer)
    return box.raws(box.server.trash)


@on_courier
def test_every_mail_is_stored_byte_for_byte_and_moved_to_the_trash_of_the_server(box: Mailbox) -> None:
    seen = box.raws("INBOX")
    cycle = box.fetch_well()
    assert (cycle.stored, cycle.moved) == (4, 4)
    assert box.sources() == seen
    assert hashes(trash(box)) == hashes(seen)
    assert remaining(box) == []
    quiet = box.fetch_well()
    assert (quiet.found, quiet.moved) == (0, 0)


def test_every_mail_is_stored_and_moved_once(box: Mailbox) -> None:
    box.server.deliver(box.user, mail("deleted"), flags=["\\Deleted"])
    cycle = box.fetch_well()
    assert (cycle.stored, cycle.moved) == (4, 4)
    assert sorted(message.subject or "" for message in box.messages()) == ["one", "twin", "twin", "two"]
    assert len(trash(box)) == 4
    assert remaining(box) == []
    quiet = box.fetch_well()
    assert (quiet.found, quiet.stored, quiet.moved) == (0, 0, 0)


@on_courier
def test_mail_that_another_client_has_flagged_deleted_is_left_alone(box: Mailbox) -> None:
    seen = box.raws("INBOX")
    box.server.deliver(box.user, mail("deleted"), flags=["\\Deleted"])
    assert box.fetch_well().stored == 4
    assert hashes(box.sources()) == hashes(seen)
    flagged = [each.raw for each in box.server.messages(box.user) if "\\Deleted" in each.flags]
    assert mail("deleted") in flagged


@on_courier
def test_flags_survive_and_no_seen_is_set(box: Mailbox) -> None:
    box.server.deliver(box.user, mail("flagged"), flags=["\\Flagged"])
    box.fetch_well()
    assert isinstance(box.server, InetdImapServer)
    moved = box.server.messages(box.user, box.server.trash)
    assert [each.flags & {"\\Flagged", "\\Seen"} for each in moved] == [frozenset()] * 4 + [
        frozenset({"\\Flagged"})
    ]


@on_courier
def test_a_mail_that_comes_back_is_the_same_message(box: Mailbox) -> None:
    box.fetch_well()
    before = {message.id for message in box.messages()}
    assert isinstance(box.server, InetdImapServer)
    with box.server.client(box.user) as client:
        client.select_folder(box.server.trash)
        client.copy(client.search(["SUBJECT", "two"]), "INBOX")
    cycle = box.fetch_well()
    assert (cycle.stored, cycle.returned, cycle.moved) == (0, 1, 1)
    assert {message.id for message in box.messages()} == before


MOVING = ["UID COPY", "UID STORE", "UID EXPUNGE"]
OTHERS = ["LOGIN", "LIST", "SELECT", "UID SEARCH", "UID FETCH .*BODY", "STATUS"]


@on_courier
@pytest.mark.parametrize("fault", [cut_before, cut_after])
@pytest.mark.parametrize(
    "command", [*MOVING, *(pytest.param(each, marks=pytest.mark.soak) for each in OTHERS)]
)
def test_a_cut_at_a_command_leaves_nothing_lost_or_doubled(
    box: Mailbox, proxy: ImapProxy, command: str, fault: object
) -> None:
    seen = box.raws("INBOX")
    proxy.break_on(command, fault)  # type: ignore[arg-type]
    first = box.fetch()
    assert (first.outcome == "failed") == bool(proxy.sent(command))
    for _ in range(2):
        box.fetch_well()
    assert hashes(box.sources()) == hashes(seen)
    assert hashes(trash(box)) == hashes(seen)
    assert remaining(box) == []
    assert len(box.events("message.stored")) == len(seen)
