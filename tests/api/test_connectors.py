"""The routes of connectors, over HTTP on both databases."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlmodel import col

from app import clock
from app.gateway import FAILED_FETCHES_A_MINUTE, Gateway
from app.models import Connector, Event
from app.services import secret_rotation
from app.services.fetching import fetch_cycle
from tests.support.callers import Callers, KeyHeaders
from tests.support.connector_bodies import PASSWORD, created, personal, shared
from tests.support.each_case import each_case
from tests.support.stored_mail import store

ADMIN = Callers.user("administrator", admin=True)
KEPT_FOR_EVER = {
    "delete_processed_after_days": None,
    "delete_sent_after_days": None,
    "delete_failed_after_days": None,
}
JANA = Callers.user("jana", groups=["sales"])
MEMBER = Callers.user("petr", groups=["orders"])
OTHER = Callers.user("eva")


def problem(answer: Any, status: int, code: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert code is None or body["code"] == code
    return body


def pointers(answer: Any) -> list[str]:
    return [fault["pointer"] for fault in problem(answer, 422)["errors"]]


def events(gateway: Gateway, connector_id: str) -> list[str]:
    with gateway.db.reading() as session:
        statement = select(col(Event.type)).where(col(Event.connector_id) == connector_id)
        return [each.split(".")[-2] for each in session.execute(statement).scalars()]


def bind(client: TestClient, connector_id: str, group: str = "orders") -> None:
    body = {"connector_id": connector_id, "group": group}
    assert client.post("/group-bindings", json=body, headers=ADMIN).status_code == 201


def set_row(gateway: Gateway, connector_id: str, **values: Any) -> None:
    with gateway.db.unit_of_work() as session:
        row = session.get(Connector, connector_id)
        assert row is not None
        for name, value in values.items():
            setattr(row, name, value)


class TestCreate:
    def test_fills_in_the_defaults_and_waits_for_the_password(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        body = shared()
        made = created(client, ADMIN, body)
        assert made["imap"] == {
            "host": body["imap"]["host"],
            "port": 993,
            "security": "tls",
            "username": "objednavka",
        }
        expected = {
            "source_folder": "INBOX",
            "processed_folder": "\\Trash",
            "poll_interval_s": 60,
            "retention": {**KEPT_FOR_EVER},
            "first_fetch": None,
            "smtp": None,
            "status": "awaiting_credentials",
            "last_error": None,
            "has_credentials": False,
            "notifies_users": True,
        }
        assert {name: made[name] for name in expected} == expected
        assert events(gateway, made["id"]) == ["credentials_required"]

    def test_a_connector_with_credentials_is_active_and_due_at_once_and_shows_no_password(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        answer = client.post("/connectors", json=shared(credentials=PASSWORD), headers=ADMIN)
        assert "planted-password" not in answer.text
        made = answer.json()
        assert (made["status"], made["has_credentials"]) == ("active", True)
        assert events(gateway, made["id"]) == []
        with gateway.db.reading() as session:
            row = session.get(Connector, made["id"])
            assert row is not None
            assert row.next_fetch_at is not None

    def test_every_user_may_create_a_personal_connector_of_their_own(self, client: TestClient) -> None:
        made = created(client, JANA, personal())
        assert (made["kind"], made["owner"], made["notifies_users"]) == ("personal", "jana", False)
        problem(client.post("/connectors", json=personal("petr"), headers=JANA), 403, "forbidden")
        problem(client.post("/connectors", json=shared(), headers=JANA), 403, "forbidden")
        created(client, ADMIN, personal("petr"))

    def test_creating_a_connector_needs_a_token_and_a_scope(
        self, client: TestClient, as_key: KeyHeaders
    ) -> None:
        problem(client.post("/connectors", json=shared()), 401)
        reading = as_key(["connectors:read"])
        problem(client.post("/connectors", json=shared(), headers=reading), 403, "scope_missing")
        created(client, as_key(["connectors:write"]), shared())

    def test_a_folder_that_a_connector_has_logged_in_to_is_a_conflict_for_whoever_may_change_that_one(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        body = shared()
        first = created(client, ADMIN, body)
        again = shared(imap={**body["imap"], "host": body["imap"]["host"].upper()}, source_folder="inbox")
        second = created(client, ADMIN, again)
        set_row(gateway, first["id"], logged_in_at=clock.utc_now())
        problem(client.post("/connectors", json=again, headers=ADMIN), 409, "mailbox_taken")
        created(client, ADMIN, {**again, "source_folder": "Other"})
        assert client.patch(f"/connectors/{second['id']}", json={"name": "x"}, headers=ADMIN).is_success

    def test_a_second_connector_with_the_same_external_id_is_a_conflict(self, client: TestClient) -> None:
        created(client, ADMIN, shared(external_id="crm-1"))
        problem(client.post("/connectors", json=shared(external_id="crm-1"), headers=ADMIN), 409)

    @each_case(
        ("changes", "pointer"),
        [
            ({"name": ""}, "/name"),
            ({"name": "two\nlines"}, "/name"),
            ({"name": "nul\0"}, "/name"),
            ({"name": None}, "/name"),
            ({"kind": "group"}, "/kind"),
            ({"owner": "jana"}, "/owner"),
            ({"kind": "personal"}, "/owner"),
            ({"email_address": "nobody"}, "/email_address"),
            ({"imap": {"host": "x", "username": "u", "port": 0}}, "/imap/port"),
            ({"imap": {"host": "x", "username": "u", "port": 10**30}}, "/imap/port"),
            ({"imap": {"host": "x y", "username": "u"}}, "/imap/host"),
            ({"imap": {"host": "x", "username": "u\r\nA1 DELETE INBOX"}}, "/imap/username"),
            ({"imap": {"host": "x"}}, "/imap/username"),
            ({"imap": {"host": "10.0.0.1", "username": "u"}}, "/imap/host"),
            ({"imap": {"host": "169.254.169.254", "username": "u"}}, "/imap/host"),
            ({"imap": {"host": "::ffff:192.168.1.1", "username": "u"}}, "/imap/host"),
            ({"imap": {"host": "imap.firma.invalid", "username": "u", "port": 22}}, "/imap/port"),
            ({"imap": {"host": "8.8.8.8", "username": "u", "security": "none"}}, "/imap/security"),
            ({"smtp": {"host": "8.8.8.8", "username": "u", "security": "none"}}, "/smtp/security"),
            ({"source_folder": "\\Inbox"}, "/source_folder"),
            ({"source_folder": "a\r\nb"}, "/source_folder"),
            ({"processed_folder": "\\Nowhere"}, "/processed_folder"),
            ({"processed_folder": "inbox"}, "/processed_folder"),
            ({"poll_interval_s": 0}, "/poll_interval_s"),
            ({"retention": {"delete_processed_after_days": 0}}, "/retention/delete_processed_after_days"),
            ({"credentials": {"type": "password"}}, "/credentials/password"),
            ({"credentials": {"type": "secret", "password": "x"}}, "/credentials/type"),
            ({"nonsense": 1}, "/nonsense"),
            ({"id": "mine"}, "/id"),
        ],
    )
    @pytest.mark.any_database
    def test_a_new_connector_with_bad_input_names_the_field_and_is_not_stored(
        self, client: TestClient, changes: dict[str, Any], pointer: str
    ) -> None:
        answer = client.post("/connectors", json=shared(**changes), headers=ADMIN)
        assert pointer in pointers(answer)
        assert client.get("/connectors", headers=ADMIN).json()["data"] == []

    @pytest.mark.any_database
    def test_a_refused_request_does_not_repeat_the_password(self, client: TestClient) -> None:
        answer = client.post("/connectors", json=shared(name=1, credentials=PASSWORD), headers=ADMIN)
        assert answer.status_code == 422
        assert "planted-password" not in answer.text

    @each_case("content", [b"{bad", b"", b"\xff", b"[]", b'"text"', b"null"])
    @pytest.mark.any_database
    def test_a_body_that_is_no_object_is_refused(self, client: TestClient, content: bytes) -> None:
        headers = {**ADMIN, "Content-Type": "application/json"}
        answer = client.post("/connectors", content=content, headers=headers)
        assert pointers(answer) == [""]

    def test_connections_in_plain_text_are_allowed_in_an_allowed_private_network(
        self, client: TestClient
    ) -> None:
        imap = {"host": "127.0.0.1", "port": 1143, "security": "none", "username": "u"}
        assert created(client, ADMIN, shared(imap=imap))["imap"] == imap


class TestRead:
    def test_a_connector_is_shown_in_full_to_administrator_owner_and_key_and_in_short_to_members(
        self, client: TestClient, as_key: KeyHeaders
    ) -> None:
        made = created(client, ADMIN, shared())
        bind(client, made["id"])
        path = f"/connectors/{made['id']}"
        short = {
            "id": made["id"],
            "name": "Orders",
            "kind": "shared",
            "email_address": "objednavka@firma.cz",
            "status": "awaiting_credentials",
            "notifies_users": True,
        }
        assert client.get(path, headers=MEMBER).json() == short
        assert client.get("/connectors", headers=MEMBER).json()["data"] == [short]
        for headers in (ADMIN, as_key(["connectors:read"])):
            assert client.get(path, headers=headers).json() == made
            assert client.get("/connectors", headers=headers).json()["data"] == [made]

    def test_for_others_a_connector_is_404_like_one_that_does_not_exist(self, client: TestClient) -> None:
        made = created(client, JANA, personal())
        for headers in (OTHER, MEMBER):
            problem(client.get(f"/connectors/{made['id']}", headers=headers), 404, "not_found")
            assert client.get("/connectors", headers=headers).json()["data"] == []
        problem(client.get("/connectors/absent", headers=ADMIN), 404, "not_found")
        assert client.get(f"/connectors/{made['id']}", headers=JANA).json() == made

    def test_pages_of_connectors_show_each_one_once(self, client: TestClient) -> None:
        ids = [created(client, ADMIN, shared())["id"] for _ in range(5)]
        seen: list[str] = []
        after: str | None = None
        while True:
            params = {"limit": "2", **({"after": after} if after else {})}
            page = client.get("/connectors", params=params, headers=ADMIN).json()
            seen += [row["id"] for row in page["data"]]
            after = page["next_cursor"]
            if not page["has_more"]:
                break
        assert seen == ids

    def test_a_limited_key_sees_only_its_connectors(self, client: TestClient, as_key: KeyHeaders) -> None:
        mine, _other = created(client, ADMIN, shared()), created(client, ADMIN, shared())
        key = as_key(["connectors:read"], [mine["id"]])
        assert [row["id"] for row in client.get("/connectors", headers=key).json()["data"]] == [mine["id"]]

    @pytest.mark.any_database
    def test_a_list_of_connectors_with_a_bad_cursor_or_limit_is_refused(self, client: TestClient) -> None:
        assert pointers(client.get("/connectors?after=%FF%FE", headers=ADMIN)) == ["/after"]
        assert pointers(client.get("/connectors?limit=201", headers=ADMIN)) == ["/limit"]


class TestPatch:
    def test_a_patch_merges_nested_objects_and_null_removes_a_value(self, client: TestClient) -> None:
        made = created(
            client,
            ADMIN,
            shared(
                retention={"delete_processed_after_days": 30},
                poll_interval_s=5,
                first_fetch={"since": "2026-01-01"},
                external_id="crm-7",
            ),
        )
        path = f"/connectors/{made['id']}"
        answer = client.patch(path, json={"imap": {"port": 143, "security": "starttls"}}, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        assert answer.json()["imap"] == {**made["imap"], "port": 143, "security": "starttls"}
        assert answer.json()["first_fetch"] == {"since": "2026-01-01"}
        nulls = {
            "retention": {**KEPT_FOR_EVER},
            "poll_interval_s": None,
            "first_fetch": None,
            "external_id": None,
        }
        after = client.patch(path, json=nulls, headers=ADMIN).json()
        assert {name: after[name] for name in nulls} == {**nulls, "poll_interval_s": 60}

    def test_an_empty_patch_changes_nothing(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared())
        after = client.patch(f"/connectors/{made['id']}", json={}, headers=ADMIN).json()
        assert {**after, "updated_at": None} == {**made, "updated_at": None}

    @each_case(
        ("patch", "pointer"),
        [
            ({"name": None}, "/name"),
            ({"imap": None}, "/imap"),
            ({"imap": {"host": None}}, "/imap/host"),
            ({"smtp": {"port": 25}}, "/smtp/host"),
            ({"kind": "personal"}, "/kind"),
            ({"owner": "jana"}, "/owner"),
            ({"status": "active"}, "/status"),
            ({"imap": {"host": "10.1.2.3"}}, "/imap/host"),
            ({"source_folder": "\\Trash"}, "/source_folder"),
            ({"processed_folder": "INBOX"}, "/processed_folder"),
            ({"imap": "x"}, "/imap"),
        ],
    )
    @pytest.mark.any_database
    def test_a_patch_with_bad_input_names_the_field_and_changes_nothing(
        self, client: TestClient, patch: dict[str, Any], pointer: str
    ) -> None:
        made = created(client, ADMIN, shared())
        path = f"/connectors/{made['id']}"
        assert pointer in pointers(client.patch(path, json=patch, headers=ADMIN))
        assert client.get(path, headers=ADMIN).json() == made

    def test_members_may_not_patch_a_connector_and_for_others_it_does_not_exist(
        self, client: TestClient
    ) -> None:
        made = created(client, ADMIN, shared())
        bind(client, made["id"])
        path = f"/connectors/{made['id']}"
        problem(client.patch(path, json={"name": "Mine"}, headers=MEMBER), 403, "forbidden")
        problem(client.patch(path, json={"name": "Mine"}, headers=OTHER), 404, "not_found")

    def test_onto_a_folder_that_another_connector_has_is_a_conflict(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        body = shared()
        first = created(client, ADMIN, body)
        set_row(gateway, first["id"], logged_in_at=clock.utc_now())
        other = created(client, ADMIN, {**body, "source_folder": "Other"})
        answer = client.patch(f"/connectors/{other['id']}", json={"source_folder": "inbox"}, headers=ADMIN)
        problem(answer, 409, "mailbox_taken")

    @pytest.mark.parametrize(
        "patch",
        [
            {"imap": {"host": "elsewhere.invalid"}},
            {"imap": {"port": 143, "security": "starttls"}},
            {"imap": {"username": "other"}},
            {"smtp": {"host": "elsewhere.invalid", "username": "x"}},
        ],
    )
    def test_a_change_of_the_server_discards_the_password(
        self, client: TestClient, gateway: Gateway, patch: dict[str, Any]
    ) -> None:
        made = created(client, ADMIN, shared(credentials=PASSWORD))
        path = f"/connectors/{made['id']}"
        after = client.patch(path, json=patch, headers=ADMIN).json()
        assert (after["has_credentials"], after["status"]) == (False, "awaiting_credentials")
        assert events(gateway, made["id"]) == ["credentials_required"]

    def test_a_change_of_the_server_with_a_new_password_keeps_the_connector_active(
        self, client: TestClient
    ) -> None:
        made = created(client, ADMIN, shared(credentials=PASSWORD))
        patch = {"imap": {"host": "elsewhere.invalid"}, "credentials": PASSWORD}
        after = client.patch(f"/connectors/{made['id']}", json=patch, headers=ADMIN).json()
        assert (after["has_credentials"], after["status"]) == (True, "active")

    def test_removing_smtp_keeps_the_password(self, client: TestClient) -> None:
        smtp = {"host": "smtp.firma.invalid", "username": "x"}
        made = created(client, ADMIN, shared(credentials=PASSWORD, smtp=smtp))
        after = client.patch(f"/connectors/{made['id']}", json={"smtp": None}, headers=ADMIN).json()
        assert (after["smtp"], after["has_credentials"]) == (None, True)

    def test_a_patch_can_decide_about_the_waiting_mail(self, client: TestClient, gateway: Gateway) -> None:
        made = created(client, ADMIN, shared(credentials=PASSWORD))
        set_row(gateway, made["id"], status="awaiting_confirmation", next_fetch_at=None)
        after = client.patch(f"/connectors/{made['id']}", json={"first_fetch": "all"}, headers=ADMIN).json()
        assert after["status"] == "active"


class TestWhatIsWrong:
    @each_case(
        ("change", "pointer", "detail"),
        [
            ({"imap": {"host": "imaps://imap.firma.cz", "username": "a"}}, "/imap/host", "without a scheme"),
            ({"imap": {"host": "imap.f\u0456rma.cz", "username": "a"}}, "/imap/host", "in ASCII"),
            ({"email_address": "objednavka"}, "/email_address", "must be an e-mail address"),
            ({"email_address": "jana\u202e@firma.cz"}, "/email_address", "control characters"),
            ({"email_address": "jan.novák@firma.cz"}, "/email_address", "ASCII characters before the @"),
            ({"email_address": "jan@firma..cz"}, "/email_address", "must have a valid domain"),
            ({"folder": "INBOX"}, "/folder", "is not known here"),
            ({"Folder": "INBOX"}, "/Folder", "is not known here"),
            ({"first_fetch": {"since": "1.1.2026"}}, "/first_fetch/since", "date"),
            ({"first_fetch": {"since": "0001-01-01"}}, "/first_fetch/since", "1970"),
            ({"first_fetch": "some"}, "/first_fetch", "'all' or 'none'"),
        ],
    )
    @pytest.mark.any_database
    def test_the_error_names_the_field_and_says_what_is_wrong(
        self, client: TestClient, change: dict[str, Any], pointer: str, detail: str
    ) -> None:
        found = problem(client.post("/connectors", json=shared(**change), headers=ADMIN), 422)["errors"]
        assert [fault for fault in found if fault["pointer"] == pointer and detail in fault["detail"]], found

    def test_a_body_that_is_not_said_to_be_json(self, client: TestClient) -> None:
        answer = client.post("/connectors", content=json.dumps(shared()), headers=ADMIN)
        assert "Content-Type: application/json" in problem(answer, 422)["errors"][0]["detail"]

    @pytest.mark.parametrize(
        ("status", "what_to_do"),
        [("paused", "resumed"), ("stopped", "credentials"), ("awaiting_confirmation", "first_fetch")],
    )
    def test_a_fetch_that_cannot_be_says_what_to_do(
        self, client: TestClient, gateway: Gateway, status: str, what_to_do: str
    ) -> None:
        made = created(client, ADMIN, shared(credentials=PASSWORD))
        set_row(gateway, made["id"], status=status)
        answer = client.post(f"/connectors/{made['id']}/fetch", headers=ADMIN)
        assert what_to_do in problem(answer, 409, "wrong_state")["detail"]


def test_a_mailbox_that_once_worked_is_no_port_scanner_with_other_settings(
    client: TestClient, gateway: Gateway
) -> None:
    made = created(client, ADMIN, shared(credentials=PASSWORD))
    for _ in range(FAILED_FETCHES_A_MINUTE - 2):
        client.app.state.gateway.failed_fetches.count("user:administrator")  # type: ignore[attr-defined]
    statuses = []
    for _ in range(3):
        before = datetime.now(UTC) - timedelta(days=1)
        set_row(gateway, made["id"], status="active", last_success_at=before)
        statuses.append(client.post(f"/connectors/{made['id']}/fetch", headers=ADMIN).status_code)
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(("security", "imap", "smtp"), [("tls", 993, 465), ("starttls", 143, 587)])
def test_the_usual_ports_go_with_the_security(
    client: TestClient, security: str, imap: int, smtp: int
) -> None:
    server = {"host": "mail.firma.invalid", "security": security, "username": "objednavka"}
    made = created(client, ADMIN, shared(imap=server, smtp=server))
    assert (made["imap"]["port"], made["smtp"]["port"]) == (imap, smtp)


class TestSending:
    SMTP: ClassVar[dict[str, Any]] = {"host": "smtp.firma.invalid", "username": "objednavka"}

    def test_how_much_is_sent_and_who_files_it_can_be_set(self, client: TestClient) -> None:
        limits = {"rate_per_minute": 30, "rate_per_day": 500, "file_sent": "never"}
        made = created(client, ADMIN, shared(smtp={**self.SMTP, **limits}, credentials=PASSWORD))
        assert {name: made["smtp"][name] for name in limits} == limits
        path = f"/connectors/{made['id']}"
        patch = {"smtp": {"rate_per_minute": 10, "rate_per_day": None, "file_sent": None}}
        changed = client.patch(path, json=patch, headers=ADMIN).json()
        limits = {"rate_per_minute": 10, "rate_per_day": None, "file_sent": "auto"}
        assert {name: changed["smtp"][name] for name in limits} == limits
        assert changed["has_credentials"] is True

    @each_case(
        ("values", "pointer"),
        [
            ({"smtp": {**SMTP, "rate_per_minute": 0}}, "/smtp/rate_per_minute"),
            ({"smtp": {**SMTP, "rate_per_day": 1.5}}, "/smtp/rate_per_day"),
            ({"smtp": {**SMTP, "file_sent": "sometimes"}}, "/smtp/file_sent"),
            ({"aliases": ["boss"]}, "/aliases/0"),
            ({"aliases": ["shop@firma.cz", "a b@firma.cz"]}, "/aliases/1"),
            ({"aliases": ["shop@firma.cz", "háčky@firma.cz"]}, "/aliases/1"),
            ({"aliases": ["shop@-firma-"]}, "/aliases/0"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, client: TestClient, values: dict[str, Any], pointer: str
    ) -> None:
        answer = client.post("/connectors", json=shared(**values), headers=ADMIN)
        problem(answer, 422, "invalid_input")
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


class TestASealedPersonalConnector:
    @pytest.fixture
    def sealed(self, client: TestClient) -> str:
        made = created(client, ADMIN, personal())
        path = f"/connectors/{made['id']}"
        assert client.put(f"{path}/credentials", json=PASSWORD, headers=JANA).status_code == 200
        return path

    def test_only_the_owner_changes_the_folders_of_a_sealed_connector(
        self, client: TestClient, as_key: KeyHeaders, sealed: str
    ) -> None:
        for headers in (ADMIN, as_key(["connectors:write"])):
            for patch in ({"source_folder": "INBOX"}, {"processed_folder": "Elsewhere"}):
                problem(client.patch(sealed, json=patch, headers=headers), 403, "forbidden")
        assert client.get(sealed, headers=JANA).json()["source_folder"] == "AyMINE"
        assert client.patch(sealed, json={"source_folder": "INBOX"}, headers=JANA).status_code == 200

    def test_only_the_owner_says_from_which_addresses_a_sealed_mailbox_sends(
        self, client: TestClient, sealed: str
    ) -> None:
        problem(client.patch(sealed, json={"aliases": ["boss@firma.cz"]}, headers=ADMIN), 403, "forbidden")
        answer = client.patch(sealed, json={"aliases": ["jana.novakova@firma.cz"]}, headers=JANA)
        assert answer.json()["aliases"] == ["jana.novakova@firma.cz"]

    def test_lets_others_change_the_rest(self, client: TestClient, sealed: str) -> None:
        answer = client.patch(sealed, json={"name": "Jana's", "poll_interval_s": 5}, headers=ADMIN)
        assert (answer.status_code, answer.json()["has_credentials"]) == (200, True)

    def test_lets_others_change_the_server_at_the_price_of_the_password(
        self, client: TestClient, sealed: str
    ) -> None:
        answer = client.patch(sealed, json={"imap": {"host": "evil.invalid"}}, headers=ADMIN)
        assert (answer.status_code, answer.json()["has_credentials"]) == (200, False)

    def test_a_sealed_connector_takes_no_password_from_others(self, client: TestClient, sealed: str) -> None:
        problem(client.put(f"{sealed}/credentials", json=PASSWORD, headers=ADMIN), 403)
        problem(client.delete(f"{sealed}/credentials", headers=ADMIN), 403)
        problem(client.patch(sealed, json={"credentials": PASSWORD}, headers=ADMIN), 403)
        assert client.get(sealed, headers=JANA).json()["has_credentials"] is True

    def test_a_sealed_connector_stays_sealed_when_its_password_is_gone(
        self, client: TestClient, sealed: str
    ) -> None:
        moved = client.patch(sealed, json={"imap": {"host": "evil.invalid"}}, headers=ADMIN).json()
        assert moved["status"] == "awaiting_credentials"
        for patch in ({"source_folder": "INBOX"}, {"credentials": PASSWORD}):
            problem(client.patch(sealed, json=patch, headers=ADMIN), 403, "forbidden")
        assert client.put(f"{sealed}/credentials", json=PASSWORD, headers=JANA).status_code == 200

    def test_a_sealed_connector_takes_no_password_from_others_together_with_another_server(
        self, client: TestClient, sealed: str
    ) -> None:
        """Mail that waits to be sent would go to the new server."""
        patch = {"imap": {"host": "evil.invalid"}, "credentials": PASSWORD}
        problem(client.patch(sealed, json=patch, headers=ADMIN), 403, "forbidden")
        seen = client.get(sealed, headers=JANA).json()
        assert (seen["has_credentials"], seen["imap"]["host"] != "evil.invalid") == (True, True)

    def test_sends_in_nobody_elses_name(self, client: TestClient, sealed: str) -> None:
        patch = {"email_address": "jana@evil.invalid"}
        problem(client.patch(sealed, json=patch, headers=ADMIN), 403, "forbidden")
        assert client.patch(sealed, json=patch, headers=JANA).status_code == 200

    def test_only_the_owner_sees_the_folders_of_a_sealed_connector(
        self, client: TestClient, sealed: str
    ) -> None:
        problem(client.get(f"{sealed}/folders", headers=ADMIN), 403, "forbidden")


class TestPut:
    PATH = "/connectors/by-external-id/crm-42"

    def test_creates_then_replaces_and_keeps_the_password(self, client: TestClient) -> None:
        body = shared(poll_interval_s=5)
        first = client.put(self.PATH, json={**body, "credentials": PASSWORD}, headers=ADMIN)
        assert (first.status_code, first.json()["external_id"]) == (201, "crm-42")
        del body["poll_interval_s"]
        second = client.put(self.PATH, json={**body, "name": "Renamed"}, headers=ADMIN)
        assert second.status_code == 200
        after = second.json()
        assert after["id"] == first.json()["id"]
        assert (after["name"], after["poll_interval_s"], after["has_credentials"]) == ("Renamed", 60, True)

    def test_a_put_with_another_server_discards_the_password(self, client: TestClient) -> None:
        client.put(self.PATH, json=shared(credentials=PASSWORD), headers=ADMIN)
        assert client.put(self.PATH, json=shared(), headers=ADMIN).json()["has_credentials"] is False

    def test_a_put_never_changes_kind_or_owner(self, client: TestClient) -> None:
        client.put(self.PATH, json=personal(), headers=ADMIN)
        problem(client.put(self.PATH, json=shared(), headers=ADMIN), 409, "wrong_state")
        problem(client.put(self.PATH, json=personal("petr"), headers=ADMIN), 409, "wrong_state")

    def test_a_put_under_an_external_id_of_somebody_else_creates_ones_own(self, client: TestClient) -> None:
        first = client.put(self.PATH, json=personal(), headers=ADMIN).json()
        answer = client.put(self.PATH, json=personal("eva"), headers=OTHER)
        assert (answer.status_code, answer.json()["id"] != first["id"]) == (201, True)

    def test_puts_at_the_same_time_create_one_connector(self, client: TestClient) -> None:
        body = shared()
        answers: list[Any] = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.put(self.PATH, json=body, headers=ADMIN)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
        assert len({answer.json()["id"] for answer in answers}) == 1


class TestCredentials:
    def test_credentials_are_never_shown_and_start_the_connector(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        made = created(client, ADMIN, personal())
        set_row(gateway, made["id"], refused_logins=3, last_error_code="login_refused")
        path = f"/connectors/{made['id']}"
        answer = client.put(f"{path}/credentials", json=PASSWORD, headers=JANA)
        assert answer.status_code == 200
        assert "planted-password" not in answer.text + client.get(path, headers=JANA).text
        assert (answer.json()["status"], answer.json()["last_error"]) == ("active", None)

    def test_taken_away_stop_it(self, client: TestClient, gateway: Gateway) -> None:
        made = created(client, ADMIN, shared(credentials=PASSWORD))
        path = f"/connectors/{made['id']}"
        assert client.delete(f"{path}/credentials", headers=ADMIN).status_code == 204
        assert client.get(path, headers=ADMIN).json()["status"] == "awaiting_credentials"
        assert events(gateway, made["id"]) == ["credentials_required"]

    @pytest.mark.any_database
    def test_malformed_credentials_are_refused_without_showing_them(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared())
        body = {"type": "password", "password": "planted-password", "hint": "planted-password"}
        answer = client.put(f"/connectors/{made['id']}/credentials", json=body, headers=ADMIN)
        assert pointers(answer) == ["/hint"]
        assert "planted-password" not in answer.text

    def test_credentials_are_stored_encrypted(self, client: TestClient, gateway: Gateway) -> None:
        created(client, ADMIN, shared(credentials=PASSWORD))
        from app.models import Credential

        with gateway.db.reading() as session:
            stored = session.execute(select(Credential)).scalar_one()
        assert "planted" not in stored.ciphertext

    def test_members_and_others_may_not_enter_credentials(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared())
        bind(client, made["id"])
        path = f"/connectors/{made['id']}/credentials"
        problem(client.put(path, json=PASSWORD, headers=MEMBER), 403)
        problem(client.put(path, json=PASSWORD, headers=OTHER), 404)
        problem(client.put(path, json=PASSWORD), 401)


class TestPauseAndResume:
    def test_change_the_status_and_back(self, client: TestClient, gateway: Gateway) -> None:
        made = created(client, ADMIN, shared(credentials=PASSWORD))
        path = f"/connectors/{made['id']}"
        assert client.post(f"{path}/pause", headers=ADMIN).json()["status"] == "paused"
        with gateway.db.reading() as session:
            row = session.get(Connector, made["id"])
            assert row is not None
            assert row.next_fetch_at is None
        problem(client.post(f"{path}/fetch", headers=ADMIN), 409, "wrong_state")
        assert client.post(f"{path}/resume", headers=ADMIN).json()["status"] == "active"

    def test_resume_starts_a_stopped_one(self, client: TestClient, gateway: Gateway) -> None:
        made = created(client, ADMIN, shared(credentials=PASSWORD))
        set_row(gateway, made["id"], status="stopped", refused_logins=3, last_error_code="login_refused")
        after = client.post(f"/connectors/{made['id']}/resume", headers=ADMIN).json()
        assert (after["status"], after["last_error"]) == ("active", None)

    def test_without_a_password_resume_waits_for_one(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared())
        path = f"/connectors/{made['id']}"
        client.post(f"{path}/pause", headers=ADMIN)
        assert client.post(f"{path}/resume", headers=ADMIN).json()["status"] == "awaiting_credentials"

    def test_members_may_not_pause_or_resume(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared())
        bind(client, made["id"])
        for command in ("pause", "resume", "fetch", "test"):
            problem(client.post(f"/connectors/{made['id']}/{command}", headers=MEMBER), 403)
            problem(client.post(f"/connectors/{made['id']}/{command}", headers=OTHER), 404)


class TestDelete:
    def test_deleting_a_connector_deletes_everything_that_belongs_to_it(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared(credentials=PASSWORD))
        bind(client, made["id"])
        path = f"/connectors/{made['id']}"
        assert client.delete(path, headers=ADMIN).status_code == 204
        problem(client.get(path, headers=ADMIN), 404)
        assert client.get("/group-bindings", headers=ADMIN).json()["data"] == []

    def test_a_connector_with_messages_is_deleted_only_together_with_them(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        made = created(client, ADMIN, shared())
        bind(client, made["id"])
        with gateway.db.reading() as session:
            row = session.get(Connector, made["id"])
        assert row is not None
        store(gateway, row)
        path = f"/connectors/{made['id']}"
        problem(client.delete(path, headers=ADMIN), 409, "messages_stored")
        assert len(client.get("/messages", headers=MEMBER).json()["data"]) == 1
        assert client.delete(path, params={"messages": "delete"}, headers=ADMIN).status_code == 204
        assert client.get("/messages", headers=MEMBER).json()["data"] == []
        assert "deleted" in events(gateway, made["id"])

    @pytest.mark.any_database
    def test_deleting_a_connector_with_a_wrong_parameter_is_refused(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared())
        assert pointers(client.delete(f"/connectors/{made['id']}?messages=all", headers=ADMIN)) == [
            "/messages"
        ]

    def test_members_and_others_may_not_delete_a_connector(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared())
        bind(client, made["id"])
        problem(client.delete(f"/connectors/{made['id']}", headers=MEMBER), 403)
        problem(client.delete(f"/connectors/{made['id']}", headers=OTHER), 404)


class TestCycles:
    def test_callers_who_see_the_settings_see_the_cycles(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared())
        bind(client, made["id"])
        path = f"/connectors/{made['id']}/cycles"
        assert client.get(path, headers=ADMIN).json() == {"data": [], "next_cursor": None, "has_more": False}
        problem(client.get(path, headers=MEMBER), 403)
        problem(client.get(path, headers=OTHER), 404)


class TestVersions:
    """`ETag` and `If-Match`: whoever enters a password can say for which servers."""

    def credentials(self, client: TestClient, connector_id: str, headers: dict[str, str], **more: str) -> Any:
        path = f"/connectors/{connector_id}/credentials"
        return client.put(path, json=PASSWORD, headers={**headers, **more})

    def test_a_password_is_stored_for_the_servers_that_were_shown(self, client: TestClient) -> None:
        made = created(client, ADMIN, personal())
        shown = client.get(f"/connectors/{made['id']}", headers=JANA).headers["etag"]
        answer = self.credentials(client, made["id"], JANA, **{"If-Match": shown})
        assert answer.status_code == 200
        assert answer.headers["etag"] != shown
        again = client.get(f"/connectors/{made['id']}", headers=JANA).headers["etag"]
        assert again == answer.headers["etag"]
        problem(self.credentials(client, made["id"], JANA, **{"If-Match": shown}), 412, "precondition_failed")

    @pytest.mark.parametrize("change", [{"imap": {"port": 143, "security": "starttls"}}, {"name": "Another"}])
    def test_others_than_were_shown_do_not_get_it(self, client: TestClient, change: dict[str, Any]) -> None:
        made = created(client, ADMIN, personal())
        path = f"/connectors/{made['id']}"
        shown = client.get(path, headers=JANA).headers["etag"]
        assert client.patch(path, json=change, headers=ADMIN).status_code == 200
        problem(self.credentials(client, made["id"], JANA, **{"If-Match": shown}), 412, "precondition_failed")
        assert client.get(path, headers=JANA).json()["has_credentials"] is False

    def test_only_the_present_version_passes(self, client: TestClient) -> None:
        made = created(client, ADMIN, personal())
        shown = client.get(f"/connectors/{made['id']}", headers=JANA).headers["etag"]
        bare = shown.strip('"')
        for value in (
            "",
            "*",
            bare,
            f"W/{shown}",
            f"{shown}, {shown}",
            '""',
            '"',
            made["updated_at"],
            "\xe9",
        ):
            headers = [*JANA.items(), ("If-Match", value.encode("latin-1"))]
            answer = client.put(
                f"/connectors/{made['id']}/credentials",
                json=PASSWORD,
                headers=headers,
            )
            problem(answer, 412, "precondition_failed")

    def test_a_pause_and_a_cycle_are_no_other_version(self, client: TestClient, gateway: Gateway) -> None:
        made = created(client, ADMIN, personal(credentials=PASSWORD))
        path = f"/connectors/{made['id']}"
        shown = client.get(path, headers=ADMIN).headers["etag"]
        fetch_cycle.run(gateway, made["id"])
        client.post(f"{path}/pause", headers=ADMIN)
        list(secret_rotation.rotate(gateway))
        assert client.get(path, headers=ADMIN).headers["etag"] == shown

    def test_every_write_takes_it(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared(external_id="v-1", credentials=PASSWORD))
        path, stale = f"/connectors/{made['id']}", {**ADMIN, "If-Match": '"stale"'}
        body = shared()
        for answer in (
            client.patch(path, json={"name": "n"}, headers=stale),
            client.put("/connectors/by-external-id/v-1", json=body, headers=stale),
            client.put("/connectors/by-external-id/v-2", json=body, headers=stale),
            client.delete(f"{path}/credentials", headers=stale),
            client.delete(path, headers=stale),
        ):
            problem(answer, 412, "precondition_failed")
        now = {**ADMIN, "If-Match": client.get(path, headers=ADMIN).headers["etag"]}
        assert client.patch(path, json={"name": "n"}, headers=now).status_code == 200
