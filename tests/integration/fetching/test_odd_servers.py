"""Servers that say odd things: sizes that lie, numbers that do not last, folders that cannot be written to. A real
server speaks, and a proxy bends its words."""

import contextlib
from datetime import datetime

import pytest

from app import clock
from app.gateway import Gateway
from tests.support.fetched_mailbox import Mailbox, hashes, mailbox
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import Fault, ImapProxy, answer, cut_before, rewritten

ALWAYS = 1000
MANY_OCTETS = 400_000


@pytest.fixture
def box(gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy) -> Mailbox:
    """A mailbox behind the proxy, with two different mails and a pair of twins."""
    made = mailbox(gateway, dovecot, imap_port=imap_proxy.port, poll_interval_s=60)
    dovecot.deliver_all(made.user, [mail("one"), mail("twin"), mail("twin"), mail("two")])
    return made


def assert_each_is_there_once(box: Mailbox, expected: list[bytes]) -> None:
    assert hashes(box.sources()) == hashes(expected)
    assert hashes(box.raws("Trash")) == hashes(expected)
    assert box.raws("INBOX") == []
    assert len(box.events("message.stored")) == len(expected)


def assert_waits(box: Mailbox, before: datetime, at_least_s: float, at_most_s: float) -> None:
    """The connector's next fetch is so long after its last, which began at this moment."""
    connector = box.connector
    assert connector.next_fetch_at is not None
    assert connector.last_error_at is not None
    assert before <= connector.last_error_at
    waits_s = (connector.next_fetch_at - connector.last_error_at).total_seconds()
    assert at_least_s <= waits_s <= at_most_s


class TestASizeThatLies:
    @pytest.mark.parametrize("size", [b"0", b"1", b"999999", b"4000000000"])
    def test_is_no_check_of_what_is_received(self, box: Mailbox, imap_proxy: ImapProxy, size: bytes) -> None:
        seen = box.raws("INBOX")
        imap_proxy.break_on(
            "UID FETCH .*SIZE", rewritten(rb"RFC822\.SIZE \d+", b"RFC822.SIZE " + size), times=ALWAYS
        )
        box.fetch_well()
        assert_each_is_there_once(box, seen)

    def test_bounds_the_memory_all_the_same_and_every_mail_is_stored(
        self, settings: SettingsFactory, dovecot: Dovecot, imap_proxy: ImapProxy
    ) -> None:
        limit = MANY_OCTETS + 10_000
        with contextlib.closing(Gateway.from_settings(settings(max_message_octets=limit))) as gateway:
            box = mailbox(gateway, dovecot, imap_port=imap_proxy.port, poll_interval_s=1)
            dovecot.deliver_all(box.user, [mail(str(number), text="x" * MANY_OCTETS) for number in range(45)])
            seen = box.raws("INBOX")
            # One batch of 18 MB, as it seems of 45 octets: more than one mail and the room for the answer's lines.
            imap_proxy.break_on(
                "UID FETCH .*SIZE", rewritten(rb"RFC822\.SIZE \d+", b"RFC822.SIZE 1"), times=ALWAYS
            )
            assert box.fetch().error_code == "connection_lost"
            assert box.messages() == []
            box.fetch_well()
            assert_each_is_there_once(box, seen)

    def test_over_the_limit_is_quarantined_and_the_others_go_on(
        self, settings: SettingsFactory, dovecot: Dovecot, imap_proxy: ImapProxy
    ) -> None:
        with contextlib.closing(Gateway.from_settings(settings(max_message_octets=2000))) as gateway:
            box = mailbox(gateway, dovecot, imap_port=imap_proxy.port, poll_interval_s=1)
            dovecot.deliver_all(box.user, [mail("one"), mail("large", text="x" * 3000), mail("two")])
            imap_proxy.break_on(
                "UID FETCH .*SIZE", rewritten(rb"RFC822\.SIZE \d+", b"RFC822.SIZE 1"), times=ALWAYS
            )
            outcomes = [box.fetch().outcome for _ in range(5)]  # the batch, then three times alone
            assert outcomes == ["failed"] * 4 + ["ok"]
            assert sorted(message.subject or "" for message in box.messages()) == ["one", "two"]
            assert len(box.events("message.quarantined")) == 1
            assert len(box.raws("INBOX")) == 1


