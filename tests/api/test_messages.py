"""The routes of messages, as callers of every kind meet them."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, col, select

from app.gateway import Gateway
from app.models import Connector, Event, Message, MessageBody, ServerMessage, Submission
from app.states import MoveState, SubmissionStatus
from tests.support.callers import Callers
from tests.support.each_case import each_case
from tests.support.stored_mail import connector, mail, store, with_attachment

JANA = Callers.user("jana", groups=["orders"])
PETR = Callers.user("petr")
STRANGER = Callers.user("stranger", groups=["others"])
ADMIN = Callers.user("admin", admin=True)


@pytest.fixture
def orders(gateway: Gateway) -> Connector:
    """A shared mailbox, bound to the group `orders`."""
    return connector(gateway, groups=["orders", "sales"])


@pytest.fixture
def private(gateway: Gateway) -> Connector:
    """Petr's own mailbox."""
    return connector(gateway, owner="petr")


@pytest.fixture
def reading(gateway: Gateway) -> Iterator[Session]:
    with gateway.db.reading() as session:
        yield session


def subjects(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [message["subject"] for message in answer.json()["data"]]


def assert_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code


@pytest.fixture
def one_message(gateway: Gateway, orders: Connector) -> None:
    store(gateway, orders)


@pytest.fixture
def to_be_found(gateway: Gateway, orders: Connector) -> None:
    texts = ["Žluťoučký kůň", "100% off", "a_b", "a/b", "a\\b", "it's", "Straße"]
    store(gateway, orders, *(mail(text) for text in texts))


class TestList:
    def test_messages_come_in_the_order_in_which_they_became_visible(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store(gateway, orders, mail("one"), mail("two"))
        store(gateway, orders, mail("three"))
        assert subjects(client.get("/messages", headers=JANA)) == ["one", "two", "three"]

    def test_the_cursor_goes_on_where_the_page_ended_and_never_ends(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store(gateway, orders, *(mail(str(n)) for n in range(5)))
        first = client.get("/messages?limit=3", headers=JANA)
        assert first.json()["has_more"] is True
        second = client.get("/messages", params={"after": first.json()["next_cursor"]}, headers=JANA)
        assert subjects(first) + subjects(second) == ["0", "1", "2", "3", "4"]
        assert second.json()["has_more"] is False
        third = client.get("/messages", params={"after": second.json()["next_cursor"]}, headers=JANA)
        assert (third.json()["data"], third.json()["has_more"]) == ([], False)
        store(gateway, orders, mail("later"))
        again = client.get("/messages", params={"after": third.json()["next_cursor"]}, headers=JANA)
        assert subjects(again) == ["later"]

    def test_a_list_that_never_had_anything_has_a_cursor_too(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        cursor = client.get("/messages", headers=JANA).json()["next_cursor"]
        store(gateway, orders, mail("first"))
        assert subjects(client.get("/messages", params={"after": cursor}, headers=JANA)) == ["first"]

    def test_an_empty_page_of_a_filter_does_not_pass_over_what_the_filter_hides(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store(gateway, orders, mail("still new"))
        page = client.get("/messages?state=processed", headers=JANA).json()
        assert page["data"] == []
        assert subjects(client.get("/messages", params={"after": page["next_cursor"]}, headers=JANA)) == [
            "still new"
        ]

    def test_all_fields_of_the_contract_are_there(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        headers = ("Cc: Karel <karel@example.com>", "Message-ID: <a@b>", "In-Reply-To: <z@b>")
        store(gateway, orders, mail("Order", *headers))
        [message] = client.get("/messages", headers=JANA).json()["data"]
        assert message["from"] == {"name": "Jana", "address": "jana@example.com"}
        assert message["to"] == [{"name": None, "address": "info@firma.cz"}]
        assert message["cc"] == [{"name": "Karel", "address": "karel@example.com"}]
        assert message["message_id_header"] == "<a@b>"
        assert message["in_reply_to"] == "<z@b>"
        assert message["stored_at"].endswith("Z")
        assert set(message) == {
            *("id", "connector_id", "state", "folder", "uid", "uidvalidity", "message_id_header"),
            *("in_reply_to", "references", "conversation_id", "from", "to", "cc", "reply_to", "subject"),
            *("snippet", "internal_date", "date_header", "stored_at", "moved_at", "size_octets"),
            *("has_attachments", "is_auto_reply", "sha256", "answers"),
        }

    def test_filters_by_connector_and_state(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        other = connector(gateway, groups=["orders"])
        [here] = store(gateway, orders, mail("here"))
        store(gateway, other, mail("there"))
        only = client.get("/messages", params={"connector_id": orders.id}, headers=JANA)
        assert subjects(only) == ["here"]
        client.patch(f"/messages/{here}", json={"state": "processed"}, headers=JANA)
        assert subjects(client.get("/messages?state=new", headers=JANA)) == ["there"]
        assert subjects(client.get("/messages?state=processed", headers=JANA)) == ["here"]

    @each_case(
        ("q", "found"),
        [
            ("zlutoucky", ["Žluťoučký kůň"]),
            ("ŽLUŤ", ["Žluťoučký kůň"]),
            ("kun zlut", ["Žluťoučký kůň"]),
            ("kun pes", []),
            ("100%", ["100% off"]),
            ("%", ["100% off"]),
            ("_", ["a_b"]),
            ("a/b", ["a/b"]),
            ("\\", ["a\\b"]),
            ("'", ["it's"]),
            ("strasse", ["Straße"]),
            ("jana@example.com a_b", ["a_b"]),
            ("nowhere", []),
            ("\x00", []),
        ],
    )
    def test_every_word_of_q_must_occur_whatever_its_case_and_diacritics(
        self, client: TestClient, to_be_found: None, q: str, found: list[str]
    ) -> None:
        assert subjects(client.get("/messages", params={"q": q}, headers=JANA)) == found

    def test_q_looks_in_the_text(self, client: TestClient, gateway: Gateway, orders: Connector) -> None:
        store(gateway, orders, mail("one", text="Prosím o\r\nslevu."), mail("two"))
        assert subjects(client.get("/messages?q=slevu", headers=JANA)) == ["one"]

    @each_case(
        ("query", "pointer"),
        [
            ("limit=0", "/limit"),
            ("limit=201", "/limit"),
            ("wait_s=31", "/wait_s"),
            ("state=read", "/state"),
            ("after=!", "/after"),
            ("after=bm9wZQ", "/after"),
            ("conector_id=x", "/conector_id"),
            ("connector_id=%00", "/connector_id"),
            ("q=", "/q"),
            ("q=%CC%81", "/q"),
        ],
    )
    @pytest.mark.any_database
    def test_a_list_of_messages_with_a_wrong_parameter_is_refused(
        self, client: TestClient, query: str, pointer: str
    ) -> None:
        answer = client.get(f"/messages?{query}", headers=JANA)
        assert_problem(answer, 422, "invalid_input")
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]

    def test_listing_messages_without_a_token_is_401(self, client: TestClient) -> None:
        assert_problem(client.get("/messages"), 401, "unauthenticated")

    def test_text_that_no_encoder_takes_does_not_reach_the_answer(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        nasty = (
            b"From: =?utf-7?Q?+2AA-?= \xed\xa0\x80 <a\x00b@example.com>\r\n"
            b"Subject: =?utf-16-le?B?ANg=?= \x00 =?unicode_escape?Q?=5Cud800?= \xff\r\n"
            b'Content-Type: multipart/mixed; boundary="b\x00"\r\n\r\n'
            b"--b\x00\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xed\xa0\x80 \x00 text\r\n"
            b"--b\x00\r\nContent-Disposition: attachment; filename*=utf-8''%ED%A0%80%00.exe\r\n\r\nx\r\n"
        )
        [message_id] = store(gateway, orders, nasty)
        for path in ("/messages", f"/messages/{message_id}"):
            answer = client.get(path, headers=JANA)
            assert answer.status_code == 200
            assert "\x00" not in answer.text
            answer.json()
            answer.content.decode("utf-8")


class TestWaiting:
    def test_an_empty_list_is_answered_when_a_message_comes(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        cursor = client.get("/messages", headers=JANA).json()["next_cursor"]
        answers: list[Any] = []
        waiting = threading.Thread(
            target=lambda: answers.append(
                client.get("/messages", params={"after": cursor, "wait_s": 30}, headers=JANA)
            )
        )
        started = time.monotonic()
        waiting.start()
        store(gateway, orders, mail("awaited"))
        waiting.join(60)
        assert not waiting.is_alive()
        assert time.monotonic() - started < 30, "answered only when the wait was over"
        assert subjects(answers[0]) == ["awaited"]

    def test_when_nothing_comes_the_page_is_empty(self, client: TestClient, orders: Connector) -> None:
        answer = client.get("/messages?wait_s=0.2", headers=JANA)
        assert subjects(answer) == []

    def test_a_caller_without_rights_is_refused_without_waiting(
        self, client: TestClient, private: Connector
    ) -> None:
        params: dict[str, Any] = {"connector_id": private.id, "wait_s": 30}
        started = time.monotonic()
        assert_problem(client.get("/messages", params=params, headers=JANA), 404, "not_found")
        assert time.monotonic() - started < 30


class TestAccess:
    """Content is for the owner, members of bound groups, and keys; administrators are nobody here."""

    def test_each_caller_lists_only_what_is_theirs(
        self, client: TestClient, gateway: Gateway, callers: Callers, orders: Connector, private: Connector
    ) -> None:
        granted_id, granted = callers.new_key(["messages:read"])
        connector(gateway, owner="eva", key_ids=[granted_id])
        eva = connector(gateway, owner="eva", key_ids=[granted_id])
        store(gateway, orders, mail("shared"))
        store(gateway, private, mail("of petr"))
        store(gateway, eva, mail("of eva"))
        expected = [
            (JANA, ["shared"]),
            (PETR, ["of petr"]),
            (STRANGER, []),
            (ADMIN, []),
            (Callers.user("admin", groups=["sales"], admin=True), ["shared"]),
            (callers.key(["messages:read"]), ["shared"]),
            (callers.key(["messages:read"], [eva.id]), []),
            ({"Authorization": f"Bearer {granted}"}, ["shared", "of eva"]),
        ]
        for headers, theirs in expected:
            assert subjects(client.get("/messages", headers=headers)) == theirs

    def test_a_foreign_message_and_an_absent_one_answer_alike(
        self, client: TestClient, gateway: Gateway, private: Connector
    ) -> None:
        [foreign] = store(gateway, private, with_attachment("attachment; filename=a.pdf"))
        for caller in (JANA, STRANGER, ADMIN):
            for message_id in (foreign, "0" * 32):
                path = f"/messages/{message_id}"
                answers = [
                    client.get(path, headers=caller),
                    client.get(f"{path}/source", headers=caller),
                    client.get(f"{path}/attachments/1", headers=caller),
                    client.patch(path, json={"state": "processed"}, headers=caller),
                    client.delete(path, headers=caller),
                ]
                for answer in answers:
                    assert_problem(answer, 404, "not_found")
        assert client.get(f"/messages/{foreign}", headers=PETR).json()["state"] == "new"

    def test_a_foreign_connector_is_not_found(self, client: TestClient, private: Connector) -> None:
        for caller in (JANA, ADMIN):
            listed = client.get("/messages", params={"connector_id": private.id}, headers=caller)
            assert_problem(listed, 404, "not_found")
            deleted = client.post("/messages/delete", json={"connector_id": private.id}, headers=caller)
            assert_problem(deleted, 404, "not_found")

    def test_a_key_needs_the_scope(
        self, client: TestClient, gateway: Gateway, callers: Callers, orders: Connector
    ) -> None:
        [message_id] = store(gateway, orders)
        path = f"/messages/{message_id}"
        reads, writes = callers.key(["messages:read"]), callers.key(["messages:write"])
        assert_problem(client.get("/messages", headers=writes), 403, "scope_missing")
        assert_problem(client.get(path, headers=writes), 403, "scope_missing")
        assert_problem(client.get(f"{path}/source", headers=writes), 403, "scope_missing")
        assert_problem(client.patch(path, json={"state": "new"}, headers=reads), 403, "scope_missing")
        assert_problem(client.delete(path, headers=reads), 403, "scope_missing")
        assert_problem(
            client.post("/messages/delete", json={"ids": [message_id]}, headers=reads), 403, "scope_missing"
        )
        assert client.get(path, headers=reads).status_code == 200
        assert client.delete(path, headers=writes).status_code == 204


class TestDetail:
    def test_a_message_has_text_html_defects_and_attachments(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        [message_id] = store(gateway, orders, with_attachment("attachment; filename=a.pdf"))
        detail = client.get(f"/messages/{message_id}", headers=JANA).json()
        assert detail["text"].strip() == "see there"
        assert detail["html"] is None
        assert detail["defects"] == []
        assert detail["attachments"] == [
            {
                "n": 1,
                "name": "a.pdf",
                "content_type": "application/pdf",
                "size_octets": len(b"content of it"),
                "content_id": None,
                "inline": False,
            }
        ]

    def test_images_of_the_html_lead_to_their_attachments(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        html = (
            '<p>see <img src="cid:logo@x" alt="our logo"> <img src="cid:absent"> '
            '<img src="http://example.com/spy.png"><script>alert(1)</script></p>'
        )
        body = "\r\n".join(
            [
                *("--r", "Content-Type: text/html; charset=utf-8", "", html),
                *("--r", "Content-Type: image/png", "Content-ID: <logo@x>", "", "not really a png"),
                "--r--",
            ]
        )
        [message_id] = store(
            gateway, orders, mail("Logo", 'Content-Type: multipart/related; boundary="r"', text=body)
        )
        shown = client.get(f"/messages/{message_id}", headers=JANA).json()["html"]
        address = f"/messages/{message_id}/attachments/1"
        assert f'src="{address}"' in shown
        assert "cid:" not in shown
        assert "example.com" not in shown
        assert "script" not in shown
        image = client.get(address, headers=JANA)
        assert image.status_code == 200
        assert image.headers["content-type"] == "image/png"
        assert image.headers["content-disposition"].startswith("inline; ")

    @pytest.mark.any_database
    def test_a_text_that_is_no_id_is_refused(self, client: TestClient) -> None:
        assert_problem(client.get("/messages/%00", headers=JANA), 422, "invalid_input")


class TestSource:
    def test_the_source_is_the_bytes_as_received(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        raw = b"Subject: \xff\x00 bare\n\r\r\n\r\nNUL \x00 and \xfe, no end of line"
        [message_id] = store(gateway, orders, raw)
        answer = client.get(f"/messages/{message_id}/source", headers=JANA)
        assert answer.status_code == 200
        assert answer.content == raw
        assert answer.headers["content-type"] == "message/rfc822"
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        listed = client.get(f"/messages/{message_id}", headers=JANA).json()
        assert answer.headers["etag"] == f'"{listed["sha256"]}"'

    def test_the_source_of_an_empty_mail_is_empty(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        [message_id] = store(gateway, orders, b"")
        assert client.get(f"/messages/{message_id}/source", headers=JANA).content == b""


@pytest.mark.any_database
class TestAttachment:
    def get(
        self, client: TestClient, gateway: Gateway, orders: Connector, raw: bytes
    ) -> tuple[bytes, dict[str, str]]:
        [message_id] = store(gateway, orders, raw)
        answer = client.get(f"/messages/{message_id}/attachments/1", headers=JANA)
        assert answer.status_code == 200, answer.text
        return answer.content, dict(answer.headers)

    @each_case(
        ("name_header", "expected"),
        [
            ("attachment; filename=a.pdf", "a.pdf"),
            ('attachment; filename="../../etc/passwd"', "passwd"),
            ('attachment; filename="C:\\\\Windows\\\\evil.exe"', "evil.exe"),
            ("attachment; filename*=utf-8''%C5%BElu%C5%A5ou%C4%8Dk%C3%BD.pdf", "žluťoučký.pdf"),
            ("attachment; filename*=utf-8''a%0D%0ASet-Cookie:%20x.pdf", "a Set-Cookie_ x.pdf"),
            ("attachment; filename*=utf-8''invoice%E2%80%AEfdp.exe", "invoicefdp.exe"),
            ("attachment; filename*=utf-8''%22quoted%22%00.pdf", None),
            ("attachment; filename=" + "a" * 5000 + ".pdf", None),
        ],
    )
    def test_whatever_the_sender_calls_it_the_name_is_harmless(
        self, client: TestClient, gateway: Gateway, orders: Connector, name_header: str, expected: str | None
    ) -> None:

        content, headers = self.get(client, gateway, orders, with_attachment(name_header))
        assert content == b"content of it"
        disposition = headers["content-disposition"]
        assert disposition.startswith('attachment; filename="')
        assert disposition.isascii()
        assert disposition.isprintable()
        assert disposition.count('"') == 2
        name = unquote(disposition.rpartition("''")[2])
        assert name.isprintable()
        assert not set('/\\"<>:|?*') & set(name)
        assert len(name.encode()) <= 255
        if expected is not None:
            assert name == expected
        assert "set-cookie" not in headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox; default-src 'none'"

    @each_case(
        ("stated", "answered"),
        [
            ("application/pdf", "application/pdf"),
            ("image/png", "image/png"),
            ("text/html", "application/octet-stream"),
            ("image/svg+xml", "application/octet-stream"),
            ("application/javascript", "application/octet-stream"),
            ("nonsense", "application/octet-stream"),
        ],
    )
    def test_the_type_is_the_senders_word_only_where_that_is_harmless(
        self, client: TestClient, gateway: Gateway, orders: Connector, stated: str, answered: str
    ) -> None:
        raw = with_attachment("attachment; filename=a", stated)
        _content, headers = self.get(client, gateway, orders, raw)
        assert headers["content-type"] == answered

    @each_case(
        ("content_type", "lines", "shown"),
        [
            ("image/png", ["Content-ID: <x@y>"], "inline"),
            ("image/svg+xml", ["Content-ID: <x@y>"], "attachment"),
            ("application/pdf", ["Content-ID: <x@y>"], "attachment"),
        ],
    )
    def test_only_images_of_the_text_may_be_shown_in_place(
        self,
        client: TestClient,
        gateway: Gateway,
        orders: Connector,
        content_type: str,
        lines: list[str],
        shown: str,
    ) -> None:
        raw = with_attachment("inline; filename=a", content_type, *lines)
        raw = raw.replace(b"text/plain", b"text/html").replace(b"see there", b"<img src=cid:x@y>")
        _content, headers = self.get(client, gateway, orders, raw)
        assert headers["content-disposition"].startswith(f"{shown}; ")

    @pytest.mark.parametrize("n", ["2", "999999"])
    def test_one_that_is_not_there_is_not_found(
        self, client: TestClient, gateway: Gateway, orders: Connector, n: str
    ) -> None:
        [message_id] = store(gateway, orders, with_attachment("attachment; filename=a"))
        assert_problem(client.get(f"/messages/{message_id}/attachments/{n}", headers=JANA), 404, "not_found")

    def test_they_count_from_one(self, client: TestClient, gateway: Gateway, orders: Connector) -> None:
        [message_id] = store(gateway, orders, with_attachment("attachment; filename=a"))
        answer = client.get(f"/messages/{message_id}/attachments/0", headers=JANA)
        assert_problem(answer, 422, "invalid_input")


class TestState:
    def events(self, session: Session, kind: str) -> list[Event]:
        statement = select(Event).where(col(Event.type) == f"com.aymine.imap.message.{kind}.v1")
        return list(session.exec(statement.order_by(col(Event.position))))

    def test_processed_is_noted_and_announced_once(
        self, client: TestClient, gateway: Gateway, orders: Connector, reading: Session
    ) -> None:
        [message_id] = store(gateway, orders)
        for _ in range(2):
            answer = client.patch(f"/messages/{message_id}", json={"state": "processed"}, headers=JANA)
            assert answer.json()["state"] == "processed"
        [event] = self.events(reading, "processed")
        assert event.subject == f"messages/{message_id}"
        assert event.data == {
            "connector_id": orders.id,
            "message_id": message_id,
            "notify": False,
            "recipients": {"users": [], "groups": ["orders", "sales"]},
        }
        stored = reading.get(Message, message_id)
        assert stored is not None
        assert stored.processed_at is not None

    def test_new_again_is_not_announced(
        self, client: TestClient, gateway: Gateway, orders: Connector, reading: Session
    ) -> None:
        [message_id] = store(gateway, orders)
        for state in ("processed", "new"):
            client.patch(f"/messages/{message_id}", json={"state": state}, headers=JANA)
        stored = reading.get(Message, message_id)
        assert stored is not None
        assert (stored.state, stored.processed_at) == ("new", None)
        assert len(self.events(reading, "processed")) == 1

    @pytest.mark.parametrize("body", [{}, {"state": "read"}, {"state": "new", "subject": "x"}])
    @pytest.mark.any_database
    def test_anything_else_is_refused(
        self, client: TestClient, gateway: Gateway, orders: Connector, body: dict[str, str]
    ) -> None:
        [message_id] = store(gateway, orders)
        answer = client.patch(f"/messages/{message_id}", json=body, headers=JANA)
        assert_problem(answer, 422, "invalid_input")


class TestDelete:
    def test_a_deleted_message_is_gone_from_every_table(
        self, client: TestClient, gateway: Gateway, orders: Connector, reading: Session
    ) -> None:
        [message_id] = store(gateway, orders, mail("Secret plan", "Message-ID: <a@b>"))
        with gateway.db.unit_of_work() as session:
            session.add(submission(orders, in_reply_to=message_id))
        assert client.delete(f"/messages/{message_id}", headers=JANA).status_code == 204
        for table in (Message, MessageBody, ServerMessage):
            assert reading.exec(select(table)).all() == []
        assert reading.exec(select(col(Submission.in_reply_to_message_id))).all() == [None]
        events = TestState().events(reading, "deleted")
        assert [event.data["message_id"] for event in events] == [message_id]
        assert_problem(client.get(f"/messages/{message_id}", headers=JANA), 404, "not_found")
        assert_problem(client.delete(f"/messages/{message_id}", headers=JANA), 404, "not_found")

    def test_a_mail_that_is_not_moved_yet_stays_known(
        self, client: TestClient, gateway: Gateway, orders: Connector, reading: Session
    ) -> None:
        [message_id] = store(gateway, orders, move_state=MoveState.PENDING)
        assert client.delete(f"/messages/{message_id}", headers=JANA).status_code == 204
        [row] = reading.exec(select(ServerMessage)).all()
        assert (row.message_id, row.move_state) == (None, "pending")


class TestDeleteByFilter:
    def test_deletion_by_filter_takes_messages_that_match_all_filters(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        other = connector(gateway, groups=["orders"])
        [one, *_] = store(gateway, orders, mail("apples"), mail("pears"))
        store(gateway, other, mail("apples too"))
        wanted = {"connector_id": orders.id, "q": "APPLES"}
        assert client.post("/messages/delete", json=wanted, headers=JANA).json() == {"deleted": 1}
        assert subjects(client.get("/messages", headers=JANA)) == ["pears", "apples too"]
        assert client.post("/messages/delete", json={"ids": [one]}, headers=JANA).json() == {"deleted": 0}
        assert client.post("/messages/delete", json={"state": "new"}, headers=JANA).json() == {"deleted": 2}

    def test_stored_before(self, client: TestClient, gateway: Gateway, orders: Connector) -> None:
        store(gateway, orders)
        for moment, deleted in (("2000-01-01T00:00:00Z", 0), ("2100-01-01T00:00:00+02:00", 1)):
            answer = client.post("/messages/delete", json={"stored_before": moment}, headers=JANA)
            assert answer.json() == {"deleted": deleted}

    def test_deletion_by_filter_never_takes_messages_that_the_caller_may_not_see(
        self, client: TestClient, gateway: Gateway, orders: Connector, private: Connector
    ) -> None:
        [mine] = store(gateway, private)
        [theirs] = store(gateway, orders)
        for caller in (ADMIN, STRANGER):
            for wanted in ({"ids": [mine, theirs]}, {"state": "new"}):
                answer = client.post("/messages/delete", json=wanted, headers=caller)
                assert answer.json() == {"deleted": 0}
        answer = client.post("/messages/delete", json={"ids": [mine, theirs]}, headers=PETR)
        assert answer.json() == {"deleted": 1}
        assert len(client.get("/messages", headers=JANA).json()["data"]) == 1

    @each_case(
        "body",
        [
            {},
            {"q": None},
            {"q": "  "},
            {"q": "\u0301"},
            {"ids": []},
            {"ids": ["\x00"]},
            {"states": "new"},
            {"stored_before": "2020-01-01"},
            {"stored_before": "2020-01-01T00:00:00"},
        ],
    )
    def test_deletion_without_a_known_filter_deletes_nothing(
        self, client: TestClient, one_message: None, body: dict[str, Any]
    ) -> None:
        assert_problem(client.post("/messages/delete", json=body, headers=JANA), 422, "invalid_input")
        assert len(client.get("/messages", headers=JANA).json()["data"]) == 1


def submission(connector: Connector, *, in_reply_to: str) -> Submission:
    return Submission(
        id="submission",
        connector_id=connector.id,
        created_by="user:jana",
        request_sha256="0" * 64,
        status=SubmissionStatus.SENT,
        message_id_header="<x@y>",
        envelope_from="info@firma.cz",
        in_reply_to_message_id=in_reply_to,
        created_at=connector.created_at,
        updated_at=connector.updated_at,
    )
