"""The main job on a real Dovecot, on both databases: stored, announced, moved."""

from datetime import UTC, date, datetime, timedelta

from app import clock
from app.gateway import Gateway
from app.services.fetching import fetch_cycle, leases
from app.services.messages import deletion
from tests.support.fetched_mailbox import hashes, mailbox
from tests.support.stored_mail import TESTER, mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import ImapProxy, cut_after

OLD = datetime(2019, 5, 6, 7, 8, 9, tzinfo=UTC)


def mails(count: int, subject: str = "Order") -> list[bytes]:
    return [mail(f"{subject} {number}") for number in range(count)]


class TestACycle:
    def test_stores_every_mail_byte_for_byte_and_moves_it_to_the_trash(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot)
        dovecot.deliver_all(box.user, mails(3))
        seen = box.raws("INBOX")
        cycle = box.fetch_well()
        assert (cycle.found, cycle.stored, cycle.moved, cycle.left) == (3, 3, 3, 0)
        assert box.sources() == seen
        assert box.raws("INBOX") == []
        assert box.raws("Trash") == seen
        assert [row.move_state for row in box.ledger()] == ["moved"] * 3
        assert all(message.moved_at is not None for message in box.messages())

    def test_appends_one_event_for_each_mail_that_holds_nothing_of_it(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot, groups=["orders", "sales"])
        dovecot.deliver_all(box.user, mails(2))
        box.fetch_well()
        stored = box.events("message.stored")
        assert [event.data["message_id"] for event in stored] == [row.id for row in box.messages()]
        assert [event.position for event in stored] == [row.position for row in box.messages()]
        assert stored[0].data == {
            "connector_id": box.connector_id,
            "message_id": box.messages()[0].id,
            "notify": True,
            "recipients": {"users": [], "groups": ["orders", "sales"]},
        }

    def test_a_cycle_that_finds_nothing_changes_nothing(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot)
        dovecot.deliver(box.user, mail())
        box.fetch_well()
        before = (box.messages(), box.ledger(), box.events(), box.raws("Trash"))
        cycle = box.fetch_well()
        assert (cycle.found, cycle.stored, cycle.moved) == (0, 0, 0)
        assert (box.messages(), box.ledger(), box.events(), box.raws("Trash")) == before

    def test_a_cycle_keeps_flags_and_date_of_the_mail_and_sets_no_seen(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot)
        dovecot.deliver(box.user, mail("unread"), internal_date=OLD)
        dovecot.deliver(box.user, mail("flagged"), flags=["\\Flagged", "\\Seen"], internal_date=OLD)
        box.fetch_well()
        moved = dovecot.messages(box.user, "Trash")
        assert [message.flags for message in moved] == [frozenset(), {"\\Flagged", "\\Seen"}]
        assert [message.internal_date for message in moved] == [OLD, OLD]
        assert [message.internal_date for message in box.messages()] == [OLD, OLD]

    def test_downloads_nothing_from_any_other_folder(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot, owner="jana", source_folder="AyMINE", processed_folder="Hotovo")
        with dovecot.client(box.user) as client:
            client.create_folder("AyMINE")
            client.create_folder("Hotovo")
        dovecot.deliver(box.user, mail("private"))
        dovecot.deliver(box.user, mail("for AyMINE"), "AyMINE")
        box.fetch_well()
        assert [message.subject for message in box.messages()] == ["for AyMINE"]
        assert len(box.raws("INBOX")) == 1
        assert len(box.raws("Hotovo")) == 1
        assert box.events("message.stored")[0].data["notify"] is False
        assert box.events("message.stored")[0].data["recipients"] == {"users": ["jana"], "groups": []}

    def test_a_cycle_leaves_mail_alone_that_another_client_has_flagged_deleted(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot)
        dovecot.deliver(box.user, mail("deleted"), flags=["\\Deleted"])
        dovecot.deliver(box.user, mail("kept"))
        box.fetch_well()
        assert [message.subject for message in box.messages()] == ["kept"]
        assert [message.flags for message in dovecot.messages(box.user)] == [{"\\Deleted"}]

    def test_two_mails_with_the_same_bytes_are_two_messages(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot)
        dovecot.deliver_all(box.user, [mail("twin"), mail("twin")])
        assert box.fetch_well().stored == 2
        assert len(box.raws("Trash")) == 2

    def test_mails_with_one_message_id_are_different_messages(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot)
        same = "Message-ID: <reused@example.com>"
        dovecot.deliver_all(box.user, [mail("one", same), mail("two", same)])
        assert box.fetch_well().stored == 2

    def test_a_cycle_handles_many_batches(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot, first_fetch="all")
        dovecot.deliver_all(box.user, mails(130))
        seen = box.raws("INBOX")
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.moved) == (130, 130)
        assert box.sources() == seen
        assert hashes(box.raws("Trash")) == hashes(seen)


