"""The audit trail: every important action leaves a record, in its own transaction, without a secret."""

import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlmodel import col
from typer.testing import CliRunner

from app import clock
from app.cli import app as command_line
from app.errors import ValueRefused
from app.gateway import Gateway
from app.models import AuditRecord, Connector
from app.services.access import audit
from app.services.access.rules import Principal, PrincipalKind
from app.services.connectors import connectors
from app.services.messages import retention
from tests.support.callers import Callers, KeyHeaders
from tests.support.connector_bodies import PASSWORD, created, personal, shared
from tests.support.stored_mail import connector, mail, store

ADMIN = Callers.user("administrator", admin=True)
MEMBER = Callers.user("petr", groups=["orders"])
OTHER = Callers.user("eva")


def trail(client: TestClient, **query: Any) -> list[dict[str, Any]]:
    """The records, the oldest first."""
    answer = client.get("/audit", params=query, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    records: list[dict[str, Any]] = answer.json()["data"][::-1]
    return records


def told(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(record["actor"], record["action"]) for record in records]


class TestWhatIsTold:
    def test_the_life_of_a_connector(self, client: TestClient) -> None:
        body = shared()
        made = created(client, ADMIN, body)
        path = f"/connectors/{made['id']}"
        client.put(f"{path}/credentials", json=PASSWORD, headers=ADMIN)
        client.patch(path, json={"name": "Returns", "imap": {"host": "other.firma.invalid"}}, headers=ADMIN)
        client.patch(path, json={"name": "Returns"}, headers=ADMIN)  # changes nothing
        client.post(f"{path}/pause", headers=ADMIN)
        client.post(f"{path}/resume", headers=ADMIN)
        client.delete(path, headers=ADMIN)
        records = trail(client, connector_id=made["id"])
        assert {record["actor"] for record in records} == {"user:administrator"}
        assert {record["origin"] for record in records} == {"127.0.0.1"}
        assert {record["subject"] for record in records} == {f"connectors/{made['id']}"}
        assert [record["action"] for record in records] == [
            "connector.created",
            "credentials.entered",
            "credentials.discarded",
            "connector.changed",
            "connector.paused",
            "connector.resumed",
            "connector.deleted",
        ]
        by_action = {record["action"]: record for record in records}
        assert by_action["connector.created"]["changes"]["imap.host"] == [None, body["imap"]["host"]]
        assert by_action["connector.changed"]["changes"] == {
            "name": ["Orders", "Returns"],
            "imap.host": [body["imap"]["host"], "other.firma.invalid"],
        }
        assert by_action["connector.deleted"]["changes"]["name"] == ["Returns", None]
        assert PASSWORD["password"] not in json.dumps(records)

    def test_bindings_with_their_groups(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared())
        bound = {"connector_id": made["id"], "group": "orders"}
        binding = client.post("/group-bindings", json=bound, headers=ADMIN).json()
        client.patch(f"/group-bindings/{binding['id']}", json={"group": "sales"}, headers=ADMIN)
        client.delete(f"/group-bindings/{binding['id']}", headers=ADMIN)
        records = trail(client, subject=f"group-bindings/{binding['id']}")
        assert [(record["action"], record["changes"]["group"]) for record in records] == [
            ("group_binding.created", [None, "orders"]),
            ("group_binding.changed", ["orders", "sales"]),
            ("group_binding.deleted", ["sales", None]),
        ]

    def test_api_keys_and_grants_but_no_key(self, client: TestClient) -> None:
        body = {"name": "crm", "scopes": ["messages:read"]}
        key = client.post("/api-keys", json=body, headers=ADMIN).json()
        mailbox = created(client, Callers.user("jana"), personal())
        grant = f"/connectors/{mailbox['id']}/key-grants/{key['id']}"
        client.put(grant, headers=Callers.user("jana"))
        client.delete(grant, headers=Callers.user("jana"))
        client.delete(f"/api-keys/{key['id']}", headers=ADMIN)
        records = trail(client, subject=f"api-keys/{key['id']}")
        assert told(records) == [
            ("user:administrator", "api_key.created"),
            ("user:jana", "key_grant.created"),
            ("user:jana", "key_grant.deleted"),
            ("user:administrator", "api_key.revoked"),
        ]
        assert key["key"] not in json.dumps(records)

    def test_webhooks_without_the_path_of_their_address(self, client: TestClient) -> None:
        body = {"url": "https://hooks.firma.invalid/path-that-is-a-secret?token=t"}
        made = client.post("/webhooks", json=body, headers=ADMIN).json()
        client.patch(f"/webhooks/{made['id']}", json={"active": False}, headers=ADMIN)
        client.delete(f"/webhooks/{made['id']}", headers=ADMIN)
        records = trail(client, subject=f"webhooks/{made['id']}")
        assert [record["action"] for record in records] == [
            "webhook.created",
            "webhook.changed",
            "webhook.deleted",
        ]
        assert records[0]["changes"]["host"] == [None, "hooks.firma.invalid:443"]
        assert records[1]["changes"] == {"active": [True, False]}
        for secret in ("path-that-is-a-secret", made["secret"]):
            assert secret not in json.dumps(records)

    def test_reading_the_source_of_a_mail_is_recorded(self, client: TestClient, gateway: Gateway) -> None:
        at = connector(gateway, groups=["orders"])
        [message_id] = store(gateway, at, mail("planted-subject"))
        client.get(f"/messages/{message_id}", headers=MEMBER)
        client.get(f"/messages/{message_id}/source", headers=OTHER)  # 404: nothing was read
        client.get(f"/messages/{message_id}/source", headers=MEMBER)
        records = trail(client, subject=f"messages/{message_id}")
        assert told(records) == [("user:petr", "message.source_read")]
        assert "planted-subject" not in json.dumps(records)

    def test_each_deleted_message_is_recorded(self, client: TestClient, gateway: Gateway) -> None:
        at = connector(gateway, groups=["orders"], delete_processed_after_days=1)
        one, two, three = store(gateway, at, mail("a"), mail("b"), mail("c"))
        client.delete(f"/messages/{one}", headers=MEMBER)
        client.post("/messages/delete", json={"ids": [two]}, headers=MEMBER)
        client.patch(f"/messages/{three}", json={"state": "processed"}, headers=MEMBER)
        with time_machine.travel(clock.utc_now() + timedelta(days=2)):
            retention.delete_due(gateway)
        deleted = trail(client, action="message.deleted")
        assert [(record["actor"], record["subject"]) for record in deleted] == [
            ("user:petr", f"messages/{one}"),
            ("user:petr", f"messages/{two}"),
            ("retention", f"messages/{three}"),
        ]
        assert {record["connector_id"] for record in deleted} == {at.id}

    def test_commands_of_the_operator_are_recorded(
        self, client: TestClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GATEWAY_DATABASE_URL", gateway.settings.database_url)
        made = CliRunner().invoke(command_line, ["keys", "create", "--name", "crm", "--scope", "admin"])
        prefix = made.stdout[:12]
        assert CliRunner().invoke(command_line, ["keys", "revoke", prefix]).exit_code == 0
        assert told(trail(client)) == [("cli", "api_key.created"), ("cli", "api_key.revoked")]


class TestTheTransaction:
    def test_an_action_that_fails_leaves_no_record(self, client: TestClient, gateway: Gateway) -> None:
        made = created(client, ADMIN, shared(external_id="crm-1"))
        before = trail(client)
        second = shared(external_id="crm-1")
        assert client.post("/connectors", json=second, headers=ADMIN).status_code == 409
        assert client.delete(f"/connectors/{made['id']}", headers=OTHER).status_code == 404
        assert trail(client) == before

    def test_an_action_that_cannot_be_recorded_is_not_done(
        self, gateway: Gateway, client: TestClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = created(client, ADMIN, shared())
        # A name that no database takes: the record cannot be written.
        nobody = Principal(PrincipalKind.USER, "administrator", is_admin=True, origin="\ud800")
        with pytest.raises(ValueRefused):
            connectors.pause(gateway, nobody, made["id"])
        with gateway.db.reading() as session:
            row = session.get(Connector, made["id"])
        assert row is not None
        assert not row.paused


class TestList:
    def test_the_trail_has_pages_filters_and_times(self, client: TestClient) -> None:
        for _ in range(3):
            created(client, ADMIN, shared())
        first = client.get("/audit", params={"limit": 2}, headers=ADMIN).json()
        rest = client.get("/audit", params={"after": first["next_cursor"]}, headers=ADMIN).json()
        ids = [record["id"] for record in first["data"] + rest["data"]]
        assert (len(ids), first["has_more"], rest["has_more"]) == (3, True, False)
        assert ids == sorted(ids, reverse=True)
        later = (clock.utc_now() + timedelta(hours=1)).isoformat()
        assert trail(client, since=later) == []
        assert trail(client, actor="user:eva") == []
        assert len(trail(client, action="connector.created", actor="user:administrator")) == 3

    @pytest.mark.parametrize(
        "query", [{"action": "connector.burnt"}, {"after": "!"}, {"limit": 0}, {"unknown": "1"}]
    )
    def test_bad_input_is_422(self, client: TestClient, query: dict[str, Any]) -> None:
        assert client.get("/audit", params=query, headers=ADMIN).status_code == 422

    def test_the_trail_is_for_administrators_and_keys_with_admin(
        self, client: TestClient, as_key: KeyHeaders
    ) -> None:
        assert client.get("/audit").status_code == 401
        assert client.get("/audit", headers=MEMBER).status_code == 403
        assert client.get("/audit", headers=as_key(["connectors:write"])).status_code == 403
        assert client.get("/audit", headers=as_key(["admin"])).status_code == 200

    def test_a_limited_key_sees_its_connectors_alone(self, client: TestClient, as_key: KeyHeaders) -> None:
        one, two = created(client, ADMIN, shared()), created(client, ADMIN, shared())
        headers = as_key(["admin"], connector_ids=[one["id"]])
        seen = client.get("/audit", headers=headers).json()["data"]
        assert {record["connector_id"] for record in seen} == {one["id"]}
        assert two["id"] not in json.dumps(seen)


def test_old_records_go(client: TestClient, gateway: Gateway) -> None:
    made = created(client, ADMIN, shared())
    days = gateway.settings.audit_retention_days
    assert audit.delete_old(gateway) == 0
    with time_machine.travel(clock.utc_now() + timedelta(days=days, hours=1)):
        assert audit.delete_old(gateway) == 1
    with gateway.db.reading() as session:
        assert session.execute(select(col(AuditRecord.id))).all() == []
    assert client.get(f"/connectors/{made['id']}", headers=ADMIN).status_code == 200