class TestABody:
    def test_that_is_nil_each_time_is_quarantined_after_three_times_and_the_others_go_on(
        self, box: Mailbox, imap_proxy: ImapProxy
    ) -> None:
        nil = rewritten(rb"(?s)(\(UID 2 .*?BODY\[\]) \{\d+\}\r\n.*\)\r\n", rb"\1 NIL)\r\n")
        imap_proxy.break_on(r"UID FETCH .*BODY\.PEEK\[\]", nil, times=ALWAYS)
        stored = [box.fetch_well().stored for _ in range(4)]
        assert stored == [3, 0, 0, 0]
        assert [event.data["reason"] for event in box.events("message.quarantined")] == ["vanished"]
        assert len(box.raws("INBOX")) == 1

    def test_of_a_mail_that_nobody_asked_for_is_not_taken_for_another(
        self, box: Mailbox, imap_proxy: ImapProxy
    ) -> None:
        seen = box.raws("INBOX")
        imap_proxy.break_on(r"UID FETCH .*BODY\.PEEK\[\]", rewritten(rb"\(UID 2 ", b"(UID 77 "))
        box.fetch()
        assert 77 not in {message.uid for message in box.messages()}
        box.fetch_well()
        assert_each_is_there_once(box, seen)


UNSTABLE = {
    "UIDNOTSTICKY": rewritten(
        rb"(\* OK \[UIDVALIDITY )", rb"* NO [UIDNOTSTICKY] Numbers of this session\r\n\1"
    ),
    "no UIDVALIDITY": rewritten(rb"\* OK \[UIDVALIDITY [^\r]*\r\n", b""),
    "UIDVALIDITY 0": rewritten(rb"\[UIDVALIDITY \d+\]", b"[UIDVALIDITY 0]"),
}


@pytest.mark.parametrize("select", UNSTABLE.values(), ids=UNSTABLE.keys())
class TestNumbersThatDoNotLast:
    def test_lose_and_double_nothing_over_a_cut(
        self, box: Mailbox, imap_proxy: ImapProxy, select: Fault
    ) -> None:
        seen = box.raws("INBOX")
        imap_proxy.break_on("SELECT|EXAMINE", select, times=ALWAYS)
        imap_proxy.break_on("UID MOVE", cut_before)
        assert box.fetch().outcome == "failed"
        cycle = box.fetch_well()
        assert (cycle.stored, cycle.moved) == (0, 4)
        assert_each_is_there_once(box, seen)
        assert box.fetch_well().found == 0

    def test_are_not_believed_where_they_name_other_mails_in_the_next_session(
        self, box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy, select: Fault
    ) -> None:
        imap_proxy.break_on("SELECT|EXAMINE", select, times=ALWAYS)
        imap_proxy.break_on("UID MOVE", cut_before)
        seen = box.raws("INBOX")
        box.fetch()
        dovecot.set_uid_validity(box.user, 777)
        dovecot.deliver(box.user, mail("two"))
        box.fetch_well()
        assert_each_is_there_once(box, [*seen, seen[-1]])


