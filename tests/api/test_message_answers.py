"""Two colleagues answer the same message: who has answered, and whose second answer is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlmodel import col

from app import clock
from app.errors import AlreadyAnswered
from app.gateway import Gateway
from app.models import Connector, Submission
from app.services.access.rules import Principal, PrincipalKind
from app.services.sending import ending
from app.states import SubmissionStatus
from tests.support.callers import Callers, KeyHeaders
from tests.support.sending_mailbox import sending_connector, submit
from tests.support.stored_mail import store
from tools.servers.smtp import SmtpServer

JANA = Callers.user("jana", groups=["orders"])
IDA = Callers.user("ida", groups=["orders"])
PETR = Callers.user("petr", groups=["orders"])
ADMIN = Callers.user("root", admin=True)


@pytest.fixture
def orders(gateway: Gateway, smtp_server: SmtpServer) -> Connector:
    """A shared mailbox, bound to the group `orders`."""
    return sending_connector(gateway, smtp_server, groups=["orders"])


@pytest.fixture
def private(gateway: Gateway, smtp_server: SmtpServer) -> Connector:
    """Petr's own mailbox; he is in the group, too."""
    return sending_connector(gateway, smtp_server, owner="petr")


@pytest.fixture
def message_id(gateway: Gateway, orders: Connector) -> str:
    (stored,) = store(gateway, orders)
    return stored


def answer(
    client: TestClient, at: Connector, message_id: str, who: dict[str, str] = JANA, **fields: Any
) -> Any:
    key = {"Idempotency-Key": fields.pop("key")} if "key" in fields else {}
    body = {
        "connector_id": at.id,
        "to": ["karel@example.com"],
        "text": "Yes",
        "in_reply_to": message_id,
        **fields,
    }
    return client.post("/submissions", json=body, headers={**who, **key})


def answers(client: TestClient, message_id: str, who: dict[str, str] = JANA) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/messages/{message_id}", headers=who).json()["answers"]
    return found


def end(gateway: Gateway, submission_id: str, status: SubmissionStatus) -> None:
    with gateway.db.unit_of_work() as session:
        values = {"status": status, "next_attempt_at": None}
        session.execute(update(Submission).where(col(Submission.id) == submission_id).values(values))


def test_a_message_lists_its_answers(client: TestClient, orders: Connector, message_id: str) -> None:
    assert answers(client, message_id) == []
    made = answer(client, orders, message_id).json()
    expected = [
        {"submission_id": made["id"], "status": "queued", "by": "user:jana", "at": made["created_at"]}
    ]
    assert answers(client, message_id, IDA) == expected
    listed = client.get("/messages", headers=IDA).json()["data"]
    found = client.get("/messages", params={"q": "order"}, headers=IDA).json()["data"]
    changed = client.patch(f"/messages/{message_id}", json={"state": "processed"}, headers=IDA).json()
    assert [each["answers"] for each in [*listed, *found, changed]] == [expected] * 3


def test_a_second_answer_needs_to_be_wanted(client: TestClient, orders: Connector, message_id: str) -> None:
    first = answer(client, orders, message_id).json()
    refused = answer(client, orders, message_id, IDA)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_answered")
    second = answer(client, orders, message_id, IDA, also=True).json()
    assert [each["submission_id"] for each in answers(client, message_id)] == [first["id"], second["id"]]


@pytest.mark.parametrize("status", list(SubmissionStatus))
def test_failed_and_cancelled_answers_do_not_count(
    client: TestClient, gateway: Gateway, orders: Connector, message_id: str, status: SubmissionStatus
) -> None:
    first = answer(client, orders, message_id).json()
    end(gateway, first["id"], status)
    counts = status not in {SubmissionStatus.FAILED, SubmissionStatus.CANCELLED}
    assert answer(client, orders, message_id, IDA).status_code == (409 if counts else 201)


def test_of_an_answer_from_a_mailbox_that_one_may_not_read_only_the_time_is_told(
    client: TestClient, orders: Connector, private: Connector, message_id: str
) -> None:
    made = answer(client, private, message_id, PETR).json()
    at = {"submission_id": None, "status": None, "by": None, "at": made["created_at"]}
    assert answers(client, message_id) == [at]
    assert answers(client, message_id, PETR)[0]["submission_id"] == made["id"]
    assert answer(client, orders, message_id).json()["code"] == "already_answered"


def test_a_repeated_request_gives_its_answer_again(
    client: TestClient, orders: Connector, message_id: str
) -> None:
    first = answer(client, orders, message_id, key="k").json()
    assert answer(client, orders, message_id, key="k").json()["id"] == first["id"]
    assert answer(client, orders, message_id, IDA, key="k").status_code == 409