class TestOnMdbox:
    def test_the_czech_trash_is_found_by_its_special_use_and_nothing_is_lost_over_a_cut(
        self, gateway: Gateway, dovecot_mdbox: Dovecot
    ) -> None:
        with ImapProxy(dovecot_mdbox.port) as proxy:
            box = mailbox(gateway, dovecot_mdbox, imap_port=proxy.port)
            dovecot_mdbox.deliver_all(box.user, [mail("twin"), mail("twin"), *mails(5)])
            seen = box.raws("INBOX")
            proxy.break_on("UID MOVE", cut_after)
            assert box.fetch().outcome == "failed"
            box.fetch_well()
        assert hashes(box.sources()) == hashes(seen)
        assert hashes(box.raws("Koš")) == hashes(seen)
        assert box.raws("INBOX") == []
        assert [row.move_state for row in box.ledger()] == ["moved"] * 7


class TestFirstFetch:
    def test_more_than_a_hundred_mails_wait_for_confirmation(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot)
        dovecot.deliver_all(box.user, mails(101))
        cycle = box.fetch_well()
        assert (cycle.found, cycle.stored, cycle.left) == (101, 0, 101)
        assert box.connector.status == "awaiting_confirmation"
        assert box.connector.next_fetch_at is None
        assert len(box.raws("INBOX")) == 101
        assert fetch_cycle.run(gateway, box.connector_id) is None

    def test_a_hundred_are_taken_without_asking(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot)
        dovecot.deliver_all(box.user, mails(100))
        assert box.fetch_well().stored == 100

    def test_none_takes_only_what_comes_later(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot, first_fetch="none")
        dovecot.deliver_all(box.user, mails(3, "old"))
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.left) == (0, 3)
        dovecot.deliver(box.user, mail("new"))
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.left) == (1, 3)
        assert [message.subject for message in box.messages()] == ["new"]
        assert len(box.raws("INBOX")) == 3

    def test_since_takes_mail_from_that_day_on(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot, first_fetch="since", first_fetch_since=date(2020, 1, 1))
        dovecot.deliver(box.user, mail("old"), internal_date=OLD)
        dovecot.deliver(box.user, mail("recent"), internal_date=datetime(2021, 1, 1, tzinfo=UTC))
        assert box.fetch_well().stored == 1
        dovecot.deliver(box.user, mail("put in now"), internal_date=OLD)
        box.fetch_well()
        assert [message.subject for message in box.messages()] == ["recent", "put in now"]

    def test_none_still_holds_after_the_folder_was_numbered_anew(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot, first_fetch="none")
        dovecot.deliver(box.user, mail("old"), internal_date=OLD)
        box.fetch_well()
        dovecot.set_uid_validity(box.user, 4242)
        dovecot.deliver(box.user, mail("new"), internal_date=clock.utc_now() + timedelta(minutes=1))
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.left) == (1, 1)
        assert [message.subject for message in box.messages()] == ["new"]


class TestAMailThatCameBack:
    def test_a_mail_that_comes_back_is_the_same_message_new_again_and_moved_again(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot)
        dovecot.deliver(box.user, mail("reopened"))
        box.fetch_well()
        before = box.messages()[0]
        with dovecot.client(box.user) as client:
            client.select_folder("Trash")
            client.move(client.search("ALL"), "INBOX")
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.returned, cycle.moved) == (0, 1, 1)
        after = box.messages()
        assert [message.id for message in after] == [before.id]
        assert after[0].position > before.position
        assert [event.data["message_id"] for event in box.events("message.returned")] == [before.id]
        assert len(box.raws("Trash")) == 1
        assert box.raws("INBOX") == []

    def test_a_mail_that_comes_back_is_a_new_message_if_the_old_one_was_deleted(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:

        box = mailbox(gateway, dovecot)
        dovecot.deliver(box.user, mail("reopened"))
        box.fetch_well()
        deletion.delete_of_connector(gateway, TESTER, box.connector_id)
        with dovecot.client(box.user) as client:
            client.select_folder("Trash")
            client.move(client.search("ALL"), "INBOX")
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.returned) == (1, 0)

    def test_a_twin_that_arrives_later_by_itself_counts_as_come_back_once(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot)
        dovecot.deliver(box.user, mail("twin"))
        box.fetch_well()
        dovecot.deliver_all(box.user, [mail("twin"), mail("twin")])
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.returned) == (1, 1)


class TestTheLease:
    def test_another_holder_keeps_the_cycle_from_running(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot)
        with leases.held(gateway, box.connector) as lease:
            assert lease is not None
            assert fetch_cycle.run(gateway, box.connector_id) is None
        assert fetch_cycle.run(gateway, box.connector_id) is not None
