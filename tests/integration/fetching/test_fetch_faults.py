"""What interrupts the cycle, and servers that lack or refuse something: nothing is lost, nothing doubled."""

import contextlib
import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest
from _pytest.mark import ParameterSet
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.gateway import Gateway
from app.models import Quarantined
from app.services.fetching import fetch_cycle, leases, quarantine
from app.services.fetching.ledger import NumberedFolder
from app.services.messages import deletion
from tests.support.callers import Callers
from tests.support.fetched_mailbox import Mailbox, hashes, mailbox
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import TESTER, mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import (
    ImapProxy,
    answer,
    answer_after,
    cut_after,
    cut_before,
    without_copyuid,
)


@pytest.fixture
def box(gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy) -> Mailbox:
    """A mailbox behind the proxy, with two different mails and a pair of twins."""
    made = mailbox(gateway, dovecot, imap_port=imap_proxy.port, poll_interval_s=1)
    dovecot.deliver_all(made.user, [mail("one"), mail("twin"), mail("twin"), mail("two")])
    return made


def assert_each_is_there_once(box: Mailbox, expected: list[bytes], *, processed: str = "Trash") -> None:
    """Stored once, announced once, in the processed folder once, and not in the source."""
    assert hashes(box.sources()) == hashes(expected)
    assert hashes(box.raws(processed)) == hashes(expected)
    assert box.raws("INBOX") == []
    assert len({event.data["message_id"] for event in box.events("message.stored")}) == len(expected)
    assert len(box.events("message.stored")) == len(expected)


CAPABILITIES = {
    "MOVE": (),
    "MOVE without UIDPLUS": ("UIDPLUS",),
    "UIDPLUS without MOVE": ("MOVE",),
}


COMMANDS = (
    "CAPABILITY",
    "LOGIN",
    "LIST",
    "SELECT",
    "UID SEARCH",
    "UID FETCH .*SIZE",
    "UID FETCH .*BODY",
    "STATUS",
    "UID (MOVE|COPY)",
    "UID STORE",
    "UID EXPUNGE",
    "NOOP",
)


def cuts() -> Iterator[ParameterSet]:
    """Each cut at each command with each set of capabilities on SQLite; on PostgreSQL with one of these sets, by turns, and by
    `make soak` with all."""
    for place, (command, fault) in enumerate(itertools.product(COMMANDS, (cut_before, cut_after))):
        for turn, (name, hidden) in enumerate(CAPABILITIES.items()):
            case = f"{command}-{fault.__name__}-{name}"
            yield pytest.param("sqlite", command, fault, hidden, id=f"sqlite-{case}")
            marks = [] if turn == place % len(CAPABILITIES) else [pytest.mark.soak]
            yield pytest.param("postgresql", command, fault, hidden, id=f"postgresql-{case}", marks=marks)


class TestAConnectionCutAt:
    @pytest.mark.parametrize(
        ("database_url", "command", "fault", "hidden"), list(cuts()), indirect=["database_url"]
    )
    def test_a_command_leaves_nothing_lost_or_doubled(
        self, box: Mailbox, imap_proxy: ImapProxy, command: str, fault: object, hidden: tuple[str, ...]
    ) -> None:
        seen = box.raws("INBOX")
        imap_proxy.hide(*hidden)
        imap_proxy.break_on(command, fault)  # type: ignore[arg-type]
        first = box.fetch()
        broken = bool(imap_proxy.sent(command))
        assert first.outcome == ("failed" if broken else "ok")
        box.fetch_well()
        assert_each_is_there_once(box, seen)
        assert all(row.move_state == "moved" for row in box.ledger())
        quiet = box.fetch_well()
        assert (quiet.found, quiet.moved) == (0, 0)