class TestAFolder:
    def test_that_is_read_only_is_said_and_nothing_is_downloaded(
        self, box: Mailbox, imap_proxy: ImapProxy
    ) -> None:
        imap_proxy.break_on("SELECT", rewritten(rb"\[READ-WRITE\]", b"[READ-ONLY]"), times=ALWAYS)
        cycle = box.fetch()
        assert (cycle.error_code, cycle.stored) == ("folder_read_only", 0)
        assert box.connector.last_error_code == "folder_read_only"
        assert len(box.raws("INBOX")) == 4

    @pytest.mark.parametrize("refusal", ["NO [TRYCREATE] no such mailbox", "NO [NONEXISTENT] gone"])
    def test_that_is_gone_at_the_move_stops_fetching_and_goes_on_when_it_is_back(
        self, box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy, refusal: str
    ) -> None:
        seen = box.raws("INBOX")
        imap_proxy.break_on("UID MOVE", answer(refusal), times=2)
        assert box.fetch().error_code == "processed_folder_missing"
        later = dovecot.deliver(box.user, mail("later"))
        assert later == 5
        cycle = box.fetch()
        assert (cycle.error_code, cycle.stored) == ("processed_folder_missing", 0)
        assert box.connector.status == "failing"
        box.fetch_well()
        assert_each_is_there_once(box, [*seen, mail("later")])

    def test_that_is_the_trash_by_its_czech_name_is_used_and_no_other_is_made(
        self, gateway: Gateway, dovecot_mdbox: Dovecot
    ) -> None:
        with ImapProxy(dovecot_mdbox.port) as proxy:
            proxy.hide("SPECIAL-USE", "LIST-EXTENDED")
            proxy.break_on("LIST", rewritten(rb" ?\\(Trash|Sent|Drafts|Junk)", b""), times=ALWAYS)
            box = mailbox(gateway, dovecot_mdbox, imap_port=proxy.port)
            dovecot_mdbox.deliver(box.user, mail())
            box.fetch_well()
            assert len(box.raws("Koš")) == 1
            assert proxy.sent("CREATE") == []

    def test_named_inbox_in_any_case_is_one(
        self, gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy
    ) -> None:
        box = mailbox(
            gateway, dovecot, imap_port=imap_proxy.port, source_folder="INBOX", processed_folder="inbox"
        )
        dovecot.deliver(box.user, mail())
        assert box.fetch().error_code == "same_folder"
        assert imap_proxy.sent("UID (MOVE|COPY)") == []


class TestGmail:
    def test_has_mail_moved_and_never_copied_and_deleted(self, box: Mailbox, imap_proxy: ImapProxy) -> None:
        # What COPY, \\Deleted and EXPUNGE do there depends on the user's settings.
        seen = box.raws("INBOX")
        imap_proxy.break_on("CAPABILITY", rewritten(rb" MOVE(?=[ \r])", b" X-GM-EXT-1"), times=ALWAYS)
        box.fetch_well()
        assert imap_proxy.sent("UID MOVE")
        assert imap_proxy.sent("UID (COPY|STORE|EXPUNGE)|EXPUNGE|CLOSE") == []
        assert_each_is_there_once(box, seen)


class TestAPause:
    @pytest.mark.parametrize(
        ("command", "refusal", "code", "at_least_s", "at_most_s"),
        [
            ("SELECT", "NO [CORRUPTION] damaged", "mail_server_unavailable", 3600, 3600),
            ("LOGIN", "NO [LIMIT] too many", "too_many_connections", 150, 300),
            (
                "LOGIN",
                "BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds",
                "throttled",
                299,
                300,
            ),
            (
                "LOGIN",
                "BAD Request is throttled. Suggested Backoff Time: 99999999 milliseconds",
                "throttled",
                1800,
                1800,
            ),
        ],
    )
    def test_is_as_long_as_the_answer_asks(
        self,
        box: Mailbox,
        imap_proxy: ImapProxy,
        command: str,
        refusal: str,
        code: str,
        at_least_s: float,
        at_most_s: float,
    ) -> None:
        imap_proxy.break_on(command, answer(refusal))
        before = clock.utc_now()
        assert box.fetch().error_code == code
        assert_waits(box, before, at_least_s, at_most_s)
        assert box.connector.refused_logins == 0

    @pytest.mark.parametrize(
        ("failed_before", "at_most_s"), [(0, 30), (1, 60), (4, 480), (6, 1800), (500, 1800)]
    )
    def test_grows_with_each_failure_to_half_an_hour_and_never_for_ever(
        self, box: Mailbox, imap_proxy: ImapProxy, failed_before: int, at_most_s: float
    ) -> None:
        imap_proxy.turn_away(b"")
        box.set(failed_attempts=failed_before, status="failing")
        before = clock.utc_now()
        assert box.fetch().outcome == "failed"
        assert box.connector.status == "failing"
        assert_waits(box, before, at_most_s / 2, at_most_s)
