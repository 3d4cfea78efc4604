"""Lists of messages as people read them: the newest first, by filter, a conversation, and how many wait."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlmodel import col, select

from app.gateway import Gateway
from app.models import Connector, Message
from tests.api.test_messages import assert_problem, subjects
from tests.support.callers import Callers
from tests.support.each_case import each_case
from tests.support.stored_mail import connector, mail, store, with_attachment

JANA = Callers.user("jana", groups=["orders"])
STRANGER = Callers.user("stranger", groups=["others"])
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def orders(gateway: Gateway) -> Connector:
    return connector(gateway, groups=["orders", "sales"])


def received(gateway: Gateway, message_id: str, at: datetime | None) -> None:
    """Let the server have received a stored message at this time; None: the server did not say."""
    with gateway.db.unit_of_work() as session:
        session.execute(update(Message).where(col(Message.id) == message_id).values(internal_date=at))


def store_days(gateway: Gateway, orders: Connector, *days: int) -> list[str]:
    """One message for each number, which the server received so many days after noon."""
    ids = store(gateway, orders, *(mail(f"day {day}") for day in days))
    for message_id, day in zip(ids, days, strict=True):
        received(gateway, message_id, NOON + timedelta(days=day))
    return ids


def listed(client: TestClient, filters: Mapping[str, str] | None = None, *, headers: Any = JANA) -> list[str]:
    return subjects(client.get("/messages", params={"order": "newest", **(filters or {})}, headers=headers))


def walk(client: TestClient, **query: Any) -> list[list[str]]:
    """The subjects of all pages."""
    pages: list[list[str]] = []
    after: dict[str, str] = {}
    while True:
        answer = client.get("/messages", params={"order": "newest", **query, **after}, headers=JANA)
        pages.append(subjects(answer))
        page = answer.json()
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            return pages
        after = {"after": page["next_cursor"]}


class TestNewest:
    def test_the_latest_received_comes_first_whenever_it_was_fetched(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store_days(gateway, orders, 2, 5, 1)
        assert listed(client) == ["day 5", "day 2", "day 1"]

    def test_pages_of_every_size_hold_each_message_once(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        """Five were received at one time: the pages still part them."""
        store_days(gateway, orders, 3, 3, 3, 3, 3, 1, 9)
        for limit in (1, 2, 3, 7, 8):
            pages = walk(client, limit=limit)
            assert [subject for page in pages for subject in page] == ["day 9", *["day 3"] * 5, "day 1"]
            assert {len(page) for page in pages[:-1]} <= {limit}
        ids = [
            each["id"] for each in client.get("/messages?order=newest&limit=200", headers=JANA).json()["data"]
        ]
        assert len(set(ids)) == 7

    def test_a_mail_without_a_date_of_the_server_counts_from_when_it_was_stored(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store_days(gateway, orders, -9000)
        [undated] = store(gateway, orders, mail("undated"))
        received(gateway, undated, None)
        [late] = store_days(gateway, orders, 1)
        received(gateway, late, datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
        assert walk(client, limit=1) == [["day 1"], ["undated"], ["day -9000"]]

    def test_a_page_goes_on_though_its_last_message_was_deleted(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        _, second, _ = store_days(gateway, orders, 3, 2, 1)
        page = client.get("/messages?order=newest&limit=2", headers=JANA).json()
        assert client.delete(f"/messages/{second}", headers=JANA).status_code == 204
        assert listed(client, {"after": page["next_cursor"]}) == ["day 1"]

    def test_a_cursor_of_one_order_is_refused_by_the_other(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store_days(gateway, orders, 1, 2)
        for order, other in (("newest", "arrival"), ("arrival", "newest")):
            cursor = client.get(f"/messages?order={order}&limit=1", headers=JANA).json()["next_cursor"]
            answer = client.get("/messages", params={"order": other, "after": cursor}, headers=JANA)
            assert_problem(answer, 422, "invalid_input")

    def test_who_waits_waits_for_arrivals(self, client: TestClient, orders: Connector) -> None:
        answer = client.get("/messages?order=newest&wait_s=1", headers=JANA)
        assert_problem(answer, 422, "invalid_input")
        assert_problem(client.get("/messages?order=oldest", headers=JANA), 422, "invalid_input")


class TestFilters:
    @pytest.fixture(autouse=True)
    def _stored(self, gateway: Gateway, orders: Connector) -> None:
        others = connector(gateway, groups=["others"])
        store(gateway, others, mail("of others"))
        mails = [
            mail("Faktura č. 7", "Cc: Účtárna <ucto@firma.cz>"),
            mail("Out of office", "Auto-Submitted: auto-replied", text="Faktura is not in the subject"),
            with_attachment('attachment; filename="a.pdf"'),
        ]
        for day, message_id in enumerate(store(gateway, orders, *mails)):
            received(gateway, message_id, NOON + timedelta(days=day))
        with gateway.db.unit_of_work() as session:
            session.execute(
                update(Message)
                .where(col(Message.subject) == "File")
                .values(from_name="Žofie Dvořáková", from_address="zofie@jinde.cz")
            )

    @each_case("order", ["newest", "arrival"])
    @each_case(
        ("filters", "found"),
        [
            ({}, {"Faktura č. 7", "Out of office", "File"}),
            ({"subject": "faktura"}, {"Faktura č. 7"}),
            ({"q": "faktura"}, {"Faktura č. 7", "Out of office"}),
            ({"to": "uctarna"}, {"Faktura č. 7"}),
            ({"to": "UCTO@firma.cz"}, {"Faktura č. 7"}),
            ({"to": "info@firma.cz"}, {"Faktura č. 7", "Out of office", "File"}),
            ({"from": "jana@example.com"}, {"Faktura č. 7", "Out of office"}),
            ({"from": "info@firma.cz"}, set()),
            ({"from": "jana", "subject": "office out"}, {"Out of office"}),
            ({"has_attachments": "true"}, {"File"}),
            ({"has_attachments": "false"}, {"Faktura č. 7", "Out of office"}),
            ({"auto_reply": "true"}, {"Out of office"}),
            ({"group": "orders"}, {"Faktura č. 7", "Out of office", "File"}),
            ({"group": "sales"}, set()),
            ({"group": "others"}, set()),
            ({"since": "2026-03-02T12:00:00Z"}, {"Out of office", "File"}),
            ({"since": "2026-03-02T13:00:00+01:00", "until": "2026-03-03T12:00:00Z"}, {"Out of office"}),
            ({"until": "2026-03-01T12:00:00Z"}, set()),
            ({"auto_reply": "false", "q": "faktura", "has_attachments": "false"}, {"Faktura č. 7"}),
        ],
    )
    def test_a_filter_selects_what_it_says(
        self, client: TestClient, order: str, filters: dict[str, str], found: set[str]
    ) -> None:
        assert set(listed(client, {"order": order, **filters})) == found

    @each_case(
        "query", ["since=yesterday", "since=2026-03-01T12:00:00", "from=%20", "has_attachments=2", "form=x"]
    )
    def test_a_filter_that_cannot_be_read_is_refused(self, client: TestClient, query: str) -> None:
        answer = client.get(f"/messages?{query}", headers=JANA)
        assert_problem(answer, 422, "invalid_input")
        assert query.split("=", maxsplit=1)[0] in answer.json()["errors"][0]["pointer"]

    def test_pages_of_a_search_hold_each_message_once(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store_days(gateway, orders, *range(10, 17))
        for order, days in (("newest", range(16, 9, -1)), ("arrival", range(10, 17))):
            after: dict[str, str] = {}
            seen: list[str] = []
            while True:
                query = {"order": order, "subject": "day", "limit": "3", **after}
                page = client.get("/messages", params=query, headers=JANA).json()
                seen += [each["subject"] for each in page["data"]]
                if not page["has_more"]:
                    break
                after = {"after": page["next_cursor"]}
            assert seen == [f"day {day}" for day in days]


def test_a_conversation_is_one_request(client: TestClient, gateway: Gateway, orders: Connector) -> None:
    store(gateway, orders, mail("Question", "Message-ID: <q@x>"))
    store(gateway, orders, mail("Something else"), mail("Re: Question", "In-Reply-To: <q@x>"))
    with gateway.db.reading() as session:
        statement = select(Message.conversation_id).where(Message.subject == "Question")
        conversation_id = session.exec(statement).one()
    assert set(listed(client, {"conversation_id": conversation_id})) == {"Question", "Re: Question"}
    assert listed(client, {"conversation_id": conversation_id}, headers=STRANGER) == []


class TestCounts:
    def test_each_caller_counts_what_they_may_read(
        self, client: TestClient, gateway: Gateway, callers: Callers, orders: Connector
    ) -> None:
        returns = connector(gateway, groups=["orders"])
        own = connector(gateway, owner="jana")
        connector(gateway, groups=["orders"])  # holds nothing
        first, *_ = store(gateway, orders, mail(), mail(), mail())
        store(gateway, returns, mail())
        store(gateway, own, mail())
        client.patch(f"/messages/{first}", json={"state": "processed"}, headers=JANA)

        counts = client.get("/messages/counts", headers=JANA).json()
        of = {each.pop("connector_id"): each for each in counts["connectors"]}
        assert of == {
            orders.id: {"new": 2, "processed": 1},
            returns.id: {"new": 1, "processed": 0},
            own.id: {"new": 1, "processed": 0},
        }
        assert counts["groups"] == [{"group": "orders", "new": 3, "processed": 1}]
        assert (counts["new"], counts["processed"]) == (4, 1)

        key = client.get("/messages/counts", headers=callers.key(["messages:read"])).json()
        assert {each["group"]: each["new"] for each in key["groups"]} == {"orders": 3, "sales": 2}
        assert (key["new"], key["processed"]) == (3, 1)
        nobody = client.get("/messages/counts", headers=STRANGER).json()
        assert nobody == {"new": 0, "processed": 0, "connectors": [], "groups": []}
        administrator = client.get("/messages/counts", headers=Callers.user("a", admin=True)).json()
        assert administrator["new"] == 0
        refused = client.get("/messages/counts", headers=callers.key(["events:read"]))
        assert_problem(refused, 403, "scope_missing")

    def test_a_count_takes_no_parameters(self, client: TestClient) -> None:
        assert_problem(client.get("/messages/counts?state=new", headers=JANA), 422, "invalid_input")
