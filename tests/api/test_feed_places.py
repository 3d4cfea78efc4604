"""Where a list or stream in the order of the feed begins: at the end, at a cursor, or nowhere if it is of another feed."""

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import delete, update
from sqlmodel import col

from app.gateway import Gateway
from app.ids import new_id
from app.models import Connector, Event, Feed, Message
from app.services import cursors
from tests.support.callers import Callers
from tests.support.stored_mail import connector, mail, store

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
MEMBER = Callers.user("petr", groups=["orders"])
EVA = Callers.user("eva", groups=["others"])
LISTS = ["/events", "/messages"]


@pytest.fixture
def orders(gateway: Gateway) -> Connector:
    return connector(gateway, groups=["orders"])


def page(client: TestClient, path: str, headers: dict[str, str] = MEMBER, **params: str) -> Response:
    answer: Response = client.get(path, params=params, headers=headers)
    return answer


def go_back_to(gateway: Gateway, position: int) -> None:
    """Restore the database as it was when the feed had this length."""
    with gateway.db.unit_of_work() as session:
        session.execute(delete(Message).where(col(Message.position) > position))
        session.execute(delete(Event).where(col(Event.position) > position))
        session.execute(update(Feed).values(last_position=position))


@pytest.mark.parametrize("path", LISTS)
def test_latest_begins_at_the_end_and_misses_nothing_from_there(
    client: TestClient, gateway: Gateway, orders: Connector, path: str
) -> None:
    store(gateway, orders, mail("1"), mail("2"))
    start = page(client, path, after="latest").json()
    assert (start["data"], start["has_more"]) == ([], False)
    store(gateway, orders, mail("3"))
    assert len(page(client, path, after=start["next_cursor"]).json()["data"]) == 1


def test_latest_of_an_empty_feed_is_its_beginning(
    client: TestClient, gateway: Gateway, orders: Connector
) -> None:
    start = page(client, "/events", after="latest").json()["next_cursor"]
    store(gateway, orders)
    assert len(page(client, "/events", after=start).json()["data"]) == 1


def test_the_newest_first_has_no_latest(client: TestClient) -> None:
    answer = page(client, "/messages", order="newest", after="latest")
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/after"]


def require_gone(answer: Response) -> dict[str, str]:
    assert (answer.status_code, answer.json()["code"]) == (410, "cursor_gone"), answer.text
    cursors: dict[str, str] = answer.json()["cursors"]
    return cursors


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_ahead_of_the_feed_is_gone_and_the_answer_says_where_to_begin(
    client: TestClient, gateway: Gateway, orders: Connector, path: str
) -> None:
    store(gateway, orders, mail("1"), mail("2"), mail("3"))
    ahead = page(client, path).json()["next_cursor"]
    go_back_to(gateway, 1)
    start = require_gone(page(client, path, after=ahead, wait_s="20"))
    assert len(page(client, path, after=start["oldest"]).json()["data"]) == 1
    assert page(client, path, after=start["latest"]).json()["data"] == []


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["2", "200"])
def test_a_cursor_whose_event_is_another_one_is_gone(
    client: TestClient, gateway: Gateway, orders: Connector, path: str, limit: str
) -> None:
    store(gateway, orders, mail("1"), mail("2"), mail("3"))
    given = page(client, path, limit=limit).json()["next_cursor"]
    go_back_to(gateway, 1)
    store(gateway, orders, *[mail(str(number)) for number in range(10, 15)])
    start = require_gone(page(client, path, after=given))
    assert len(page(client, path, after=start["oldest"]).json()["data"]) == 6


def test_the_cursor_of_a_caller_who_sees_nothing_is_gone_too(
    client: TestClient, gateway: Gateway, orders: Connector
) -> None:
    store(gateway, orders, mail("1"), mail("2"))
    given = page(client, "/events", EVA).json()["next_cursor"]
    go_back_to(gateway, 1)
    store(gateway, orders, mail("3"), mail("4"))
    require_gone(page(client, "/events", EVA, after=given))


def test_a_stream_answers_410_to_both_places_of_a_cursor(
    client: TestClient, gateway: Gateway, orders: Connector
) -> None:
    store(gateway, orders, mail("1"), mail("2"))
    given = page(client, "/events").json()["next_cursor"]
    go_back_to(gateway, 1)
    require_gone(page(client, "/events/stream", after=given))
    require_gone(client.get("/events/stream", headers={**MEMBER, "Last-Event-ID": given}))


def test_a_cursor_before_the_restored_end_stays_good(
    client: TestClient, gateway: Gateway, orders: Connector
) -> None:
    store(gateway, orders, mail("1"), mail("2"), mail("3"))
    given = page(client, "/events", limit="1").json()["next_cursor"]
    go_back_to(gateway, 2)
    assert len(page(client, "/events", after=given).json()["data"]) == 1


def test_a_cursor_whose_event_was_deleted_for_its_age_stays_good(
    client: TestClient, gateway: Gateway, orders: Connector
) -> None:
    store(gateway, orders, mail("1"), mail("2"))
    given = page(client, "/events", limit="1").json()["next_cursor"]
    with gateway.db.unit_of_work() as session:
        session.execute(delete(Event).where(col(Event.position) == 1))
    assert len(page(client, "/events", after=given).json()["data"]) == 1


def test_a_cursor_without_a_mark_of_its_event_stays_good(
    client: TestClient, gateway: Gateway, orders: Connector
) -> None:
    store(gateway, orders, mail("1"), mail("2"))
    with gateway.db.unit_of_work() as session:
        session.execute(update(Event).where(col(Event.position) == 1).values(id=new_id()))
    from_before = cursors.of(gateway)("events", is_feed=True).encrypted(1)
    assert len(page(client, "/events", after=from_before).json()["data"]) == 1
