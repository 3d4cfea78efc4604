"""The routes of events, over HTTP on both databases."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.gateway import Gateway
from app.models import Connector
from app.services.messages import deletion
from tests.support.callers import Callers, KeyHeaders
from tests.support.each_case import each_case
from tests.support.stored_mail import TESTER, connector, mail, store

ADMIN = Callers.user("administrator", admin=True)
MEMBER = Callers.user("petr", groups=["orders"])
JANA = Callers.user("jana")
OTHER = Callers.user("eva", groups=["other"])


@pytest.fixture
def orders(gateway: Gateway) -> Connector:
    return connector(gateway, groups=["orders"])


@pytest.fixture
def mine(gateway: Gateway) -> Connector:
    return connector(gateway, owner="jana")


def subjects(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [event["subject"] for event in answer.json()["data"]]


class TestList:
    def test_events_are_cloud_events_without_content_of_the_mail(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        [message_id] = store(gateway, orders, mail("A subject to keep"))
        answer = client.get("/events", headers=MEMBER)
        event = answer.json()["data"][0]
        assert event == {
            "specversion": "1.0",
            "id": event["id"],
            "type": "com.aymine.imap.message.stored.v1",
            "source": "/imap-gateway",
            "subject": f"messages/{message_id}",
            "time": event["time"],
            "datacontenttype": "application/json",
            "data": {
                "connector_id": orders.id,
                "message_id": message_id,
                "notify": True,
                "recipients": {"users": [], "groups": ["orders"]},
            },
        }
        assert "subject to keep" not in answer.text
        assert event["time"].endswith("Z")

    def test_polled_by_its_cursor_gives_each_event_once(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        first = store(gateway, orders, *[mail(str(number)) for number in range(5)])
        seen: list[str] = []
        after: str | None = None
        for _ in range(4):
            page = client.get(
                "/events", params={"limit": "2", **({"after": after} if after else {})}, headers=MEMBER
            )
            seen += subjects(page)
            after = page.json()["next_cursor"]
        assert seen == [f"messages/{each}" for each in first]
        second = store(gateway, orders)
        assert subjects(client.get("/events", params={"after": after}, headers=MEMBER)) == [
            f"messages/{second[0]}"
        ]

    def test_each_caller_sees_only_their_events(
        self, client: TestClient, gateway: Gateway, orders: Connector, mine: Connector, as_key: KeyHeaders
    ) -> None:
        [shared], [personal] = store(gateway, orders), store(gateway, mine)
        of_shared, of_personal = f"messages/{shared}", f"messages/{personal}"
        assert subjects(client.get("/events", headers=ADMIN)) == [of_shared, of_personal]
        assert subjects(client.get("/events", headers=MEMBER)) == [of_shared]
        assert subjects(client.get("/events", headers=JANA)) == [of_personal]
        assert subjects(client.get("/events", headers=OTHER)) == []
        assert subjects(client.get("/events", headers=as_key(["events:read"]))) == [of_shared]
        limited = as_key(["events:read"], [mine.id])
        assert subjects(client.get("/events", headers=limited)) == []

    def test_listing_events_needs_a_token_and_a_scope(self, client: TestClient, as_key: KeyHeaders) -> None:
        assert client.get("/events").status_code == 401
        assert client.get("/events", headers=as_key(["messages:read"])).status_code == 403

    @each_case("query", ["after=x", "after=%00", "limit=0", "limit=x", "wait_s=31", "wait_s=-1"])
    @pytest.mark.any_database
    def test_a_list_of_events_with_a_wrong_parameter_is_refused(self, client: TestClient, query: str) -> None:
        answer = client.get(f"/events?{query}", headers=ADMIN)
        assert answer.status_code == 422
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/" + query.partition("=")[0]]

    def test_a_list_of_events_waits_no_longer_than_requested(self, client: TestClient) -> None:
        answer = client.get("/events?wait_s=0.3", headers=ADMIN)
        assert (answer.status_code, answer.json()["data"]) == (200, [])
        assert answer.elapsed.total_seconds() >= 0.3

    def test_only_administrators_see_events_of_a_deleted_connector(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store(gateway, orders)
        deletion.delete_of_connector(gateway, TESTER, orders.id)
        assert client.delete(f"/connectors/{orders.id}", headers=ADMIN).status_code == 204
        assert len(subjects(client.get("/events", headers=ADMIN))) == 2
        assert subjects(client.get("/events", headers=MEMBER)) == []


class TestStream:
    def test_a_stream_is_refused_like_the_list(self, client: TestClient, as_key: KeyHeaders) -> None:
        assert client.get("/events/stream").status_code == 401
        assert client.get("/events/stream", headers=as_key(["messages:read"])).status_code == 403
        answer = client.get("/events/stream", headers={**ADMIN, "Last-Event-ID": "no cursor"})
        assert answer.status_code == 422
