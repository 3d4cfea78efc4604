"""The audit trail: every important action leaves a record, in its own transaction, without a secret."""

import json
from datetime import timedelta
from typing import Any, Literal, cast

import pytest
import time_machine
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlmodel import col
from typer.testing import CliRunner

from app import clock
from app.cli import app as command_line
from app.errors import ValueRefused
from app.gateway import Gateway
from app.main import create_app
from app.models import AuditRecord, Connector
from app.services.access import audit
from app.services.access.rules import Principal, PrincipalKind
from app.services.connectors import connectors
from app.services.fetching import quarantine
from app.services.fetching.ledger import NumberedFolder
from app.services.messages import deletion, retention
from tests.support.callers import Callers, KeyHeaders
from tests.support.connector_bodies import PASSWORD, created, personal, shared
from tests.support.sending_mailbox import sending_connector
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import connector, mail, store
from tools.servers.smtp import SmtpServer

ADMIN = Callers.user("administrator", admin=True)
MEMBER = Callers.user("petr", groups=["orders"])
OTHER = Callers.user("eva")
WITH_ATTACHMENT = (
    b"From: a@example.com\r\nSubject: planted-subject\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nplanted-text\r\n"
    b"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=planted.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--b--\r\n"
)


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

    def test_reading_a_mail_and_changing_its_state_is_recorded_and_lists_are_not(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        at = connector(gateway, groups=["orders"])
        [message_id] = store(gateway, at, WITH_ATTACHMENT)
        path = f"/messages/{message_id}"
        assert client.get("/messages", headers=MEMBER).json()["data"]
        for read in (path, f"{path}/attachments/1", f"{path}/source"):
            assert client.get(read, headers=OTHER).status_code == 404
            assert client.get(read, headers=MEMBER).status_code == 200
        assert client.get(f"{path}/attachments/9", headers=MEMBER).status_code == 404
        for state in ("processed", "processed", "new"):
            client.patch(path, json={"state": state}, headers=MEMBER)
        records = trail(client, message_id=message_id)
        assert told(records) == [
            ("user:petr", "message.read"),
            ("user:petr", "message.attachment_read"),
            ("user:petr", "message.source_read"),
            ("user:petr", "message.state_changed"),
            ("user:petr", "message.state_changed"),
        ]
        assert {record["connector_id"] for record in records} == {at.id}
        assert records[1]["changes"] == {"attachment": [None, 1]}
        assert records[3]["changes"] == {"state": ["new", "processed"]}
        assert "planted" not in json.dumps(records)

    def test_readings_other_than_of_the_source_can_be_left_out(self, settings: SettingsFactory) -> None:
        with TestClient(create_app(settings(audit_reads="sources"))) as client:
            gateway = cast(FastAPI, client.app).state.gateway
            at = connector(gateway, groups=["orders"])
            [message_id] = store(gateway, at, WITH_ATTACHMENT)
            for read in ("", "/attachments/1", "/source"):
                assert client.get(f"/messages/{message_id}{read}", headers=MEMBER).status_code == 200
            records = trail(client, message_id=message_id)
        assert told(records) == [("user:petr", "message.source_read")]

    @pytest.mark.parametrize("kept", ["all", "sources"])
    def test_readings_of_what_was_sent_are_told_as_those_of_messages(
        self, settings: SettingsFactory, smtp_server: SmtpServer, kept: Literal["all", "sources"]
    ) -> None:
        colleague = Callers.user("zofie", groups=["orders"])
        with TestClient(create_app(settings(audit_reads=kept))) as client:
            gateway = cast(FastAPI, client.app).state.gateway
            at = sending_connector(gateway, smtp_server, groups=["orders"])
            file = {"name": "a.txt", "content_base64": "eA=="}
            body = {"connector_id": at.id, "to": ["a@firma.cz"], "text": "x", "attachments": [file]}
            sent = client.post("/submissions", json=body, headers=MEMBER).json()
            path = f"/submissions/{sent['id']}"
            assert client.get(path, headers=MEMBER).json()["text"] == "x"  # the one who wrote it
            assert client.get(path, headers=ADMIN).status_code in {200, 404}  # sees no text
            for what in ("", "/attachments/1", "/source"):
                assert client.get(path + what, headers=colleague).status_code == 200
            records = trail(client, subject=path.removeprefix("/"))
        read = ["submission.read", "submission.attachment_read"] if kept == "all" else []
        assert told(records) == [
            ("user:petr", "submission.created"),
            *(("user:zofie", action) for action in [*read, "submission.source_read"]),
        ]
        assert [each["changes"] for each in records if each["action"] == "submission.attachment_read"] == (
            [{"attachment": [None, 1]}] if read else []
        )

    def test_sending_and_cancelling(
        self, client: TestClient, gateway: Gateway, smtp_server: SmtpServer
    ) -> None:
        at = sending_connector(gateway, smtp_server, groups=["orders"])
        body = {
            "connector_id": at.id,
            "to": ["planted-a@firma.cz", "b@firma.cz"],
            "subject": "planted-subject",
            "text": "planted-text",
        }
        sent = client.post("/submissions", json=body, headers={**MEMBER, "Idempotency-Key": "k"}).json()
        client.post("/submissions", json=body, headers={**MEMBER, "Idempotency-Key": "k"})
        client.delete(f"/submissions/{sent['id']}", headers=MEMBER)
        client.delete(f"/submissions/{sent['id']}", headers=MEMBER)  # 409: it is cancelled already
        records = trail(client, subject=f"submissions/{sent['id']}", connector_id=at.id)
        assert told(records) == [("user:petr", "submission.created"), ("user:petr", "submission.cancelled")]
        assert records[0]["changes"] == {"recipients": [None, 2]}
        assert "planted" not in json.dumps(records)

    def test_retries_of_quarantined_mails(self, client: TestClient, gateway: Gateway) -> None:
        at = connector(gateway, groups=["orders"])
        for uid in (1, 2, 3):
            with gateway.db.unit_of_work() as session:
                place = NumberedFolder(at.id, "INBOX", 1)
                quarantine.record_failure(session, place, uid, reason="too_large", at_once=True)
        one = client.get("/quarantine", headers=MEMBER).json()["data"][0]["id"]
        client.post(f"/quarantine/{one}/retry", headers=MEMBER)
        client.post("/quarantine/retry", json={"reason": "too_large"}, headers=MEMBER)
        records = trail(client, action="quarantine.retried", connector_id=at.id)
        assert [(record["subject"], record["changes"]) for record in records] == [
            (f"quarantine/{one}", {}),
            (f"connectors/{at.id}", {"count": [None, 2]}),
        ]

    def test_tests_and_replays_of_webhooks(self, client: TestClient, gateway: Gateway) -> None:
        at = connector(gateway, groups=["orders"])
        store(gateway, at, mail("a"))
        url = "https://hooks.firma.invalid/planted-secret"
        made = client.post("/webhooks", json={"url": url}, headers=ADMIN).json()
        client.post(f"/webhooks/{made['id']}/test", headers=ADMIN)
        since = (clock.utc_now() - timedelta(hours=1)).isoformat()
        answer = client.post(f"/webhooks/{made['id']}/replay", json={"since": since}, headers=ADMIN)
        assert answer.status_code < 300, answer.text
        records = trail(client, subject=f"webhooks/{made['id']}")
        assert [record["action"] for record in records] == [
            "webhook.created",
            "webhook.tested",
            "webhook.replayed",
        ]
        assert records[2]["changes"]["count"][1] >= 1
        assert "planted-secret" not in json.dumps(records)

    def test_many_deletions_are_one_record_with_their_number(
        self, client: TestClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deletion, "DELETE_BATCH", 2)
        at, other = connector(gateway, groups=["orders"]), connector(gateway, groups=["orders"])
        store(gateway, at, *(mail(f"{number}") for number in range(5)))
        store(gateway, other, mail("x"))
        answer = client.post("/messages/delete", json={"state": "new"}, headers=MEMBER)
        assert answer.json() == {"deleted": 6}
        records = trail(client, action="messages.deleted")
        assert {record["subject"]: record["changes"] for record in records} == {
            f"connectors/{at.id}": {"count": [None, 5]},
            f"connectors/{other.id}": {"count": [None, 1]},
        }
        assert len(records) == 2
        assert trail(client, action="message.deleted") == []

    def test_deleted_messages_are_recorded(self, client: TestClient, gateway: Gateway) -> None:
        at = connector(gateway, groups=["orders"], delete_processed_after_days=1)
        one, two, three = store(gateway, at, mail("a"), mail("b"), mail("c"))
        client.delete(f"/messages/{one}", headers=MEMBER)
        client.post("/messages/delete", json={"ids": [two]}, headers=MEMBER)
        client.patch(f"/messages/{three}", json={"state": "processed"}, headers=MEMBER)
        with time_machine.travel(clock.utc_now() + timedelta(days=2)):
            retention.delete_due(gateway)
        deleted = [each for each in trail(client) if each["action"].endswith(".deleted")]
        assert [(record["actor"], record["subject"]) for record in deleted] == [
            ("user:petr", f"messages/{one}"),
            ("user:petr", f"connectors/{at.id}"),
            ("retention", f"connectors/{at.id}"),
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
        assert len(trail(client, until=later, origin="127.0.0.1")) == 3
        assert trail(client, origin="192.0.2.1") == []
        moment = first["data"][0]["at"]
        assert [record["at"] for record in trail(client, until=moment)] < [moment]
        assert len(trail(client, until=moment)) == 2
        assert len(trail(client, since=moment)) == 1
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
