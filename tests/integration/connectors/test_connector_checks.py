"""Trying connectors out against real servers: the report is right, and nothing has changed."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.gateway import CHECKS_A_MINUTE
from app.main import create_app
from tests.support.callers import Callers
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.process import free_port
from tools.servers.smtp import SmtpServer

ADMIN = Callers.user("administrator", admin=True)
OWNER = Callers.user("jana")


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    return dovecot.new_user()


def body(dovecot: Dovecot, user: str, **changes: Any) -> dict[str, Any]:
    return {
        "imap": {"host": dovecot.host, "port": dovecot.port, "security": "none", "username": user},
        "credentials": {"type": "password", "password": dovecot.password},
        **changes,
    }


def report(client: TestClient, tried: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/connectors/test", json=tried, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


PASSED = {"ok": True, "code": None, "detail": None}


class TestATry:
    def test_a_test_reports_what_would_happen_and_changes_nothing(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        dovecot.deliver_all(user, [mail("a"), mail("b")])
        before = (dovecot.messages(user), dovecot.doveadm("mailbox", "list", "-u", user))
        assert report(client, body(dovecot, user)) == {
            "ok": True,
            "imap": PASSED,
            "smtp": None,
            "source_folder": PASSED,
            "processed_folder": PASSED,
            "resolved_processed_folder": "Trash",
            "waiting_messages": 2,
        }
        assert (dovecot.messages(user), dovecot.doveadm("mailbox", "list", "-u", user)) == before
        assert client.get("/connectors", headers=ADMIN).json()["data"] == []

    def test_a_test_with_a_wrong_password_is_answered_with_a_report(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        wrong = {"type": "password", "password": "planted-wrong"}
        answer = client.post("/connectors/test", json=body(dovecot, user, credentials=wrong), headers=ADMIN)
        assert answer.status_code == 200
        assert answer.json()["ok"] is False
        assert answer.json()["imap"]["code"] == "login_refused"
        assert "planted" not in answer.text

    def test_a_test_names_the_missing_folders(self, client: TestClient, dovecot: Dovecot, user: str) -> None:
        found = report(client, body(dovecot, user, source_folder="Nowhere", processed_folder="Done"))
        assert found["source_folder"]["code"] == "source_folder_missing"
        assert found["processed_folder"]["code"] == "processed_folder_missing"
        assert (found["ok"], found["waiting_messages"]) == (False, None)

    def test_a_test_reports_a_forbidden_target_as_a_name_that_does_not_exist(
        self, settings: SettingsFactory
    ) -> None:
        with TestClient(create_app(settings(allowed_private_networks=""))) as closed_in:
            forbidden = report_of_name(closed_in, "localhost")
            absent = report_of_name(closed_in, "no-such-host.invalid")
        assert forbidden["imap"] == absent["imap"]
        assert forbidden["imap"]["code"] == "host_unreachable"

    def test_a_test_reports_a_closed_port(self, client: TestClient) -> None:
        assert report_of_name(client, "localhost", port=free_port())["imap"]["code"] == "connection_refused"

    def test_a_test_of_smtp_logs_in_and_sends_nothing(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        with SmtpServer(user=user, password=dovecot.password) as server:
            smtp = {"host": "127.0.0.1", "port": server.port, "security": "none", "username": user}
            assert report(client, body(dovecot, user, smtp=smtp))["smtp"] == PASSED
            assert server.mails == []
        assert report(client, body(dovecot, user, smtp=smtp))["smtp"]["code"] == "connection_refused"

    def test_a_test_is_allowed_ten_times_a_minute(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        tried = body(dovecot, user)
        statuses = [client.post("/connectors/test", json=tried, headers=OWNER).status_code for _ in range(11)]
        assert statuses == [200] * 10 + [429]
        answer = client.post("/connectors/test", json=tried, headers=OWNER)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert client.post("/connectors/test", json=tried, headers=ADMIN).status_code == 200


def report_of_name(client: TestClient, host: str, port: int = 993) -> dict[str, Any]:
    return report(
        client,
        {
            "imap": {"host": host, "port": port, "username": "u"},
            "credentials": {"type": "password", "password": "x"},
        },
    )


class TestAStoredConnector:
    @pytest.fixture
    def path(self, client: TestClient, dovecot: Dovecot, user: str) -> str:
        personal = {
            **body(dovecot, user),
            "name": "Mine",
            "kind": "personal",
            "owner": "jana",
            "email_address": "jana@firma.cz",
        }
        answer = client.post("/connectors", json=personal, headers=OWNER)
        assert answer.status_code == 201, answer.text
        return f"/connectors/{answer.json()['id']}"

    def test_a_stored_connector_is_tested_with_its_stored_password(
        self, client: TestClient, path: str
    ) -> None:
        answer = client.post(f"{path}/test", headers=ADMIN)
        assert (answer.status_code, answer.json()["ok"]) == (200, True)

    def test_a_stored_connector_shows_its_owner_the_folders_of_the_server(
        self, client: TestClient, path: str
    ) -> None:
        found = client.get(f"{path}/folders", headers=OWNER).json()["data"]
        by_name = {folder["name"]: folder for folder in found}
        assert by_name["Trash"]["special_use"] == ["\\Trash"]
        assert by_name["INBOX"]["selectable"] is True

    def test_a_stored_connector_without_a_password_cannot_be_tested(
        self, client: TestClient, path: str
    ) -> None:
        client.delete(f"{path}/credentials", headers=OWNER)
        assert client.post(f"{path}/test", headers=OWNER).status_code == 409
        assert client.get(f"{path}/folders", headers=OWNER).status_code == 409

    def test_after_a_fetch_by_command_the_messages_are_readable(
        self, client: TestClient, dovecot: Dovecot, user: str, path: str
    ) -> None:
        dovecot.deliver(user, mail("Readable at once"))
        cycle = client.post(f"{path}/fetch", headers=OWNER)
        assert cycle.status_code == 200, cycle.text
        assert (cycle.json()["outcome"], cycle.json()["stored"], cycle.json()["moved"]) == ("ok", 1, 1)
        listed = client.get("/messages", headers=OWNER).json()["data"]
        assert [row["subject"] for row in listed] == ["Readable at once"]
        assert client.get(f"{path}/cycles", headers=OWNER).json()["data"] == [cycle.json()]
        assert client.get("/messages", headers=ADMIN).json()["data"] == []


def test_a_script_sets_up_many_mailboxes_and_fetches_from_each(client: TestClient, dovecot: Dovecot) -> None:
    """Only what fails is counted: tests are limited to ten a minute, fetches that succeed are not."""
    for _ in range(CHECKS_A_MINUTE + 2):
        settings = body(dovecot, dovecot.new_user(), name="A", kind="shared", email_address="a@firma.cz")
        made = client.post("/connectors", json=settings, headers=ADMIN)
        assert made.status_code == 201, made.text
        answer = client.post(f"/connectors/{made.json()['id']}/fetch", headers=ADMIN)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "ok")
