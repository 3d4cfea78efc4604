"""Servers that answer oddly, or not as they say they can, at the real service over HTTP: nothing is lost, nothing
doubled, nothing told as what it is not."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.scripted_mailbox import Box, Connect, assert_all_is_well, mail
from tools.servers.scripted_imap import CAPABILITIES, ScriptedFolder, ScriptedImap, Session, hangs_up, says

BODIES = rb"UID FETCH .*BODY\.PEEK\[\]"

RAWS = [mail(number) for number in range(4)]

REWRITES: dict[str, tuple[bytes, bytes]] = {
    "a status without a text": (rb"^(\S+ OK)[^\[\r\n]*\r\n", rb"\1\r\n"),
    "SEARCH in another case": (rb"^\* SEARCH", b"* Search"),
    "FETCH in another case": (rb"^(\* \d+) FETCH \(UID", rb"\1 fetch (uid"),
    "LIST in another case": (rb"^\* LIST", b"* List"),
    "OK in another case": (rb"^(\S+) OK", rb"\1 Ok"),
    "ESEARCH for SEARCH": (rb"^\* SEARCH 1 2 3 4\r", b'* ESEARCH (TAG "x") UID ALL 1:2,3:4\r'),
    "a search in several lines": (rb"^\* SEARCH 1 2 3 4\r\n", b"* SEARCH 1 2\r\n* SEARCH 3 4\r\n"),
    "a search without an answer": (rb"^\* SEARCH[^\r]*\r\n", b""),
    "lines that end with LF": (
        rb"^(\* (?:OK|LIST|SEARCH|STATUS|CAPABILITY)[^\r\n]*|X[^\r\n]*)\r\n",
        rb"\1\n",
    ),
    "a date that cannot be": (rb'"23-Nov-2026[^"]*"', b'"00-Jan-0000 00:00:00 +0000"'),
    "no date": (rb'INTERNALDATE "[^"]*"', b"INTERNALDATE NIL"),
    "no size": (rb" RFC822\.SIZE \d+", b""),
    "a size that is no number": (rb"RFC822\.SIZE \d+", b"RFC822.SIZE -1"),
    "items split over two answers": (
        rb"^(\* \d+ FETCH )\((UID \d+) (INTERNALDATE \"[^\"]*\") BODY",
        rb"\1(\2 \3)" + b"\r\n" + rb"* 9 EXISTS" + b"\r\n" + rb"\1(\2 BODY",
    ),
    "answers for others": (rb"^(\* \d+ FETCH \(UID)", b"* 9 FETCH (UID 77 BODY[] {3}\r\nabc)\r\n" + rb"\1"),
    "an answer that is nobody's": (rb"^(\* \d+ FETCH \(UID)", b"* 2 FETCH (FLAGS (Seen))\r\n" + rb"\1"),
    "[UIDNEXT] without a number": (rb"\[UIDNEXT \d+\]", b"[UIDNEXT]"),
    "no counters": (rb"^\* OK \[(?:UIDNEXT|UIDVALIDITY) \d+\][^\r]*\r\n", b""),
    "no STATUS": (rb"^\* STATUS[^\r]*\r\n", b""),
    "no EXISTS": (rb"^\* \d+ EXISTS\r\n", b""),
    "COPYUID empty": (rb"\[COPYUID [^\]]*\]", b"[COPYUID 14  ]"),
    "COPYUID outside an OK": (rb"^\* OK (\[COPYUID [^\]]*\])[^\r]*", rb"\1"),
    "COPYUID of all that can be": (rb"COPYUID \d+ [^\]]*", b"COPYUID 1 1:4294967295 1:4294967295"),
    "COPYUID of others": (rb"COPYUID \d+ [^\]]*", b"COPYUID 2000 900:903 1:4"),
    "no COPYUID": (rb"\[COPYUID [^\]]*\] ?", b""),
    "no INBOX in the list": (rb'^\* LIST [^\r]*"INBOX"\r\n', b""),
    "lines that are no IMAP": (rb"^(\* SEARCH)", rb"\\o/" + b"\r\n" + rb"\1"),
}


@pytest.mark.parametrize("quirk", REWRITES)
def test_a_server_that_answers_oddly_gets_all_its_mail_taken(connect: Connect, quirk: str) -> None:
    with ScriptedImap(RAWS) as server:
        server.rewrite(*REWRITES[quirk])
        box = connect(server)
        box.fetch()
        box.fetch_well()
        assert_all_is_well(box, RAWS)


REFUSALS = {
    "NAMESPACE": (rb"NAMESPACE", b"BAD syntax"),
    "a LIST of special uses": (rb"LIST \(SPECIAL-USE\)", b"BAD syntax"),
    "STATUS": (rb"STATUS", b"NO not now"),
    "MOVE by BAD": (rb"UID MOVE", b"BAD unknown"),
    "MOVE by NO": (rb"UID MOVE", b"NO [CANNOT] not here"),
    "sizes": (rb"UID FETCH .*RFC822\.SIZE", b"NO [SERVERBUG] broken"),
    "the size of one mail": (rb"UID FETCH (1:4|2|1:2) .*RFC822\.SIZE", b"NO broken"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_server_that_refuses_what_one_can_do_without_gets_all_its_mail_taken(
    connect: Connect, what: str
) -> None:
    with ScriptedImap(RAWS) as server:
        pattern, text = REFUSALS[what]
        server.on(pattern, says(text))
        box = connect(server)
        box.fetch_well()
        box.fetch_well()
        assert_all_is_well(box, RAWS)


def test_a_server_that_does_not_say_what_it_can_do_is_used_as_one_that_can_little(connect: Connect) -> None:
    with ScriptedImap(RAWS) as server:
        server.on(rb"CAPABILITY", says(b"NO not you"))
        box = connect(server)
        box.fetch_well()
        assert (len(box.messages()), server.trash.raws()) == (4, RAWS)
        assert server.sent("UID (MOVE|EXPUNGE)") == []
        assert all(each.flags == {b"\\Deleted"} for each in server.inbox.mails.values())


def test_a_server_of_imap4rev2_alone_gets_all_its_mail_taken(connect: Connect) -> None:
    with ScriptedImap(RAWS, capabilities=b"IMAP4rev2 AUTH=PLAIN") as server:
        server.rewrite(rb"^\* SEARCH 1 2 3 4\r", b"* ESEARCH UID ALL 1:4\r")
        box = connect(server)
        box.fetch_well()
        assert_all_is_well(box, RAWS)
        assert server.sent("UID MOVE")


class TestAnAnswerWithoutAUid:
    def test_is_nobodys(self, connect: Connect) -> None:
        """By its sequence number, mail 1 would be taken for mail 2."""
        with ScriptedImap([mail(0), *RAWS]) as server:
            del server.inbox.mails[1]
            server.rewrite(rb"^(\* \d+ FETCH \()UID \d+ ", rb"\1")
            box = connect(server)
            assert box.code() == "mail_not_given"
            assert (box.messages(), server.trash.raws(), len(server.inbox.raws())) == ([], [], 4)
            assert box.quarantine() == []


class TestADate:
    def test_that_is_none_is_null_and_a_defect(self, connect: Connect) -> None:
        with ScriptedImap() as server:
            server.inbox.add(mail(1), b'"30-Feb-2020 02:44:25 +0100"')
            server.inbox.add(mail(2))
            box = connect(server)
            box.fetch_well()
            shown = [
                box.client.get(f"/messages/{each['id']}", headers=box.headers).json()
                for each in box.messages()
            ]
        assert [each["internal_date"] for each in shown] == [None, "2026-11-23T09:00:00.000000Z"]
        codes = [[defect["code"] for defect in each["defects"]] for each in shown]
        assert codes == [["bad_internal_date"], []]


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
        [(b"0", True), (b"NIL", True), (b"1999999", True), (b"1", False), (b"999999999", False)],
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


class TestFolders:
    @pytest.mark.parametrize(
        "listed",
        [
            b"[todo",
            b"INBOX/Da\tOggetto\tRicevuto\t",
            b"My own folder",
            b'"R&D"',
            b'"&"',
            b'"&2D3-"',
            b'{3}\r\na"b',
            b'"a"b"',
            b'"caf\xe9"',
            b'""',
            b"{3}\r\na\nb",
            b"",
        ],
    )
    def test_of_any_name_keep_no_mail(self, connect: Connect, listed: bytes) -> None:
        with ScriptedImap(RAWS) as server:
            server.folders = {b"other": ScriptedFolder(9, listed_as=listed), **server.folders}
            box = connect(server)
            box.fetch_well()
            assert_all_is_well(box, RAWS)

    @pytest.mark.parametrize(
        ("octets", "listed", "shown"),
        [
            (b"R&D", None, "R&D"),
            (b"R&-D", None, "R&D"),
            (b"[todo", b"[todo", "[todo"),
            (b"Tom & Jerry", b"Tom & Jerry", "Tom & Jerry"),
            (b"Ko&AWE-", None, "Koš"),
            (b"Ko\xc5\xa1", None, "Koš"),
            (b"INBOX\\Done", b'"INBOX\\Done"', "INBOX\\Done"),
        ],
    )
    def test_are_addressed_by_their_own_octets(
        self, connect: Connect, octets: bytes, listed: bytes | None, shown: str
    ) -> None:
        with ScriptedImap(RAWS) as server:
            server.folders[octets] = ScriptedFolder(9, listed_as=listed)
            box = connect(server, processed_folder=shown)
            box.fetch_well()
            assert_all_is_well(box, RAWS, processed=octets)
