"""The routes of webhooks, over HTTP on both databases."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.gateway import Gateway
from app.models import Connector, Webhook
from tests.support.callers import Callers, KeyHeaders
from tests.support.each_case import each_case
from tests.support.stored_mail import connector
from tools.servers.http_receiver import HttpReceiver

ADMIN = Callers.user("administrator", admin=True)
MEMBER = Callers.user("petr", groups=["orders"])
URL = "https://crm.firma.invalid/hook"


@pytest.fixture
def orders(gateway: Gateway) -> Connector:
    return connector(gateway, groups=["orders"])


def created(client: TestClient, headers: dict[str, str] = ADMIN, **body: Any) -> dict[str, Any]:
    answer = client.post("/webhooks", json={"url": URL, **body}, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def pointers(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [fault["pointer"] for fault in answer.json()["errors"]]


class TestCreate:
    def test_the_secret_of_a_webhook_is_shown_once_and_stored_encrypted(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        made = created(client)
        assert made["secret"].startswith("whsec_")
        expected = {"url": URL, "types": [], "connector_ids": [], "active": True}
        assert {name: made[name] for name in expected} == expected
        assert "secret" not in client.get(f"/webhooks/{made['id']}", headers=ADMIN).json()
        with gateway.db.reading() as session:
            row = session.execute(select(Webhook)).scalar_one()
        assert made["secret"] not in row.secret_ciphertext

    def test_a_webhook_takes_types_in_short_and_in_full(self, client: TestClient) -> None:
        made = created(client, types=["message.stored", "com.aymine.imap.connector.stopped.v1"])
        assert made["types"] == [
            "com.aymine.imap.message.stored.v1",
            "com.aymine.imap.connector.stopped.v1",
        ]

    @each_case(
        ("body", "pointer"),
        [
            ({"url": "ftp://x"}, "/url"),
            ({"url": "https://0177.0.0.1/"}, "/url"),
            ({"url": "https://[1]/"}, "/url"),
            ({"url": "https://crm.firma.cz:99999/"}, "/url"),
            ({"url": "https://crm.firma.cz:0/"}, "/url"),
            ({"url": "https://crm.firma.cz\\@127.0.0.1/"}, "/url"),
            ({"url": "https://"}, "/url"),
            ({"url": "https://user:secret@crm.firma.invalid/"}, "/url"),
            ({"url": "https://10.0.0.1/"}, "/url"),
            ({"url": "https://[::ffff:169.254.169.254]/"}, "/url"),
            ({"url": "https://8.8.8.8:22/"}, "/url"),
            ({"url": "http://8.8.8.8/"}, "/url"),
            ({"url": "http://crm.firma.invalid/"}, "/url"),
            ({"url": "https://crm.firma.invalid:99999/"}, "/url"),
            ({"types": ["mail.arrived"]}, "/types/0"),
            ({"connector_ids": ["absent"]}, "/connector_ids/0"),
            ({"active": "perhaps"}, "/active"),
            ({"secret": "mine"}, "/secret"),
        ],
    )
    @pytest.mark.any_database
    def test_a_webhook_with_bad_input_names_the_field(
        self, client: TestClient, body: dict[str, Any], pointer: str
    ) -> None:
        answer = client.post("/webhooks", json={"url": URL, **body}, headers=ADMIN)
        assert pointers(answer) == [pointer]
        assert client.get("/webhooks", headers=ADMIN).json()["data"] == []

    def test_administrators_and_keys_with_the_scope_create_webhooks(
        self, client: TestClient, as_key: KeyHeaders
    ) -> None:
        assert client.post("/webhooks", json={"url": URL}).status_code == 401
        assert client.post("/webhooks", json={"url": URL}, headers=MEMBER).status_code == 403
        assert client.post("/webhooks", json={"url": URL}, headers=as_key(["events:read"])).status_code == 403
        created(client, as_key(["webhooks:write"]))

    def test_a_webhook_of_a_key_names_only_the_connectors_of_the_key(
        self, client: TestClient, gateway: Gateway, orders: Connector, as_key: KeyHeaders
    ) -> None:
        personal = connector(gateway, owner="jana")
        limited = as_key(["webhooks:write"], [orders.id])
        created(client, limited, connector_ids=[orders.id])
        for headers, connector_id in (
            (limited, connector(gateway).id),
            (as_key(["webhooks:write"]), personal.id),
        ):
            body = {"url": URL, "connector_ids": [connector_id]}
            assert pointers(client.post("/webhooks", json=body, headers=headers)) == ["/connector_ids/0"]


class TestOne:
    def test_a_webhook_can_be_read_changed_and_deleted(self, client: TestClient, orders: Connector) -> None:
        made = created(client)
        path = f"/webhooks/{made['id']}"
        changed = client.patch(path, json={"active": False, "connector_ids": [orders.id]}, headers=ADMIN)
        assert changed.status_code == 200, changed.text
        assert (changed.json()["active"], changed.json()["connector_ids"]) == (False, [orders.id])
        assert changed.json()["url"] == URL
        assert client.get(path, headers=ADMIN).json() == changed.json()
        assert client.delete(path, headers=ADMIN).status_code == 204
        assert client.get(path, headers=ADMIN).status_code == 404

    @pytest.mark.parametrize("field", ["url", "types", "connector_ids", "active"])
    def test_a_webhook_takes_no_null(self, client: TestClient, field: str) -> None:
        path = f"/webhooks/{created(client)['id']}"
        assert pointers(client.patch(path, json={field: None}, headers=ADMIN)) == [f"/{field}"]

    def test_webhooks_of_others_do_not_exist_for_a_limited_key(
        self, client: TestClient, orders: Connector, as_key: KeyHeaders
    ) -> None:
        limited = as_key(["webhooks:write"], [orders.id])
        theirs, mine = created(client), created(client, limited)
        path = f"/webhooks/{theirs['id']}"
        assert client.get(path, headers=limited).status_code == 404
        assert client.patch(path, json={"url": URL}, headers=limited).status_code == 404
        assert client.delete(path, headers=limited).status_code == 404
        listed = client.get("/webhooks", headers=limited).json()["data"]
        assert [row["id"] for row in listed] == [mine["id"]]
        assert len(client.get("/webhooks", headers=ADMIN).json()["data"]) == 2

    def test_members_may_not_use_webhooks(self, client: TestClient) -> None:
        path = f"/webhooks/{created(client)['id']}"
        assert client.get(path, headers=MEMBER).status_code == 403
        assert client.get(f"{path}/deliveries", headers=MEMBER).status_code == 403
        assert client.post(f"{path}/test", headers=MEMBER).status_code == 403
        body = {"since": "2026-01-01T00:00:00Z"}
        assert client.post(f"{path}/replay", json=body, headers=MEMBER).status_code == 403

    def test_pages_of_webhooks_show_each_one_once(self, client: TestClient) -> None:
        ids = [created(client)["id"] for _ in range(3)]
        first = client.get("/webhooks?limit=2", headers=ADMIN).json()
        second = client.get(f"/webhooks?limit=2&after={first['next_cursor']}", headers=ADMIN).json()
        assert [row["id"] for row in [*first["data"], *second["data"]]] == ids
        assert second["has_more"] is False


class TestTheTestEvent:
    def test_the_test_event_is_sent_and_reported(
        self, client: TestClient, http_receiver: HttpReceiver
    ) -> None:
        made = created(client, url=f"{http_receiver.url}/hook")
        answer = client.post(f"/webhooks/{made['id']}/test", headers=ADMIN)
        assert answer.json() == {"ok": True, "response_status": 204, "error_code": None}
        assert len(http_receiver.requests) == 1

    def test_a_test_event_that_fails_is_answered_with_a_report(
        self, client: TestClient, http_receiver: HttpReceiver
    ) -> None:
        http_receiver.answer_with(500)
        made = created(client, url=f"{http_receiver.url}/hook")
        answer = client.post(f"/webhooks/{made['id']}/test", headers=ADMIN)
        assert answer.json() == {"ok": False, "response_status": 500, "error_code": "status_refused"}

    def test_a_test_event_to_a_name_without_address_looks_like_a_refused_target(
        self, client: TestClient
    ) -> None:
        answer = client.post(f"/webhooks/{created(client)['id']}/test", headers=ADMIN)
        assert answer.json() == {"ok": False, "response_status": None, "error_code": "host_unreachable"}


class TestReplay:
    @pytest.mark.parametrize("since", ["yesterday", "2026-01-01T00:00:00", None])
    def test_a_replay_needs_a_time_with_a_zone(self, client: TestClient, since: object) -> None:
        path = f"/webhooks/{created(client)['id']}/replay"
        assert pointers(client.post(path, json={"since": since}, headers=ADMIN)) == ["/since"]

    def test_a_replay_without_events_queues_nothing(self, client: TestClient) -> None:
        path = f"/webhooks/{created(client)['id']}/replay"
        body = {"since": "2026-01-01T00:00:00Z"}
        assert client.post(path, json=body, headers=ADMIN).json() == {"queued": 0}
