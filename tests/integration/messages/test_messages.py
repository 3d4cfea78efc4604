"""The service of messages on both databases: the feed under concurrent commits, threads, deletion's races."""

import itertools
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import func
from sqlmodel import Session, col, select

from app import clock
from app.events import EventType, message_event
from app.gateway import Gateway
from app.models import Connector, Event, Message, MessageBody, ServerMessage
from app.schemas.messages import MessagesDelete, MessagesQuery
from app.services.access.rules import Principal, PrincipalKind
from app.services.events import outbox
from app.services.events.recipients import recipients_of
from app.services.messages import deletion, reading, selection, state
from app.services.messages.inline_images import link_images
from app.services.messages.search_text import fold
from app.states import MessageState, MoveState
from tests.support.stored_mail import TESTER, connector, mail, store, store_in

MEMBER = Principal(kind=PrincipalKind.USER, id="jana", groups=frozenset({"g"}))


@pytest.fixture
def shared(gateway: Gateway) -> Connector:
    return connector(gateway, groups=["g"])


@pytest.fixture
def session(gateway: Gateway) -> Iterator[Session]:
    with gateway.db.reading() as made:
        yield made


def poll_once(gateway: Gateway, after: str | None, limit: int = 7) -> tuple[list[str], str]:
    page = reading.list_messages(gateway, MEMBER, MessagesQuery(limit=limit), after=after)
    assert page.next_after is not None
    return [listed.message.id for listed in page.data], page.next_after


def messages_of(session: Session) -> dict[str, Message]:
    return {message.subject or "": message for message in session.exec(select(Message)).all()}


class TestFeed:
    def test_polling_while_others_commit_misses_none_and_gets_none_twice(
        self, gateway: Gateway, shared: Connector
    ) -> None:
        writers_done = threading.Event()
        stored: list[str] = []
        started = threading.Barrier(4)

        def write(sizes: list[int]) -> None:
            started.wait(10)
            for size in sizes:
                stored.extend(store(gateway, shared, *(mail() for _ in range(size))))

        seen: list[str] = []

        def read() -> None:
            started.wait(10)
            cursor: str | None = None
            last = False
            while True:
                got, cursor = poll_once(gateway, cursor)
                seen.extend(got)
                if not got:
                    if last:
                        return
                    last = writers_done.is_set()

        writers = [threading.Thread(target=write, args=([1, 3, 2, 1, 5, 1, 2, 4],)) for _ in range(3)]
        reader = threading.Thread(target=read)
        for thread in (*writers, reader):
            thread.start()
        for thread in writers:
            thread.join(60)
        writers_done.set()
        reader.join(60)
        assert not reader.is_alive()
        assert len(stored) == 3 * 19
        assert sorted(seen) == sorted(stored)
        assert len(set(seen)) == len(seen)

    def test_a_position_that_is_not_committed_is_not_passed(
        self, gateway: Gateway, shared: Connector
    ) -> None:
        _, cursor = poll_once(gateway, None)
        with gateway.db.unit_of_work() as writing:
            [first] = store_in(writing, shared, [mail()])
            assert poll_once(gateway, cursor) == ([], cursor)
        second = store(gateway, shared)
        assert poll_once(gateway, cursor)[0] == [first, *second]

    def test_a_message_that_came_back_is_shown_again(
        self, gateway: Gateway, shared: Connector, session: Session
    ) -> None:
        [one, two] = store(gateway, shared, mail("one"), mail("two"))
        _, cursor = poll_once(gateway, None)
        with gateway.db.unit_of_work() as writing:
            [message] = state.lock(writing, [one])
            state.mark_moved(writing, [one], clock.utc_now())
            returned = message_event(
                EventType.MESSAGE_RETURNED,
                connector_id=shared.id,
                message_id=one,
                notify=True,
                recipients=recipients_of(writing, shared),
            )
            [position] = outbox.append(writing, [returned])
            state.mark_returned(writing, message, folder="INBOX", uid=900, uidvalidity=2, position=position)
        assert poll_once(gateway, cursor)[0] == [one]
        assert poll_once(gateway, None)[0] == [two, one]
        stored = session.get(Message, one)
        assert stored is not None
        assert (stored.state, stored.uid, stored.uidvalidity) == ("new", 900, 2)
        assert stored.moved_at is None

    def test_a_page_costs_the_same_number_of_statements_whatever_is_on_it(
        self, gateway: Gateway, shared: Connector
    ) -> None:
        statements = itertools.count()
        sqlalchemy_event.listen(gateway.db.engine, "before_cursor_execute", lambda *_args: next(statements))
        store(gateway, shared, mail())
        before = next(statements)
        poll_once(gateway, None)
        for_one = next(statements) - before
        store(gateway, shared, *(mail() for _ in range(30)))
        before = next(statements)
        poll_once(gateway, None, limit=50)
        assert next(statements) - before == for_one <= 4  # SQLite's BEGIN counts

    def test_storing_many_costs_the_same_number_of_statements_as_storing_one(
        self, gateway: Gateway, shared: Connector
    ) -> None:
        statements = itertools.count()
        sqlalchemy_event.listen(gateway.db.engine, "before_cursor_execute", lambda *_args: next(statements))
        costs = []
        for size in (1, 50):
            before = next(statements)
            store(gateway, shared, *(mail(f"{n}", f"References: <{n}@x>") for n in range(size)))
            costs.append(next(statements) - before)
        assert costs[0] == costs[1]


