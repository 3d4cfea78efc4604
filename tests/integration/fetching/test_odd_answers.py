"""More habits of servers, each tried with four mails over HTTP: neighbours of those in `test_bending_servers.py`."""

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
    "codes in another case": (rb"\[(UIDNEXT|UIDVALIDITY|COPYUID|READ-WRITE)", b"[uIdVaLiDiTy-of-none] ["),
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
}
REWRITES["codes in another case"] = (rb"\[(UIDNEXT|UIDVALIDITY|READ-WRITE) ?", rb"[\1 ")


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
        assert_all_is_well(box, RAWS)


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
