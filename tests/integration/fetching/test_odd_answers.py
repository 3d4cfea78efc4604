"""Answers of servers in odd forms, each with four mails at the real service over HTTP: all mail is taken, and each answer counts
for the right mail."""

import re
from typing import Any

import pytest

from tests.support.scripted_mailbox import Connect, assert_all_is_well, mail
from tools.servers.scripted_imap import (
    CAPABILITIES,
    DATE,
    ScriptedFolder,
    ScriptedImap,
    Session,
    hangs_up,
    says,
)

RAWS = [mail(number) for number in range(4)]
SWITCHED_OFF = b"[ALERT] Please enable IMAP access in your account settings first."


FETCHED = rb"^(\* \d+ FETCH \()(UID \d+) (INTERNALDATE \"[^\"]*\") (BODY\[\] \{\d+\}\r\n(?s:.*))\)\r\n\Z"
"""A whole answer with a body, as the server sends it."""


REWRITES: dict[str, tuple[bytes, bytes]] = {
    "LF alone, around literals too": (rb"(\{\d+\}|\))\r\n(?=\* |\Z|Message-ID)", rb"\1\n"),
    "codes in another case": (rb"\[(UIDNEXT|UIDVALIDITY|READ-WRITE) ?", rb"[\1 "),
    "a literal8": (rb"BODY\[\] \{", b"BODY[] ~{"),
    "UID after the body": (FETCHED, rb"\1\3 \4 \2)" + b"\r\n"),
    "more items than asked for": (
        FETCHED,
        rb'\1FLAGS (\\Seen $Forwarded NonJunk) MODSEQ (12) X-GM-LABELS ("a)" "b\\"") ENVELOPE (NIL "(" NIL) \2 \3 \4)'
        + b"\r\n",
    ),
    "a body named RFC822": (rb"BODY\[\] \{", b"RFC822 {"),
    "a body named in another case": (rb"BODY\[\] \{", b"body[] {"),
    "every body twice": (FETCHED, rb"\g<0>\g<0>"),
    "more spaces than one": (rb"^\* (\d+) FETCH \(UID", rb"*  \1  FETCH  ( UID "),
    "empty lines": (rb"^(\* (?:SEARCH|LIST|STATUS|\d+ FETCH))", b"\r\n\r\n" + rb"\1"),
    "warnings between answers": (
        rb"^(\* (?:SEARCH|LIST|STATUS|\d+ FETCH))",
        b"* NO Disk is 98% full\r\n* BAD [CLIENTBUG] old client\r\n* OK Still here\r\n" + rb"\1",
    ),
    "a continuation that nobody asked for": (rb"^(\* (?:SEARCH|\d+ FETCH))", b"+ idling\r\n" + rb"\1"),
    "mails that others remove": (rb"^(\* \d+ FETCH \(UID)", b"* 9 EXPUNGE\r\n* 3 EXISTS\r\n" + rb"\1"),
    "VANISHED for EXPUNGE": (rb"^\* \d+ EXPUNGE", b"* VANISHED (EARLIER) 1:4"),
    "no EXPUNGE of what was moved": (rb"^\* \d+ EXPUNGE\r\n", b""),
    "SEARCH with MODSEQ": (rb"^(\* SEARCH[ 0-9]*)\r", rb"\1 (MODSEQ 917162500)" + b"\r"),
    "SEARCH with spaces, zeros and doublets": (rb"^\* SEARCH 1 2 3 4\r", b"* SEARCH  4 0 2 2 1 3 \r"),
    "ESEARCH counted and backwards": (
        rb"^\* SEARCH 1 2 3 4\r",
        b'* ESEARCH (TAG "A1") UID MIN 1 MAX 4 COUNT 4 ALL 4:1\r',
    ),
    "ESEARCH for nothing": (rb"^\* SEARCH\r", b'* ESEARCH (TAG "A1") UID COUNT 0\r'),
    "COPYUID in another case": (rb"COPYUID", b"CopyUid"),
    "COPYUID backwards": (rb"\[COPYUID (\d+) 1,2,3,4 1,2,3,4\]", rb"[COPYUID \1 4:1 4:1]"),
    "COPYUID without UIDVALIDITY": (rb"\[COPYUID \d+ ", b"[COPYUID "),
    "a folder by a literal": (rb'"(Trash|INBOX)"\r\n', rb"{5}" + b"\r\n" + rb"\1" + b"\r\n"),
    "STATUS of a name in another spelling": (rb'^\* STATUS "Trash"', b"* STATUS Trash"),
    "STATUS with more": (rb"\(MESSAGES", b"(HIGHESTMODSEQ 7 SIZE 123456789012 MESSAGES"),
    "NAMESPACE without any": (rb"^\* NAMESPACE [^\r]*", b"* NAMESPACE NIL NIL NIL"),
    "NAMESPACE of nonsense": (rb"^\* NAMESPACE [^\r]*", b'* NAMESPACE (("'),
    "Inbox": (rb'^(\* LIST [^\r]*)"INBOX"', rb'\1"Inbox"'),
    "LIST without a delimiter": (rb'^(\* LIST \([^)]*\)) "/"', rb"\1 NIL"),
    "LIST with a backslash as delimiter": (rb'^(\* LIST \([^)]*\)) "/"', rb'\1 "\\\\"'),
    "LIST with attributes in another case": (rb"\\Trash", rb"\\TRASH"),
    "LIST with rows of others": (
        rb"^(\* LIST)",
        b'* LIST (\\\\Nonexistent \\\\Trash) "/" "gone"\r\n' + rb"\1",
    ),
    "more of SELECT": (
        rb"^(\* \d+ EXISTS)",
        b"* FLAGS ()\r\n* 0 RECENT\r\n* OK [PERMANENTFLAGS ()] none\r\n* OK [NOMODSEQ] x\r\n* OK [MAILBOXID (x)] y\r\n"
        + rb"\1",
    ),
    "UIDs that do not stick": (rb"^(\* OK \[UIDNEXT)", b"* NO [UIDNOTSTICKY] not here\r\n" + rb"\1"),
    "UIDVALIDITY 0": (rb"UIDVALIDITY \d+", b"UIDVALIDITY 0"),
    "UIDVALIDITY of all bits": (rb"UIDVALIDITY \d+", b"UIDVALIDITY 4294967295"),
    "UIDVALIDITY of too many": (rb"UIDVALIDITY \d+", b"UIDVALIDITY 42949672960"),
    "UIDNEXT 0": (rb"UIDNEXT \d+", b"UIDNEXT 0"),
    "CAPABILITY with tabs, twice": (rb"^\* CAPABILITY ", b"* CAPABILITY X\r\n* CAPABILITY\t"),
    "a time of day that cannot be": (re.escape(DATE), b'"23-Nov-2026 99:99:99 +0100"'),
    "a date without a zone": (re.escape(DATE), b'"23-Nov-2026 10:00:00"'),
    "a date of the far past": (re.escape(DATE), b'"01-Jan-0001 00:00:00 +1400"'),
    "a date that is no string": (re.escape(DATE), b"23-Nov-2026"),
    "a size of many digits": (rb"RFC822\.SIZE \d+", b"RFC822.SIZE 99999999999999999999999"),
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


def answers_in_lower_case(octets: bytes) -> bytes:
    """All but the octets of mails and names."""
    kept = rb'("[^"\r\n]*"|\{\d+\}\r\n(?s:.*))'
    parts = re.split(kept, octets)
    return b"".join(part if place % 2 else part.lower() for place, part in enumerate(parts))


def test_a_server_that_speaks_in_lower_case_alone_gets_all_its_mail_taken(connect: Connect) -> None:
    with ScriptedImap(RAWS) as server:

        def with_its_tag(octets: bytes) -> bytes:
            tag = re.match(rb"[A-Z]+\d+ ", octets)
            return (
                tag[0] + answers_in_lower_case(octets[tag.end() :]) if tag else answers_in_lower_case(octets)
            )

        server.rewrites.append(with_its_tag)
        box = connect(server)
        box.fetch_well()
        assert_all_is_well(box, RAWS)


REFUSALS = {
    "NOOP": (rb"NOOP", b"BAD unknown"),
    "CAPABILITY after the login": (rb"CAPABILITY", b"NO [UNAVAILABLE] later"),
    "ID": (rb"ID ", b"BAD unknown"),
    "UNSELECT": (rb"UNSELECT", b"BAD unknown"),
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
    with ScriptedImap(RAWS, capabilities=CAPABILITIES + b" ID") as server:
        server.greeting = b"* OK [CAPABILITY " + CAPABILITIES + b" ID] ready\r\n"
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


class TestAServerThatNeverAnswersID:
    def hangs(self, _session: Session, _tag: bytes, _command: bytes) -> bool:
        return True

    def test_costs_its_time_limit_once(self, connect: Connect) -> None:
        with ScriptedImap(RAWS, capabilities=CAPABILITIES + b" ID") as server:
            server.on(rb"ID ", self.hangs)
            box = connect(server)
            assert box.code() == "mail_server_timeout"
            box.fetch_well()
            box.fetch_well()
            assert len(server.sent("ID ")) == 1
            assert_all_is_well(box, RAWS)

    def test_and_closes_the_connection_does_so_once(self, connect: Connect) -> None:
        with ScriptedImap(RAWS, capabilities=CAPABILITIES + b" ID") as server:
            server.on(rb"ID ", hangs_up)
            box = connect(server)
            assert box.code() == "connection_lost"
            box.fetch_well()
            assert_all_is_well(box, RAWS)

    def test_and_refuses_a_folder_without_it_gets_it_again(self, connect: Connect) -> None:
        with ScriptedImap(RAWS, capabilities=CAPABILITIES + b" ID") as server:
            server.once(rb"ID ", self.hangs)
            box = connect(server)
            assert box.code() == "mail_server_timeout"
            server.once(rb"SELECT", says(b"NO Select Unsafe Login. Please contact kefu@example.net"))
            assert box.fetch()["outcome"] == "failed"
            box.fetch_well()
            assert len(server.sent("ID ")) == 2
            assert_all_is_well(box, RAWS)


@pytest.mark.parametrize("script", [says(b"NO " + SWITCHED_OFF), says(b"BAD no"), hangs_up])
def test_imap_that_is_switched_off_after_a_good_login_is_told(connect: Connect, script: Any) -> None:
    with ScriptedImap(RAWS) as server:
        server.on(rb"LOGIN", says(b"OK " + SWITCHED_OFF))
        server.on(rb"LIST", script)
        box = connect(server)
        assert box.code() == "imap_switched_off"
        # Once it is switched on, an ALERT that is left over changes nothing.
        server.well()
        server.on(rb"LOGIN", says(b"OK " + SWITCHED_OFF))
        box.fetch_well()
        assert_all_is_well(box, RAWS)


def test_a_server_that_says_somebody_is_logged_in_gets_no_password(connect: Connect) -> None:
    with ScriptedImap(RAWS) as server:
        server.greeting = b"* PREAUTH welcome\r\n"
        box = connect(server)
        assert (box.code(), server.sent("LOGIN|AUTHENTICATE")) == ("no_login_method", [])
        assert "already" in box.connector()["last_error"]["detail"]


@pytest.mark.parametrize("greeting", [b"* OK\r\n", b"* ok \r\n", b"* OK [CAPABILITY]\n", b"*  OK ready\r\n"])
def test_a_greeting_in_any_form_is_one(connect: Connect, greeting: bytes) -> None:
    with ScriptedImap(RAWS) as server:
        server.greeting = greeting
        box = connect(server)
        box.fetch_well()
        assert_all_is_well(box, RAWS)


def test_a_server_without_login_takes_a_password_by_sasl(connect: Connect) -> None:
    with ScriptedImap(RAWS, capabilities=CAPABILITIES + b" LOGINDISABLED UTF8=ACCEPT LITERAL+") as server:
        server.on(rb"ENABLE|LOGIN", says(b"BAD not here"))
        box = connect(server)
        box.fetch_well()
        assert [mechanism for mechanism, _, _ in server.logins] == ["PLAIN"]
        assert_all_is_well(box, RAWS)


def test_a_folder_of_its_own_name_is_looked_for_as_it_was_listed(connect: Connect) -> None:
    with ScriptedImap(RAWS) as server:
        server.folders[b"Tom\tand Jerry"] = ScriptedFolder(9, listed_as=b"Tom\tand Jerry")
        box = connect(server)
        box.fetch_well()
        assert_all_is_well(box, RAWS)


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
