"""Servers that do not what they say they can, or are in trouble, at the real service over HTTP: nothing is lost, doubled or
reported as something else."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.scripted_mailbox import Box, Connect, assert_all_is_well, mail
from tools.servers.scripted_imap import CAPABILITIES, ScriptedImap, Session, hangs_up, says

BODIES = rb"UID FETCH .*BODY\.PEEK\[\]"


RAWS = [mail(number) for number in range(4)]


TROUBLE = {
    "SELECT in use": (rb"SELECT", b"NO [INUSE] locked", "mail_server_unavailable"),
    "SELECT throttled": (rb"SELECT", b"NO [THROTTLED] slower", "throttled"),
    "SEARCH refused": (rb"UID SEARCH UNDELETED", b"NO later", "command_refused"),
    "bodies issued as gone": (rb"UID FETCH .*BODY", b"NO [EXPUNGEISSUED] gone", "mail_not_given"),
    "a move over the quota": (rb"UID (MOVE|COPY)", b"NO [OVERQUOTA] full", "over_quota"),
    "a move over the quota, in words": (rb"UID (MOVE|COPY)", b"NO Mailbox is full", "over_quota"),
    "a move that cannot be": (rb"UID (MOVE|COPY)", b"NO [CANNOT] not this way", "command_refused"),
}


@pytest.mark.parametrize("what", TROUBLE)
def test_trouble_is_told_as_it_is_and_over_when_it_is_over(connect: Connect, what: str) -> None:
    with ScriptedImap(RAWS) as server:
        pattern, text, code = TROUBLE[what]
        server.on(pattern, says(text))
        box = connect(server)
        assert box.code() == code
        assert box.quarantine() == []
        server.well()
        box.fetch_well()
        assert_all_is_well(box, RAWS)


@pytest.mark.parametrize(
    "command", [rb"CAPABILITY", rb"LIST", rb"SELECT", rb"NOOP", rb"UID SEARCH", rb"UID FETCH", rb"UID MOVE"]
)
def test_a_server_that_goes_away_at_any_command_keeps_nothing(connect: Connect, command: bytes) -> None:
    with ScriptedImap(RAWS) as server:
        server.once(command, hangs_up)
        box = connect(server)
        assert box.code() in {"connection_lost", "mail_server_unavailable"}
        box.fetch_well()
        assert_all_is_well(box, RAWS)


def test_a_move_that_was_made_and_answered_no_is_found(connect: Connect) -> None:
    def moves_and_says_no(session: Session, tag: bytes, command: bytes) -> bool:
        sources, _ = session.copy(command)
        session.expunge(sources)
        session.send(tag + b" NO [SERVERBUG] something went wrong\r\n")
        return True

    with ScriptedImap(RAWS) as server:
        server.on(rb"UID MOVE", moves_and_says_no)
        box = connect(server)
        box.fetch()
        box.fetch()
        assert_all_is_well(box, RAWS)


@pytest.mark.parametrize("at", [rb"UID FETCH .*SIZE", rb"UID FETCH .*BODY"])
def test_a_mail_that_is_removed_in_mid_work_is_nobodys_trouble(connect: Connect, at: bytes) -> None:
    def without_one(session: Session, _tag: bytes, _command: bytes) -> None:
        session.expunge([2])

    with ScriptedImap(RAWS) as server:
        server.once(at, without_one)
        box = connect(server)
        box.fetch()
        box.fetch_well()
        assert_all_is_well(box, [raw for raw in RAWS if raw != RAWS[1]])


def test_a_folder_numbered_anew_between_two_cycles_doubles_nothing(connect: Connect) -> None:
    with ScriptedImap(RAWS) as server:
        server.once(rb"UID MOVE", hangs_up)
        box = connect(server)
        assert box.code() == "connection_lost"
        server.inbox.uidvalidity = 77
        server.inbox.mails = {uid + 100: each for uid, each in server.inbox.mails.items()}
        server.inbox.uidnext = 200
        box.fetch_well()
        assert_all_is_well(box, RAWS)


class TestATrash:
    @pytest.mark.parametrize("text", [b"NO [ALREADYEXISTS] it is there", b"NO Mailbox already exists"])
    def test_that_is_there_and_not_listed_is_used(self, connect: Connect, text: bytes) -> None:
        with ScriptedImap(RAWS) as server:
            server.rewrite(rb'^\* LIST [^\r]*"Trash"\r\n', b"")
            server.on(rb"CREATE", says(text))
            box = connect(server)
            box.fetch_well()
            assert_all_is_well(box, RAWS)

    def test_that_cannot_be_made_is_told_before_anything_is_stored(self, connect: Connect) -> None:
        with ScriptedImap(RAWS) as server:
            del server.folders[b"Trash"]
            server.on(rb"CREATE", says(b"NO [CANNOT] no folders here"))
            box = connect(server)
            assert (box.code(), box.messages()) == ("processed_folder_missing", [])

    def test_that_disappears_in_mid_work_is_made_again(self, connect: Connect) -> None:
        def without_it(session: Session, _tag: bytes, _command: bytes) -> None:
            session.server.folders.pop(b"Trash", None)

        with ScriptedImap(RAWS) as server:
            server.once(rb"UID MOVE", without_it)
            box = connect(server)
            box.fetch()
            box.fetch_well()
            assert_all_is_well(box, RAWS)


def copies_and_keeps(code: bytes | None, tagged: bytes) -> Callable[[Session, bytes, bytes], bool]:
    """A MOVE that is a COPY."""

    def script(session: Session, tag: bytes, command: bytes) -> bool:
        _, told = session.copy(command)
        if code is not None:
            session.send(b"* OK " + told + b" copied\r\n")
        session.send(tag + b" " + tagged + b"\r\n")
        return True

    return script


class TestAMoveThatOnlyCopies:
    @pytest.mark.parametrize("code", [None, b"COPYUID"])
    @pytest.mark.parametrize("tagged", [b"NO [NOPERM] cannot expunge", b"OK done", b"NO"])
    def test_is_completed_by_removing(self, connect: Connect, code: bytes | None, tagged: bytes) -> None:
        with ScriptedImap(RAWS) as server:
            server.on(rb"UID MOVE", copies_and_keeps(code, tagged))
            box = connect(server)
            for _ in range(3):
                box.fetch()
            assert_all_is_well(box, RAWS)

    @pytest.mark.parametrize("removal", [rb"UID STORE", rb"UID EXPUNGE"])
    @pytest.mark.parametrize("text", [b"NO [NOPERM] not yours", b"OK done"])
    @pytest.mark.parametrize("capabilities", [CAPABILITIES, CAPABILITIES.replace(b" MOVE", b"")])
    def test_and_cannot_be_completed_stops_the_connector_at_the_second_sight(
        self, connect: Connect, removal: bytes, text: bytes, capabilities: bytes
    ) -> None:
        with ScriptedImap(RAWS, capabilities=capabilities) as server:
            server.on(rb"UID MOVE", copies_and_keeps(b"COPYUID", b"OK done"))
            server.on(removal, says(text))
            box = connect(server)
            assert box.code() == "copy_not_removed"
            assert box.connector()["status"] == "failing"
            server.inbox.add(mail(9))
            assert box.code() == "copy_not_removed"
            shown = box.connector()
            assert (shown["status"], shown["last_error"]["code"]) == ("stopped", "copy_not_removed")
            assert [t for t in box.event_types() if t.startswith("connector.")] == [
                "connector.failing",
                "connector.stopped",
            ]
            assert len(server.trash.raws()) == 4
            refused = box.client.post(f"/connectors/{box.id}/fetch", headers=box.headers)
            assert (refused.status_code, "delete" in refused.json()["detail"]) == (409, True)
            # The right is given: what was copied is only removed, and the rest goes on.
            server.well()
            box.resume()
            box.fetch_well()
            assert_all_is_well(box, [*RAWS, mail(9)])

    def test_for_want_of_a_right_is_told_before_more_is_stored(self, connect: Connect) -> None:
        with ScriptedImap(RAWS) as server:
            server.on(rb"UID (MOVE|COPY)", says(b"NO [NOPERM] no"))
            box = connect(server)
            assert box.code() == "no_right_to_move"
            server.inbox.add(mail(9))
            assert box.code() == "no_right_to_move"
            assert (len(box.messages()), server.trash.raws()) == (4, [])


class TestAServerInTrouble:
    @pytest.mark.parametrize(
        "text",
        [
            b"NO [TEMPFAIL] failure",
            b"NO [LIMIT] too fast",
            b"NO [UNAVAILABLE] later",
            b"NO Server Unavailable. 15",
            b"NO [OVERQUOTA] bandwidth",
            b"NO [SERVERBUG] oops",
            b"BAD what",
            b"OK done",
        ],
    )
    def test_quarantines_nothing_and_is_asked_little(self, connect: Connect, text: bytes) -> None:
        raws = [mail(number) for number in range(30)]
        with ScriptedImap(raws) as server:
            server.trash.add(mail(99))
            server.on(BODIES, says(text))
            box = connect(server)
            for _ in range(4):
                assert box.fetch()["outcome"] == "failed"
            assert len(server.sent("UID FETCH .*BODY")) <= 4 * 7
            assert box.quarantine() == []
            server.well()
            box.fetch_well()
            assert len(box.messages()) == 30
            assert server.inbox.raws() == []

    def test_that_cuts_the_line_over_whatever_is_asked_for_quarantines_nothing(
        self, connect: Connect
    ) -> None:
        with ScriptedImap(RAWS) as server:
            server.on(BODIES, hangs_up)
            box = connect(server)
            for _ in range(8):
                assert box.code() == "connection_lost"
            assert box.quarantine() == []
            server.well()
            box.fetch_well()
            assert_all_is_well(box, RAWS)


def over(uid: int, script: Callable[[Session, bytes, bytes], bool | None]) -> Any:
    """What happens over one mail."""
    return lambda session, tag, command: (
        script(session, tag, command) if uid in session.uids(command.split(b" ")[2]) else None
    )


def gives_all_but(uid: int) -> Callable[[Session, bytes, bytes], bool | None]:
    """OK, and no body for one mail."""

    def script(session: Session, tag: bytes, command: bytes) -> bool | None:
        wanted = [each for each in session.uids(command.split(b" ")[2]) if each != uid]
        if wanted:
            words = command.split(b" ", 3)
            uid_set = b",".join(b"%d" % each for each in wanted)
            session.do_uid_fetch(b" ".join([*words[:2], uid_set, words[3]]))
        session.send(tag + b" OK done\r\n")
        return True

    return script


class TestOneMailThatDoesNotCome:
    @pytest.mark.parametrize(
        "script",
        [over(2, says(b"NO [SERVERBUG] this one")), over(2, says(b"BAD no")), gives_all_but(2)],
        ids=["NO", "BAD", "OK without it"],
    )
    def test_is_quarantined_and_keeps_no_other(self, connect: Connect, script: Any) -> None:
        with ScriptedImap(RAWS) as server:
            server.on(rb"UID FETCH .*BODY\.PEEK\[\]\)", script)
            box = connect(server)
            for _ in range(3):
                box.fetch()
            assert (len(box.messages()), len(server.trash.raws())) == (3, 3)
            assert [(row["uid"], row["attempts"]) for row in box.quarantine()] == [(2, 3)]
            assert box.connector()["status"] == "active"

    @pytest.mark.parametrize("pattern", [BODIES + rb"\)", rb"UID FETCH .*SIZE"], ids=["body", "size"])
    def test_because_the_line_is_cut_over_it_is_quarantined_in_the_end(
        self, connect: Connect, pattern: bytes
    ) -> None:
        with ScriptedImap(RAWS) as server:
            server.on(pattern, over(2, hangs_up))
            box = connect(server)
            for _ in range(6):
                box.fetch()
            assert (len(box.messages()), len(server.trash.raws())) == (3, 3)
            assert [(row["uid"], row["attempts"]) for row in box.quarantine()] == [(2, 3)]
            assert box.connector()["status"] == "active"

    def test_is_released_with_others_by_a_filter(self, connect: Connect) -> None:
        with ScriptedImap(RAWS) as server:
            server.on(rb"UID FETCH .*BODY\.PEEK\[\]\)", over(2, says(b"NO this one")))
            box = connect(server)
            for _ in range(3):
                box.fetch()
            assert len(box.quarantine()) == 1
            server.well()

            def released(**filters: str) -> int:
                answer = box.client.post("/quarantine/retry", json=filters, headers=box.headers)
                assert answer.status_code == 200, answer.text
                return int(answer.json()["retried"])

            assert released(connector_id=box.id, reason="too_large") == 0
            assert released(connector_id=box.id, reason="command_refused") == 1
            box.fetch_well()
            assert_all_is_well(box, RAWS)


class TestAMailThatIsAnnouncedAsTooLarge:
    def announced(self, connect: Connect, server: ScriptedImap) -> Box:
        server.rewrite(rb"(UID 2) RFC822\.SIZE \d+", rb"\1 RFC822.SIZE 999999999")
        return connect(server)

    def test_and_is_not_is_taken(self, connect: Connect) -> None:
        with ScriptedImap(RAWS) as server:
            box = self.announced(connect, server)
            box.fetch_well()
            assert_all_is_well(box, RAWS)

    def test_and_is_so_is_quarantined_unseen(self, connect: Connect) -> None:
        raws = [RAWS[0], mail(1, "x" * 2_000_000), *RAWS[2:]]
        with ScriptedImap(raws) as server:
            box = self.announced(connect, server)
            assert box.fetch_well()["quarantined"] == 1
            assert (len(box.messages()), len(server.inbox.raws())) == (3, 1)
            assert server.octets_sent < 100_000

    @pytest.mark.parametrize("script", [says(b"NO no"), says(b"BAD no"), says(b"OK done"), hangs_up])
    def test_by_a_server_that_does_not_show_it_is_quarantined_at_once(
        self, connect: Connect, script: Any
    ) -> None:
        with ScriptedImap(RAWS) as server:
            box = self.announced(connect, server)
            server.on(rb"UID FETCH .*BODY\.PEEK\[\]<", script)
            if script is hangs_up:
                assert box.code() == "connection_lost"
            box.fetch_well()
            assert [each["reason"] for each in box.quarantine()] == ["too_large"]
            assert (len(box.messages()), len(server.inbox.raws())) == (3, 1)


def moves_and_hangs_up(session: Session, _tag: bytes, command: bytes) -> bool:
    """The move is made, and nobody hears of it."""
    sources, _ = session.copy(command)
    session.expunge(sources)
    return False


def copies_and_hangs_up(session: Session, _tag: bytes, command: bytes) -> bool:
    """The mails are copied, and stay in the source folder; nobody hears of it."""
    session.copy(command)
    return False


class TestAfterAMoveOfWhichNobodyHeard:
    def cut(self, connect: Connect, server: ScriptedImap) -> Box:
        server.once(rb"UID MOVE", moves_and_hangs_up)
        box = connect(server)
        assert box.fetch()["outcome"] == "failed"
        return box

    def test_a_mail_too_large_to_look_at_keeps_nothing(self, connect: Connect) -> None:
        with ScriptedImap(RAWS) as server:
            box = self.cut(connect, server)
            server.trash.add(mail(50, "x" * 3_000_000))
            server.inbox.add(mail(9))
            assert box.fetch_well()["moved"] == 5
            assert len(box.messages()) == 5
            assert all(message["moved_at"] for message in box.messages())

    def test_the_copies_are_found_without_downloading_the_folder(self, connect: Connect) -> None:
        with ScriptedImap(RAWS) as server:
            box = self.cut(connect, server)
            for number in range(200):
                server.trash.add(mail(1000 + number, "z" * 20_000))
            before = server.octets_sent
            assert box.fetch_well()["moved"] == 4
            assert server.octets_sent - before < 200_000

    @pytest.mark.parametrize("script", [says(b"NO damaged"), says(b"OK done")])
    def test_copies_that_cannot_be_looked_at_leave_what_is_gone_as_gone(
        self, connect: Connect, script: Any
    ) -> None:
        with ScriptedImap(RAWS) as server:
            box = self.cut(connect, server)
            server.on(rb"UID FETCH .*BODY\.PEEK\[\]<", script)
            server.inbox.add(mail(9))
            box.fetch_well()
            assert (len(box.messages()), len(server.trash.raws())) == (5, 5)

    def test_a_copy_that_cuts_the_line_does_not_do_so_for_ever(self, connect: Connect) -> None:
        with ScriptedImap(RAWS) as server:
            box = self.cut(connect, server)
            server.on(rb"UID FETCH .*BODY\.PEEK\[\]<", hangs_up)
            server.inbox.add(mail(9))
            for _ in range(8):
                cycle = box.fetch()
            assert (cycle["outcome"], len(box.messages()), len(server.trash.raws())) == ("ok", 5, 5)

    @pytest.mark.parametrize(
        ("size", "everywhere"),
        [
            (b"0", True),
            (b"NIL", True),
            (b"1999999", True),
            (b"999999999", True),
            (b"1", False),
            (b"999999999", False),
        ],
    )
    def test_a_copy_is_found_whatever_size_the_server_announces(
        self, connect: Connect, size: bytes, everywhere: bool
    ) -> None:
        """From the beginning, or for the copies alone."""
        with ScriptedImap([mail(number, "z" * 5000 * number) for number in range(4)]) as server:
            if everywhere:
                server.rewrite(rb"RFC822\.SIZE \d+", b"RFC822.SIZE " + size)
            server.once(rb"UID MOVE", copies_and_hangs_up)
            box = connect(server)
            assert box.fetch()["outcome"] == "failed"
            server.trash.add(mail(50, "x" * 3_000_000))
            server.rewrite(rb"RFC822\.SIZE \d+", b"RFC822.SIZE " + size)
            box.fetch_well()
            assert (len(box.messages()), len(server.inbox.raws()), len(server.trash.raws())) == (4, 0, 5)
            assert all(message["moved_at"] for message in box.messages())

    def test_what_is_in_the_source_still_waits_until_its_copy_can_be_looked_at(
        self, connect: Connect
    ) -> None:
        with ScriptedImap(RAWS) as server:
            server.once(rb"UID MOVE", copies_and_hangs_up)
            box = connect(server)
            assert box.fetch()["outcome"] == "failed"
            server.on(rb"UID FETCH .*BODY\.PEEK\[\]<", says(b"NO damaged"))
            server.inbox.add(mail(9))
            for _ in range(2):
                assert box.code() == "copies_unknown"
            # The new one is taken in and moved; the others are neither copied nor moved again.
            assert (len(box.messages()), len(server.trash.raws()), len(server.inbox.raws())) == (5, 5, 4)
            server.well()
            box.fetch_well()
            assert_all_is_well(box, [*RAWS, mail(9)])