class TestConversations:
    def test_an_answer_joins_the_conversation_of_what_it_answers(
        self, gateway: Gateway, shared: Connector, session: Session
    ) -> None:
        store(gateway, shared, mail("question", "Message-ID: <q@x>"))
        store(
            gateway,
            shared,
            mail("answer", "Message-ID: <a@x>", "In-Reply-To: <q@x>"),
            mail("answer to the answer", "In-Reply-To: <a@x>", "References: <q@x> <a@x>"),
            mail("another"),
            mail("yet another"),
        )
        found = {subject: message.conversation_id for subject, message in messages_of(session).items()}
        assert found["question"] == found["answer"] == found["answer to the answer"]
        assert len(set(found.values())) == 3

    def test_answers_to_a_mail_that_never_came_share_a_conversation(
        self, gateway: Gateway, shared: Connector, session: Session
    ) -> None:
        store(gateway, shared, mail("one", "Message-ID: <1@x>", "References: <sent-elsewhere@x>"))
        store(gateway, shared, mail("two", "References: <sent-elsewhere@x> <lost@x>"))
        found = messages_of(session)
        assert found["one"].conversation_id == found["two"].conversation_id

    def test_mailboxes_do_not_share_conversations(
        self, gateway: Gateway, shared: Connector, session: Session
    ) -> None:
        other = connector(gateway, groups=["g"])
        store(gateway, shared, mail("here", "Message-ID: <q@x>"))
        store(gateway, other, mail("there", "In-Reply-To: <q@x>"))
        found = messages_of(session)
        assert found["here"].conversation_id != found["there"].conversation_id

    def test_twins_are_two_messages_of_one_conversation(
        self, gateway: Gateway, shared: Connector, session: Session
    ) -> None:
        twin = mail("twin", "Message-ID: <t@x>")
        store(gateway, shared, twin, twin)
        found = session.exec(select(Message)).all()
        assert len(found) == 2
        assert len({message.conversation_id for message in found}) == 1

    def test_a_mail_that_answers_itself_is_stored(
        self, gateway: Gateway, shared: Connector, session: Session
    ) -> None:
        store(gateway, shared, mail("loop", "Message-ID: <l@x>", "In-Reply-To: <l@x>"))
        assert session.exec(select(func.count()).select_from(Message)).one() == 1