def test_of_many_answers_at_once_one_passes(gateway: Gateway, orders: Connector, message_id: str) -> None:
    barrier = threading.Barrier(6)

    def one(number: int) -> str:
        by = Principal(kind=PrincipalKind.USER, id=f"user{number}", groups=frozenset({"orders"}))
        barrier.wait(60)
        try:
            return submit(gateway, orders, by=by, in_reply_to=message_id).submission.id
        except AlreadyAnswered:
            return "refused"

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(one, range(6)))
    assert outcomes.count("refused") == 5


def test_one_that_failed_is_not_sent_after_another_has_answered(
    client: TestClient, gateway: Gateway, orders: Connector, message_id: str
) -> None:
    first = answer(client, orders, message_id).json()
    end(gateway, first["id"], SubmissionStatus.FAILED)
    again = f"/submissions/{first['id']}/retry"
    assert answer(client, orders, message_id, IDA).status_code == 201
    assert client.post(again, headers=JANA).json()["code"] == "already_answered"
    assert client.post(again, params={"also": True}, headers=JANA).status_code == 200


def test_one_that_failed_alone_is_sent_again(
    client: TestClient, gateway: Gateway, orders: Connector, message_id: str
) -> None:
    first = answer(client, orders, message_id).json()
    end(gateway, first["id"], SubmissionStatus.UNCERTAIN)
    assert client.post(f"/submissions/{first['id']}/retry", headers=JANA).status_code == 200


def test_retention_leaves_the_answer_and_the_key(
    client: TestClient, gateway: Gateway, orders: Connector, message_id: str
) -> None:
    made = answer(client, orders, message_id, key="k").json()
    end(gateway, made["id"], SubmissionStatus.SENT)
    retention = {"retention": {"delete_sent_after_days": 1}}
    assert client.patch(f"/connectors/{orders.id}", json=retention, headers=ADMIN).status_code == 200
    with time_machine.travel(clock.utc_now() + timedelta(days=2)):
        assert ending.delete_old(gateway) == 1
    assert client.get(f"/submissions/{made['id']}", headers=JANA).status_code == 404
    assert answers(client, message_id) == [
        {"submission_id": made["id"], "status": "sent", "by": "user:jana", "at": made["created_at"]}
    ]
    assert answer(client, orders, message_id, IDA).json()["code"] == "already_answered"
    assert answer(client, orders, message_id, key="k").json()["code"] == "idempotency_key_spent"
    assert answer(client, orders, message_id, key="k", text="No").json()["code"] == "idempotency_mismatch"
    with time_machine.travel(clock.utc_now() + timedelta(days=33)):
        ending.delete_old(gateway)
    assert answer(client, orders, message_id, key="k", also=True).status_code == 201
    assert len(answers(client, message_id)) == 2


def test_a_deleted_failure_leaves_its_key_and_no_hindrance(
    client: TestClient, gateway: Gateway, orders: Connector, message_id: str
) -> None:
    made = answer(client, orders, message_id, key="k").json()
    end(gateway, made["id"], SubmissionStatus.FAILED)
    assert client.delete(f"/submissions/{made['id']}", headers=JANA).status_code == 204
    assert answer(client, orders, message_id, key="k").json()["code"] == "idempotency_key_spent"
    assert answer(client, orders, message_id).status_code == 201


def test_a_deleted_connector_leaves_what_it_answered_elsewhere(
    client: TestClient, gateway: Gateway, private: Connector, message_id: str
) -> None:
    made = answer(client, private, message_id, PETR).json()
    end(gateway, made["id"], SubmissionStatus.SENT)
    assert client.delete(f"/connectors/{private.id}", headers=PETR).status_code == 204
    assert [each["at"] for each in answers(client, message_id)] == [made["created_at"]]
    assert client.delete(f"/messages/{message_id}", headers=JANA).status_code == 204


class TestMarkProcessed:
    def test_needs_an_answer(self, client: TestClient, orders: Connector) -> None:
        body = {"connector_id": orders.id, "to": ["a@example.com"], "mark_processed": True}
        refused = client.post("/submissions", json=body, headers=JANA)
        assert refused.json()["errors"] == [{"pointer": "/mark_processed", "detail": "needs in_reply_to"}]

    def test_needs_the_right_to_mark_it(
        self, client: TestClient, as_key: KeyHeaders, orders: Connector, message_id: str
    ) -> None:
        key = as_key(["submissions:write", "messages:read"])
        refused = answer(client, orders, message_id, key, mark_processed=True)
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
        assert answer(client, orders, message_id, key).status_code == 201