class TestAServerWithout:
    def test_move_has_mail_copied_and_exactly_that_expunged(
        self, box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy
    ) -> None:
        imap_proxy.hide("MOVE")
        others = dovecot.deliver(box.user, mail("deleted by another client"), flags=["\\Deleted"])
        seen = [message.raw for message in dovecot.messages(box.user) if message.uid != others]
        assert box.fetch_well().moved == 4
        assert hashes(box.raws("Trash")) == hashes(seen)
        assert [message.uid for message in dovecot.messages(box.user)] == [others]

    def test_uidplus_keeps_ours_flagged_and_expunges_nothing(
        self, box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy
    ) -> None:
        imap_proxy.hide("MOVE", "UIDPLUS")
        seen = box.raws("INBOX")
        assert box.fetch_well().moved == 4
        assert [message.flags for message in dovecot.messages(box.user)] == [{"\\Deleted"}] * 4
        assert hashes(box.raws("Trash")) == hashes(seen)
        assert imap_proxy.sent(".*EXPUNGE|CLOSE") == []
        quiet = box.fetch_well()
        assert (quiet.found, quiet.stored, quiet.moved) == (0, 0, 0)

    @pytest.mark.parametrize("command", ["UID COPY", "UID STORE"])
    @pytest.mark.parametrize("fault", [cut_before, cut_after])
    def test_uidplus_recovers_from_a_cut_by_looking_for_the_copies(
        self, box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy, command: str, fault: object
    ) -> None:
        imap_proxy.hide("MOVE", "UIDPLUS")
        seen = box.raws("INBOX")
        imap_proxy.break_on(command, fault)  # type: ignore[arg-type]
        assert box.fetch().outcome == "failed"
        box.fetch_well()
        assert hashes(box.raws("Trash")) == hashes(seen)
        assert hashes(box.sources()) == hashes(seen)
        assert [message.flags for message in dovecot.messages(box.user)] == [{"\\Deleted"}] * 4

    def test_copyuid_has_moves_proved_by_looking(self, box: Mailbox, imap_proxy: ImapProxy) -> None:
        imap_proxy.hide("UIDPLUS")
        seen = box.raws("INBOX")
        assert box.fetch_well().moved == 4
        assert_each_is_there_once(box, seen)

    def test_special_use_and_namespace_finds_the_trash_by_its_name(
        self, gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy
    ) -> None:
        imap_proxy.hide("SPECIAL-USE", "NAMESPACE", "LIST-EXTENDED")
        box = mailbox(gateway, dovecot, imap_port=imap_proxy.port)
        dovecot.deliver(box.user, mail())
        assert box.fetch_well().moved == 1
        assert len(box.raws("Trash")) == 1


class TestAMove:
    def test_answered_no_that_happened_is_found_out_by_looking(
        self, box: Mailbox, imap_proxy: ImapProxy
    ) -> None:
        seen = box.raws("INBOX")
        imap_proxy.break_on("UID MOVE", answer_after("NO some of the requested messages no longer exist"))
        assert box.fetch_well().moved == 4
        assert_each_is_there_once(box, seen)

    def test_answered_ok_that_did_not_happen_is_found_out_by_looking(
        self, box: Mailbox, imap_proxy: ImapProxy
    ) -> None:
        seen = box.raws("INBOX")
        imap_proxy.break_on("UID MOVE", answer("OK Move completed."))
        assert box.fetch().moved == 0
        assert [row.move_state for row in box.ledger()] == ["pending"] * 4
        assert box.fetch_well().moved == 4
        assert_each_is_there_once(box, seen)

    def test_over_quota_stops_fetching_visibly(
        self, box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy
    ) -> None:
        imap_proxy.break_on("UID MOVE", answer("NO [OVERQUOTA] Quota exceeded"), times=100)
        assert box.fetch().error_code == "over_quota"
        dovecot.deliver(box.user, mail("later"))
        cycle = box.fetch()
        assert (cycle.error_code, cycle.stored) == ("over_quota", 0)
        assert box.connector.status == "failing"
        assert box.connector.last_error_code == "over_quota"

    def test_refused_for_one_mail_does_not_stop_the_others(self, box: Mailbox, imap_proxy: ImapProxy) -> None:
        imap_proxy.break_on("UID MOVE", answer("NO [CANNOT] not this one"), times=2)
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.moved) == (4, 4)
        assert imap_proxy.sent("UID COPY 1 ")
        assert len(box.raws("Trash")) == 4

    def test_of_a_message_deleted_meanwhile_is_still_made_and_nothing_is_downloaded_again(
        self, box: Mailbox, gateway: Gateway, imap_proxy: ImapProxy
    ) -> None:

        seen = box.raws("INBOX")
        imap_proxy.break_on("UID MOVE", cut_before)
        box.fetch()
        deletion.delete_of_connector(gateway, TESTER, box.connector_id)
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.moved) == (0, 4)
        assert hashes(box.raws("Trash")) == hashes(seen)
        assert box.ledger() == []

    def test_without_copyuid_in_the_answer_still_counts_what_has_gone(
        self, box: Mailbox, imap_proxy: ImapProxy
    ) -> None:
        imap_proxy.break_on("UID MOVE", without_copyuid)
        box.fetch_well()
        assert len(box.raws("Trash")) == 4


class TestAFolderNumberedAnew:
    def test_mail_stored_and_not_moved_is_recognised_by_its_bytes(
        self, box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy
    ) -> None:
        seen = box.raws("INBOX")
        imap_proxy.break_on("UID MOVE", cut_before)
        box.fetch()
        dovecot.set_uid_validity(box.user, 777)
        dovecot.deliver(box.user, mail("two"))
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.known, cycle.moved) == (1, 4, 5)
        assert_each_is_there_once(box, [*seen, seen[-1]])

    def test_mail_that_was_moved_before_is_not_touched(self, box: Mailbox, dovecot: Dovecot) -> None:
        box.fetch_well()
        dovecot.set_uid_validity(box.user, 777)
        assert box.fetch_well().found == 0
        assert len(box.messages()) == 4