class TestDeletion:
    def test_a_large_one_goes_in_batches_and_leaves_what_comes_meanwhile(
        self, gateway: Gateway, shared: Connector, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deletion, "DELETE_BATCH", 3)
        store(gateway, shared, *(mail(str(n)) for n in range(7)))
        batches = deletion.delete_in_batches(gateway, TESTER, [col(Message.connector_id) == shared.id])
        assert next(batches) == 3
        [late] = store(gateway, shared, mail("late"))
        assert list(batches) == [3, 1]
        assert [message.id for message in messages_of(session).values()] == [late]

    def test_two_at_once_delete_and_announce_each_message_once(
        self, gateway: Gateway, shared: Connector, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deletion, "DELETE_BATCH", 4)
        ids = store(gateway, shared, *(mail(str(n)) for n in range(40)))
        start = threading.Barrier(3)
        counts: list[int] = []

        def delete() -> None:
            start.wait(10)
            counts.append(deletion.delete_matching(gateway, MEMBER, MessagesDelete(state=MessageState.NEW)))

        threads = [threading.Thread(target=delete) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sum(counts) == 40
        deleted = session.exec(select(Event).where(col(Event.type).like("%message.deleted%"))).all()
        assert sorted(event.data["message_id"] for event in deleted) == sorted(ids)

    def test_with_a_connector_all_of_its_messages_go_and_no_other(
        self, gateway: Gateway, shared: Connector, session: Session
    ) -> None:
        other = connector(gateway, groups=["g"])
        store(gateway, shared, mail(), mail(), move_state=MoveState.PENDING)
        [kept] = store(gateway, other)
        with gateway.db.reading() as reader:
            assert selection.count_of(reader, shared.id) == 2
        assert deletion.delete_of_connector(gateway, TESTER, shared.id) == 2
        with gateway.db.reading() as reader:
            assert selection.count_of(reader, shared.id) == 0
        assert [message.id for message in messages_of(session).values()] == [kept]
        assert session.exec(select(func.count()).select_from(MessageBody)).one() == 1

    def test_a_move_settled_after_the_deletion_leaves_no_row_once_the_next_goes(
        self, gateway: Gateway, shared: Connector, session: Session
    ) -> None:
        [first] = store(gateway, shared, move_state=MoveState.PENDING)
        second = store(gateway, shared)
        assert sum(deletion.delete_in_batches(gateway, TESTER, [col(Message.id) == first])) == 1
        with gateway.db.unit_of_work() as writing:
            row = writing.exec(select(ServerMessage).where(col(ServerMessage.message_id).is_(None))).one()
            row.move_state = MoveState.MOVED
        assert sum(deletion.delete_in_batches(gateway, TESTER, [col(Message.id).in_(second)])) == 1
        assert session.exec(select(ServerMessage)).all() == []

    def test_a_move_settled_while_the_deletion_waits_leaves_no_row(
        self, gateway: Gateway, shared: Connector, session: Session
    ) -> None:
        [message_id] = store(gateway, shared, move_state=MoveState.PENDING)
        deleting = threading.Thread(
            target=lambda: deletion.delete_matching(gateway, MEMBER, MessagesDelete(ids=[message_id]))
        )
        with gateway.db.unit_of_work() as writing:
            row = writing.exec(select(ServerMessage)).one()
            row.move_state = MoveState.MOVED
            writing.flush()
            deleting.start()
            deleting.join(0.5)
            assert deleting.is_alive()
        deleting.join(30)
        assert session.exec(select(Message)).all() == []
        assert session.exec(select(ServerMessage)).all() == []


class TestFolding:
    @pytest.mark.parametrize(
        ("text", "folded"),
        [
            ("Žluťoučký\r\n kůň", "zlutoucky kun"),
            ("PŘÍLIŠ", "prilis"),
            ("Łódź Ørsted Straße ﬁn", "lodz orsted strasse fin"),
            ("İstanbul ılık", "istanbul ilik"),
            ("Ёлка й", "елка и"),
            ("हिन्दी", "हिन्दी"),
            ("", ""),
        ],
    )
    def test_drops_case_diacritics_and_line_breaks(self, text: str, folded: str) -> None:
        assert fold(text) == folded

    def test_once_is_enough(self) -> None:
        for point in range(0x20, 0x3000):
            assert fold(fold(chr(point))) == fold(chr(point))


class TestImageLinks:
    ADDRESSES = {"logo@x": "/messages/1/attachments/2"}

    @pytest.mark.parametrize(
        ("html", "linked"),
        [
            ('<img src="cid:logo@x">', '<img src="/messages/1/attachments/2">'),
            (
                '<img alt="a" src="CID:LOGO%40x" width="1">',
                '<img alt="a" src="/messages/1/attachments/2" width="1">',
            ),
            ('<img alt="a" src="cid:none">', '<img alt="a">'),
            ('<img src="data:image/png;base64,AA==">', '<img src="data:image/png;base64,AA==">'),
            ('text src="cid:logo@x" text', 'text src="cid:logo@x" text'),
            ('<p title="<img src=cid:logo@x>">x</p>', '<p title="<img src=cid:logo@x>">x</p>'),
            ('<a title=\'"\' x="<img ">cid:</a>', '<a title=\'"\' x="<img ">cid:</a>'),
        ],
    )
    def test_only_sources_of_images_change(self, html: str, linked: str) -> None:
        assert link_images(html, self.ADDRESSES) == linked
