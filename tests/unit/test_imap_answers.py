"""What is read of IMAP answers, whatever the octets: never an exception, never more than was asked for, in time that
grows with the octets alone."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.imap.answers import (
    capability,
    copyuid,
    fetch,
    folder_status,
    listing,
    names,
    namespace,
    search,
    status,
)
from app.adapters.imap.answers.dates import read_internal_date
from app.adapters.imap.answers.response import (
    Continuation,
    Response,
    Tagged,
    Unreadable,
    literal_size,
    read_line,
    without_literal,
)
from tests.support.linear_time import assert_grows_linearly

WANTED = frozenset({1, 2, 3})
WORDS = st.sampled_from(
    [b"(", b")", b" ", b"UID ", b"1", b"2:4", b"4294967296", b"*", b",", b'"', b"\\", b"NIL", b"BODY[]", b"[", b"]", b"INTERNALDATE ",
     b'"23-Nov-2026 10:00:00 +0100"', b"RFC822.SIZE ", b"FLAGS (", b"COPYUID ", b"ALL ", b"&", b"-", b"{3}", b"\t", b"\x00", b"\xff"]
)  # fmt: skip
TEXTS = st.one_of(st.binary(max_size=200), st.lists(WORDS, max_size=60).map(b"".join))


@st.composite
def responses(draw: st.DrawFn) -> Response:
    literals = draw(st.lists(TEXTS, max_size=3))
    texts = draw(st.lists(TEXTS, min_size=len(literals) + 1, max_size=len(literals) + 1))
    kinds = ["FETCH", "SEARCH", "ESEARCH", "LIST", "STATUS", "OK", "NO", "CAPABILITY", "NAMESPACE", "EXISTS"]
    number = draw(st.one_of(st.none(), st.integers(0, 10**19)))
    return Response(draw(st.sampled_from(kinds)), number, tuple(texts), tuple(literals))


ANSWERS = st.lists(responses(), max_size=5)


class TestAnyOctets:
    @given(TEXTS)
    def test_any_octets_are_some_kind_of_line(self, line: bytes) -> None:
        assert isinstance(read_line(line), Response | Tagged | Continuation | Unreadable)
        if literal_size(line) is not None:
            assert line.startswith(without_literal(line))

    @given(ANSWERS)
    def test_any_octets_are_never_the_fetch_of_another_mail(self, answers: list[Response]) -> None:
        read = fetch.read_fetch(answers, WANTED)
        assert read.mails.keys() <= WANTED
        assert all(mail.uid == uid for uid, mail in read.mails.items())

    @given(ANSWERS)
    def test_name_no_uids_but_those_asked_for(self, answers: list[Response]) -> None:
        assert set(search.read_search(answers, [1, 2, 3]).uids) <= WANTED

    @given(ANSWERS, TEXTS)
    def test_prove_no_other_copy(self, answers: list[Response], text: bytes) -> None:
        assert copyuid.read_copyuid(answers, text, WANTED).keys() <= WANTED

    @given(ANSWERS, TEXTS)
    def test_each_reader_reads_any_octets(self, answers: list[Response], text: bytes) -> None:
        assert all(names.shown(row.octets) for row in listing.read_list(answers).rows)
        selected = status.read_select(answers, text)
        assert all(n is None or 0 < n < 1 << 32 for n in (selected.uidvalidity, selected.uidnext))
        assert (folder_status.read_status(answers).messages or 0) >= 0
        assert isinstance(namespace.read_personal_prefix(answers), bytes)
        assert capability.read_capabilities(answers, text) is None or True
        assert status.code_of(text) is None or str(status.code_of(text)).isupper()

    @given(TEXTS)
    def test_any_octets_are_a_time_in_utc_or_none(self, octets: bytes) -> None:
        moment = read_internal_date(octets)
        assert moment is None or moment.tzinfo is UTC

    @given(st.text(max_size=60).filter(lambda name: name.isprintable() and bool(name)))
    def test_the_octets_of_a_name_give_the_same_name_again(self, name: str) -> None:
        assert names.shown(names.on_the_wire(name)) == name


def line(text: bytes) -> Response:
    read = read_line(text)
    assert isinstance(read, Response), text
    return read


class TestFetch:
    def read(self, *texts: bytes, literals: tuple[bytes, ...] = ()) -> fetch.FetchAnswer:
        return fetch.read_fetch([Response("FETCH", 1, texts, literals)], WANTED)

    def test_a_fetch_may_have_its_items_in_any_order(self) -> None:
        read = self.read(
            b"(BODY[] ", b' INTERNALDATE "23-Nov-2026 10:00:00 +0100" UID 2)', literals=(b"raw",)
        )
        assert read.mails[2].body == b"raw"
        assert read.mails[2].internal_date == datetime(2026, 11, 23, 9, tzinfo=UTC)
        assert not read.is_out_of_step

    def test_two_fetches_on_one_line_are_read(self) -> None:
        read = self.read(b"(UID 1 BODY[] ", b")* 2 FETCH (UID 2 BODY[] ", b")", literals=(b"one", b"two"))
        assert {uid: mail.body for uid, mail in read.mails.items()} == {1: b"one", 2: b"two"}

    @pytest.mark.parametrize(
        "text", [b"(UID 1 UID 2 RFC822.SIZE 9)", b"(RFC822.SIZE 9)", b"(UID 9 RFC822.SIZE 9)"]
    )
    def test_a_fetch_of_two_mails_or_none_or_another_belongs_to_no_mail(self, text: bytes) -> None:
        read = self.read(text)
        assert (read.mails, read.dropped) == ({}, 1)

    @pytest.mark.parametrize("rest", [b"", b"xt)", b" and on", b" (", b"abc"])
    def test_a_fetch_that_does_not_continue_after_a_literal_is_out_of_step(self, rest: bytes) -> None:
        assert self.read(b"(UID 1 BODY[] ", rest, literals=(b"cut",)).is_out_of_step

    @pytest.mark.parametrize("body", [b"NIL", b"()", b"17"])
    def test_a_fetch_with_a_nil_body_has_no_body(self, body: bytes) -> None:
        assert self.read(b"(UID 1 BODY[] " + body + b")").mails[1].body is None

    @pytest.mark.parametrize("size", [b"-1", b"x", b"99999999999999999999", b"NIL", b"()"])
    def test_a_fetch_with_an_impossible_size_has_no_size(self, size: bytes) -> None:
        assert self.read(b"(UID 1 RFC822.SIZE " + size + b" FLAGS (\\Deleted))").mails[1].size_octets is None


class TestSearch:
    @pytest.mark.parametrize(
        ("text", "uids"),
        [
            (b"* SEARCH", []),
            (b"* Search 3 1 2", [1, 2, 3]),
            (b"* SEARCH 1 2 (MODSEQ 77)", [1, 2]),
            (b"* SEARCH 1,2:4", [1, 2, 3, 4]),
            (b'* ESEARCH (TAG "A1") UID ALL 4:2,9', [2, 3, 4, 9]),
            (b"* ESEARCH UID COUNT 0", []),
            (b"* SEARCH 0 4294967296 7", [7]),
        ],
    )
    def test_finds(self, text: bytes, uids: list[int]) -> None:
        assert search.read_search([line(text)]) == search.Found(uids, is_answered=True)

    def test_an_empty_search_differs_from_no_answer(self) -> None:
        assert not search.read_search([line(b"* 3 EXISTS")]).is_answered

    def test_a_search_of_everything_is_bounded(self) -> None:
        found = search.read_search([line(b"* ESEARCH UID ALL 1:4294967295")] * 3)
        assert (len(found.uids), found.uids[-1]) == (search.MAX_FOUND, 4294967295)


class TestCopyuid:
    @pytest.mark.parametrize(
        ("code", "pairs"),
        [
            (b"COPYUID 9 1:3 7:9", {1: 7, 2: 8, 3: 9}),
            (b"copyuid 9 3:1 9:7", {1: 7, 2: 8, 3: 9}),
            (b"COPYUID 9 1,9 7,8", {1: 7}),
            (b"COPYUID 9 1:2 7", {}),
            (b"COPYUID 9 1:2 7,7", {}),
            (b"COPYUID 0 1 7", {}),
            (b"COPYUID 9 1:* 1:*", {}),
            (b"COPYUID 9  ", {}),
            (b"COPYUID", {}),
            (b"COPYUID 9 1:4294967295 1:4294967295", {}),
        ],
    )
    def test_proves(self, code: bytes, pairs: dict[int, int]) -> None:
        for answer, text in (([], b"[" + code + b"] done"), ([line(b"* OK [" + code + b"]")], b""), ([line(b"[" + code + b"]")], b"")):  # fmt: skip
            assert copyuid.read_copyuid(answer, text, WANTED) == pairs


class TestList:
    @pytest.mark.parametrize(
        ("text", "octets", "delimiter"),
        [
            (b'* LIST (\\HasNoChildren) "/" INBOX', b"INBOX", "/"),
            (b'* LIST () "/" [todo', b"[todo", "/"),
            (b'* List () NIL "a \\"b\\" \\\\c"', b'a "b" \\c', None),
            (b'* LIST () "\\\\" "a\\b"', b"a\\b", "\\"),
            (b'* LIST () "" My folder', b"My folder", None),
            (b"* LIST () . INBOX.Sent", b"INBOX.Sent", "."),
            (b'* LIST NIL "/" a', b"a", "/"),
            (b'* LIST () "/" "a" ("CHILDINFO" ("SUBSCRIBED"))', b"a", "/"),
            (b'* LIST () "/" a ("CHILDINFO" ("SUBSCRIBED"))', b"a", "/"),
            (b'* LIST () "/" a (b)', b"a (b)", "/"),
        ],
    )
    def test_knows_a_folder_by_its_octets(self, text: bytes, octets: bytes, delimiter: str | None) -> None:
        (row,) = listing.read_list([line(text)]).rows
        assert (row.octets, row.delimiter) == (octets, delimiter)

    @pytest.mark.parametrize(
        "text", [b"* LIST", b"* LIST (", b'* LIST () "/" ""', b'* LIST () "/"', b'* LIST () "/" a\0']
    )
    def test_rows_without_a_name_are_counted(self, text: bytes) -> None:
        assert listing.read_list([line(text)]) == listing.Listing([], 1)

    @pytest.mark.slow
    def test_a_list_is_bounded(self) -> None:
        rows = [line(b'* LIST () "/" f%d' % number) for number in range(listing.MAX_ROWS + 9)]
        listed = listing.read_list(rows)
        assert (len(listed.rows), listed.left_out) == (listing.MAX_ROWS, 9)


BOMBS: dict[str, Callable[[int], object]] = {
    "brackets": lambda n: search.read_search([Response("SEARCH", None, (b"(" * n,))]),
    "codes": lambda n: status.read_select([Response("OK", None, (b"[a " * (n // 3),))], b"[a " * (n // 3)),
    "copyuid": lambda n: copyuid.read_copyuid(
        [], b"[COPYUID 9 " + b"1:1000000," * (n // 10) + b" 1]", WANTED
    ),
    "list items": lambda n: fetch.read_fetch([Response("FETCH", 1, (b"(UID 1 FLAGS " + b"(" * n,))], WANTED),
    "quotes": lambda n: fetch.read_fetch(
        [Response("FETCH", 1, (b'(UID 1 X "' + b'\\"' * (n // 2),))], WANTED
    ),
    "names": lambda n: folder_status.read_status([Response("STATUS", None, (b"x (" + b"a" * n,))]),
    "spaces": lambda n: listing.read_list([Response("LIST", None, (b'() "/" a' + b" " * n,))]),
    "spaces in many rows": lambda n: listing.read_list(
        [Response("LIST", None, (b'() "/" a' + b" " * 10_000 + b"b",))] * (n // 10_000)
    ),
    "shifts": lambda n: names.shown(b"&a" * (names.MAX_NAME_OCTETS // 2)),
    "a line": lambda n: read_line(b"* " + b"1" * n),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.slow
def test_time_grows_with_the_octets_alone(bomb: str) -> None:
    work = BOMBS[bomb]
    assert_grows_linearly(lambda: work(125_000), lambda: work(1_000_000))