class TestALogin:
    def test_refused_twice_stops_the_connector(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot, password="wrong", poll_interval_s=1)
        assert [box.fetch().error_code for _ in range(2)] == ["login_refused"] * 2
        assert box.connector.status == "stopped"
        assert box.connector.next_fetch_at is None
        assert fetch_cycle.run(gateway, box.connector_id) is None
        assert [event.type.split(".")[-2] for event in box.events()] == ["failing", "stopped"]

    def test_that_the_server_has_no_time_for_is_tried_again_for_ever(
        self, box: Mailbox, imap_proxy: ImapProxy
    ) -> None:
        imap_proxy.break_on("LOGIN", answer("NO [UNAVAILABLE] try later"), times=5)
        for _ in range(5):
            assert box.fetch().error_code == "mail_server_unavailable"
        assert box.connector.status == "failing"
        assert box.fetch_well().stored == 4
        assert box.connector.status == "active"
        assert [event.type.split(".")[-2] for event in box.events()[:1]] == ["failing"]
        assert len(box.events("connector.recovered")) == 1


class TestAnAlert:
    def test_reaches_the_owner_as_plain_text(
        self, box: Mailbox, imap_proxy: ImapProxy, client: TestClient
    ) -> None:
        text = b"* OK [ALERT] Your mailbox is \x1b[31mnearly\x07 full\r\n"
        imap_proxy.break_on("SELECT", lambda exchange: [text, *exchange.pass_on()])
        box.fetch_well()
        shown = client.get(f"/connectors/{box.connector_id}", headers=Callers.user("a", admin=True)).json()
        assert shown["alert"]["text"] == "Your mailbox is [31mnearly full"
        assert shown["alert"]["at"].endswith("Z")

    def test_that_comes_with_a_refused_login_does_too(self, box: Mailbox, imap_proxy: ImapProxy) -> None:
        imap_proxy.break_on("LOGIN", answer("NO [ALERT] Please log in via your web browser"))
        assert box.fetch().error_code == "web_login_needed"
        assert box.connector.alert_text == "Please log in via your web browser"


