"""Quarantine: what could not be taken in, who sees it, and trying again."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.gateway import Gateway
from app.models import Connector, Quarantined
from app.services.fetching import quarantine
from app.services.fetching.ledger import NumberedFolder
from app.services.fetching.quarantine import Known
from tests.support.callers import Callers
from tests.support.stored_mail import connector

JANA = Callers.user("jana", groups=["orders"])
PETR = Callers.user("petr")
ADMIN = Callers.user("admin", admin=True)


@pytest.fixture
def orders(gateway: Gateway) -> Connector:
    return connector(gateway, groups=["orders"])


def record(gateway: Gateway, at: Connector, uid: int, reason: str = "too_large", **arguments: Any) -> bool:
    """Note a failure; whether it gave an event."""
    values: dict[str, Any] = {"at_once": reason == "too_large", **arguments}
    with gateway.db.unit_of_work() as session:
        event = quarantine.record_failure(
            session, NumberedFolder(at.id, "INBOX", 1), uid, reason=reason, **values
        )
        return event is not None


def uids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [row["uid"] for row in answer.json()["data"]]


class TestRecording:
    def test_the_third_failure_quarantines_and_is_announced_once(
        self, gateway: Gateway, orders: Connector
    ) -> None:
        assert [record(gateway, orders, 1, "timeout") for _ in range(4)] == [False, False, True, False]
        with gateway.db.reading() as session:
            failed = quarantine.failed_uids(session, NumberedFolder(orders.id, "INBOX", 1))
            assert (failed.left_alone, failed.suspects) == (frozenset({1}), frozenset())
            assert quarantine.failed_uids(session, NumberedFolder(orders.id, "INBOX", 2)).left_alone == set()

    def test_a_mail_that_another_try_cannot_help_is_quarantined_at_once(
        self, gateway: Gateway, orders: Connector
    ) -> None:
        assert record(gateway, orders, 1, "too_large")

    def test_a_mail_that_was_taken_in_leaves_the_quarantine(
        self, gateway: Gateway, orders: Connector
    ) -> None:
        record(gateway, orders, 1)
        record(gateway, orders, 2)
        with gateway.db.unit_of_work() as session:
            quarantine.forget(session, NumberedFolder(orders.id, "INBOX", 1), [1])
            quarantine.forget(session, NumberedFolder(orders.id, "INBOX", 1), [])
        with gateway.db.reading() as session:
            assert [row.uid for row in session.exec(select(Quarantined))] == [2]


class TestList:
    def test_the_quarantine_shows_the_mail_and_the_reason(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        known = Known(size_octets=99, from_address="a\x00\ud800@x", subject="big\r\none")
        record(gateway, orders, 5, known=known)
        record(gateway, orders, 6, "timeout")
        [row] = client.get("/quarantine", headers=JANA).json()["data"]
        assert (row["uid"], row["state"], row["reason"], row["attempts"]) == (
            5,
            "quarantined",
            "too_large",
            1,
        )
        assert row["detail"] == "The mail is larger than this gateway accepts."
        assert (row["size_octets"], row["from_address"], row["subject"]) == (99, "a\ufffd\ufffd@x", "big one")

    def test_the_quarantine_has_pages(self, client: TestClient, gateway: Gateway, orders: Connector) -> None:
        for uid in range(1, 4):
            record(gateway, orders, uid)
        first = client.get("/quarantine?limit=2", headers=JANA)
        assert uids(first) == [1, 2]
        second = client.get("/quarantine", params={"after": first.json()["next_cursor"]}, headers=JANA)
        assert uids(second) == [3]
        assert second.json()["next_cursor"] is None

    def test_callers_who_read_the_mailbox_see_its_quarantine(
        self, client: TestClient, gateway: Gateway, callers: Callers, orders: Connector
    ) -> None:
        private = connector(gateway, owner="petr")
        record(gateway, orders, 1)
        record(gateway, private, 2)
        assert uids(client.get("/quarantine", headers=JANA)) == [1]
        assert uids(client.get("/quarantine", headers=PETR)) == [2]
        assert uids(client.get("/quarantine", headers=ADMIN)) == []
        assert uids(client.get("/quarantine", headers=callers.key(["messages:read"]))) == [1]
        assert client.get("/quarantine", headers=callers.key(["messages:write"])).status_code == 403
        params = {"connector_id": private.id}
        assert client.get("/quarantine", params=params, headers=JANA).status_code == 404
        assert uids(client.get("/quarantine", params=params, headers=PETR)) == [2]

    def test_listing_the_quarantine_without_a_token_is_401(self, client: TestClient) -> None:
        assert client.get("/quarantine").status_code == 401

    @pytest.mark.parametrize("query", ["limit=0", "after=%00", "conector_id=x"])
    def test_a_list_of_the_quarantine_with_a_wrong_parameter_is_refused(
        self, client: TestClient, query: str
    ) -> None:
        assert client.get(f"/quarantine?{query}", headers=JANA).status_code == 422


class TestRetry:
    def quarantined_id(self, gateway: Gateway, at: Connector) -> str:
        record(gateway, at, 1)
        with gateway.db.reading() as session:
            return session.exec(select(Quarantined.id)).one()

    def test_the_next_cycle_comes_at_once_and_tries_it(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        row_id = self.quarantined_id(gateway, orders)
        answer = client.post(f"/quarantine/{row_id}/retry", headers=JANA)
        assert answer.status_code == 200
        assert (answer.json()["state"], answer.json()["attempts"]) == ("suspect", 0)
        assert uids(client.get("/quarantine", headers=JANA)) == []
        with gateway.db.reading() as session:
            stored = session.get(Connector, orders.id)
            assert stored is not None
            assert stored.next_fetch_at is not None
            assert quarantine.failed_uids(session, NumberedFolder(orders.id, "INBOX", 1)).suspects == {1}

    def test_a_retry_starts_no_cycle_of_a_mailbox_that_is_not_fetched(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        stopped = connector(gateway, groups=["orders"], status="stopped")
        row_id = self.quarantined_id(gateway, stopped)
        assert client.post(f"/quarantine/{row_id}/retry", headers=JANA).status_code == 200
        with gateway.db.reading() as session:
            stored = session.get(Connector, stopped.id)
            assert stored is not None
            assert stored.next_fetch_at is None

    def test_callers_who_read_the_mailbox_may_retry(
        self, client: TestClient, gateway: Gateway, callers: Callers, orders: Connector
    ) -> None:
        row_id = self.quarantined_id(gateway, orders)
        for headers, status in (
            ({}, 401),
            (ADMIN, 404),
            (PETR, 404),
            (callers.key(["messages:read"]), 403),
            (callers.key(["messages:write"]), 200),
        ):
            assert client.post(f"/quarantine/{row_id}/retry", headers=headers).status_code == status
        assert client.post("/quarantine/absent/retry", headers=JANA).status_code == 404