class TestAFolder:
    def test_that_is_missing_is_said(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot, source_folder="Nowhere")
        assert box.fetch().error_code == "source_folder_missing"

    def test_to_move_to_that_is_missing_stops_before_anything_is_downloaded(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        box = mailbox(gateway, dovecot, processed_folder="Nowhere")
        dovecot.deliver(box.user, mail())
        cycle = box.fetch()
        assert (cycle.error_code, cycle.stored) == ("processed_folder_missing", 0)
        assert len(box.raws("INBOX")) == 1

    def test_to_move_to_that_is_the_source_is_refused(self, gateway: Gateway, dovecot: Dovecot) -> None:
        box = mailbox(gateway, dovecot, source_folder="Trash", processed_folder="\\Trash")
        dovecot.deliver(box.user, mail(), "Trash")
        assert box.fetch().error_code == "same_folder"
        assert len(box.raws("Trash")) == 1

    def test_ring_of_two_connectors_stops_the_one_that_closes_it(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        there = mailbox(gateway, dovecot)
        there.fetch_well()
        back = mailbox(gateway, dovecot, user=there.user, source_folder="Trash", processed_folder="INBOX")
        dovecot.deliver(there.user, mail())
        there.fetch_well()
        assert back.fetch().error_code == "same_folder"
        there.fetch_well()
        assert len(there.raws("Trash")) == 1
        there.set(logged_in_at=None)  # for example, its password does not work any more
        assert back.fetch_well().stored == 1

    def test_ring_that_a_stranger_closes_without_the_password_stops_nobody(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        user = dovecot.new_user()
        strangers = mailbox(
            gateway,
            dovecot,
            user=user,
            password="a guess",
            owner="eve",
            source_folder="Trash",
            processed_folder="INBOX",
        )
        assert strangers.fetch().error_code == "login_refused"
        mine = mailbox(gateway, dovecot, user=user, owner="jana")
        dovecot.deliver(user, mail())
        assert mine.fetch_well().stored == 1
        assert (mine.raws("INBOX"), len(mine.raws("Trash"))) == ([], 1)

    @pytest.mark.parametrize(
        "name", ["Koš s mezerou", 'With "quotes"', "Zpracováno", "100 % & more", "-dash"]
    )
    def test_of_any_name_is_moved_to(self, gateway: Gateway, dovecot: Dovecot, name: str) -> None:
        box = mailbox(gateway, dovecot, processed_folder=name)
        with dovecot.client(box.user) as client:
            client.create_folder(name)
        dovecot.deliver(box.user, mail())
        assert box.fetch_well().moved == 1
        assert len(box.raws(name)) == 1


class TestAMailOverWhichTheProcessDied:
    def die_over(self, box: Mailbox, gateway: Gateway, uids: list[int]) -> None:
        """Leave the lease as a process does that is killed while it takes these mails in."""
        with leases.held(gateway, box.connector) as lease:
            assert lease is not None
            uidvalidity = box.uidvalidity()
            lease.take_in_hand(uidvalidity, uids)
            with gateway.db.unit_of_work() as session:
                row = lease.confirm(session)
                row.holder, row.epoch = None, row.epoch + 1

    def test_is_tried_alone_and_after_three_deaths_stored_unparsed(
        self, box: Mailbox, gateway: Gateway, imap_proxy: ImapProxy
    ) -> None:
        seen = box.raws("INBOX")
        self.die_over(box, gateway, [1, 2])
        imap_proxy.break_on("UID FETCH .*SIZE", cut_before, times=2)
        for _ in range(2):
            assert box.fetch().outcome == "failed"
            self.die_over(box, gateway, [1])
        with gateway.db.reading() as session:
            failed = quarantine.failed_uids(
                session, NumberedFolder(box.connector_id, "INBOX", box.uidvalidity())
            )
        assert failed.suspects == frozenset({1, 2, 3, 4})  # the line was cut over the sizes of the others
        box.fetch_well()
        assert hashes(box.sources()) == hashes(seen)
        unparsed = [message for message in box.messages() if message.uid == 1]
        assert [message.subject for message in unparsed] == [None]
        assert [message.subject for message in box.messages() if message.uid == 4] == ["two"]
        assert box.events("message.quarantined") == []


class TestAMailThatCannotBeTakenIn:
    def test_too_large_is_quarantined_and_stays_while_the_others_go_on(
        self, settings: SettingsFactory, dovecot: Dovecot
    ) -> None:
        with contextlib.closing(Gateway.from_settings(settings(max_message_octets=2000))) as small:
            box = mailbox(small, dovecot)
            dovecot.deliver_all(box.user, [mail("large", text="x" * 3000), mail("small")])
            cycle = box.fetch_well()
            assert (cycle.stored, cycle.quarantined, cycle.moved) == (1, 1, 1)
            assert len(box.raws("INBOX")) == 1
            assert [event.data["reason"] for event in box.events("message.quarantined")] == ["too_large"]
            again = box.fetch_well()
            assert (again.quarantined, again.stored) == (1, 0)
            assert len(box.events("message.quarantined")) == 1

    def test_that_breaks_the_connection_each_time_is_quarantined_and_the_others_go_on(
        self, box: Mailbox, imap_proxy: ImapProxy
    ) -> None:
        # The batch with UID 2 in it, and then UID 2 alone.
        imap_proxy.break_on(r"UID FETCH (1:4|2) .*BODY", cut_before, times=100)
        outcomes = [box.fetch().outcome for _ in range(5)]
        assert outcomes[-1] == "ok"
        assert len(box.messages()) == 3
        assert len(box.events("message.quarantined")) == 1
        assert len(box.raws("INBOX")) == 1

    def test_with_three_others_and_nothing_else_is_quarantined_once_it_is_no_outage(
        self, box: Mailbox, gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy
    ) -> None:
        dovecot.deliver(box.user, mail("processed before"), "Trash")
        imap_proxy.break_on(r"UID FETCH .*BODY\.PEEK\[\]\)", answer("NO damaged"), times=100)
        assert [box.fetch().error_code for _ in range(4)] == ["mail_not_given"] * 4
        assert box.events("message.quarantined") == []
        with gateway.db.unit_of_work() as session:
            for row in session.execute(select(Quarantined)).scalars():
                row.created_at -= timedelta(hours=1)
        assert [box.fetch().outcome for _ in range(3)] == ["ok"] * 3
        assert len(box.events("message.quarantined")) == 4
        assert (box.connector.status, len(box.raws("INBOX"))) == ("active", 4)

    def test_given_as_nil_is_never_stored_as_an_empty_mail(self, box: Mailbox, imap_proxy: ImapProxy) -> None:
        nil = b"* 1 FETCH (UID 1 BODY[] NIL)\r\n"
        imap_proxy.break_on(
            "UID FETCH .*BODY.PEEK\\[\\]", lambda exchange: [nil, exchange.tag + b" OK done\r\n"], times=5
        )
        cycle = box.fetch()
        assert (cycle.stored, cycle.error_code) == (0, "mail_not_given")
        assert box.fetch_well().stored == 4
