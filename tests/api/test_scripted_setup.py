"""Setting up connectors by a script that may run twice: PUT, GET and DELETE by external id, groups, and dry runs."""

from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.gateway import Gateway
from app.models import AuditRecord, Connector, Credential, GroupBinding
from tests.support.callers import Callers, KeyHeaders
from tests.support.connector_bodies import PASSWORD, created, personal, shared

ADMIN = Callers.user("administrator", admin=True)
JANA, BOB = Callers.user("jana"), Callers.user("bob")
MEMBER = Callers.user("petr", groups=["orders"])
PUT = "/connectors/by-external-id/crm-1"
OTHER = {"type": "password", "password": "another-password-1b2c"}

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def put(client: TestClient, body: dict[str, Any], *, dry: bool = False, by: Any = ADMIN) -> Any:
    return client.put(PUT, json=body, headers=by, params={"dry_run": "true"} if dry else {})


def rows(client: TestClient) -> list[int]:
    """How many rows there are of everything that a request might have left behind."""
    gateway: Gateway = cast(FastAPI, client.app).state.gateway
    with gateway.db.reading() as session:
        return [
            session.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (Connector, Credential, GroupBinding, AuditRecord)
        ]


class TestWhatChanged:
    def test_the_first_time_says_all_and_the_second_nothing(self, client: TestClient) -> None:
        body = shared(credentials=PASSWORD, groups=["orders", "sales"])
        first, second = put(client, body), put(client, body)
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json()["changed"] is True
        changes = first.json()["changes"]
        assert changes["imap.host"] == [None, body["imap"]["host"]]
        assert changes["groups"] == [None, ["orders", "sales"]]
        assert changes["credentials"] == [None, "stored"]
        assert (second.json()["changed"], second.json()["changes"]) == (False, {})
        assert second.headers["etag"] == first.headers["etag"]
        assert PASSWORD["password"] not in first.text + second.text

    def test_a_run_that_changes_nothing_writes_nothing(self, client: TestClient) -> None:
        body = shared(credentials=PASSWORD, groups=["orders"])
        put(client, body)
        before = rows(client)
        put(client, body)
        assert rows(client) == before

    def test_what_changed_is_named_with_before_and_after(self, client: TestClient) -> None:
        body = shared(credentials=PASSWORD, groups=["orders"], aliases=["a@firma.cz"])
        put(client, body)
        answer = put(client, {**body, "name": "Renamed", "groups": ["sales"], "credentials": OTHER})
        assert answer.json()["changes"] == {
            "name": ["Orders", "Renamed"],
            "groups": [["orders"], ["sales"]],
            "credentials": ["stored", "new"],
        }

    def test_another_server_without_the_password_says_that_the_password_is_gone(
        self, client: TestClient
    ) -> None:
        body = shared(credentials=PASSWORD)
        put(client, body)
        without = {name: value for name, value in body.items() if name != "credentials"}
        moved = put(client, {**without, "imap": {**body["imap"], "port": 143, "security": "starttls"}})
        assert moved.json()["changes"] == {
            "imap.port": [993, 143],
            "imap.security": ["tls", "starttls"],
            "credentials": ["stored", None],
        }


class TestWhatIsLeftOut:
    def test_groups_aliases_and_credentials_stay(self, client: TestClient) -> None:
        body = shared(credentials=PASSWORD, groups=["orders"], aliases=["a@firma.cz"])
        put(client, body)
        short = {name: body[name] for name in ("name", "kind", "email_address", "imap")}
        answer = put(client, short)
        assert (answer.status_code, answer.json()["changes"]) == (200, {})
        assert answer.json()["aliases"] == ["a@firma.cz"]
        assert answer.json()["has_credentials"] is True
        assert client.get(f"/connectors/{answer.json()['id']}", headers=MEMBER).status_code == 200

    def test_an_empty_list_of_groups_unbinds_all(self, client: TestClient) -> None:
        body = shared(groups=["orders"])
        connector_id = put(client, body).json()["id"]
        assert put(client, {**body, "groups": []}).json()["changes"] == {"groups": [["orders"], None]}
        assert client.get(f"/connectors/{connector_id}", headers=MEMBER).status_code == 404


class TestGroups:
    def test_come_with_a_new_connector(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared(groups=["orders", "orders"]))
        assert client.get(f"/connectors/{made['id']}", headers=MEMBER).status_code == 200

    @pytest.mark.parametrize("path", ["/connectors", PUT])
    def test_a_personal_mailbox_has_none(self, client: TestClient, path: str) -> None:
        method = client.post if path == "/connectors" else client.put
        answer = method(path, json=personal(groups=["orders"]), headers=ADMIN)
        assert answer.status_code == 422
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/groups"]
        assert rows(client)[0] == 0


class TestADryRun:
    def test_says_what_would_be_made_and_makes_nothing(self, client: TestClient) -> None:
        before = rows(client)
        body = shared(credentials=PASSWORD, groups=["orders"])
        dry = put(client, body, dry=True)
        assert dry.status_code == 200
        assert (dry.json()["id"], dry.json()["changed"], dry.json()["name"]) == (None, True, "Orders")
        assert rows(client) == before
        assert put(client, body).json()["changes"] == dry.json()["changes"]

    def test_says_what_would_change_and_changes_nothing(self, client: TestClient) -> None:
        body = shared(credentials=PASSWORD, groups=["orders"])
        first = put(client, body)
        before = rows(client)
        dry = put(client, {**body, "name": "Renamed", "groups": [], "credentials": OTHER}, dry=True).json()
        assert dry["id"] == first.json()["id"]
        assert dry["changes"] == {
            "name": ["Orders", "Renamed"],
            "groups": [["orders"], None],
            "credentials": ["stored", "new"],
        }
        assert rows(client) == before
        assert put(client, body).json()["changes"] == {}
        assert put(client, body).headers["etag"] == first.headers["etag"]

    def test_refuses_what_the_real_run_would_refuse(self, client: TestClient) -> None:
        put(client, shared())
        assert put(client, personal(), dry=True).json()["code"] == "wrong_state"
        assert put(client, shared(), dry=True, by=BOB).status_code == 403
        outside = shared(imap={"host": "10.9.9.9", "username": "x"})
        assert put(client, outside, dry=True).status_code == 422

    def test_with_wrong_passwords_is_no_way_to_guess_the_stored_one(self, client: TestClient) -> None:
        body = shared(credentials=PASSWORD)
        put(client, body)
        answers = [put(client, {**body, "credentials": OTHER}, dry=True) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429]
        assert int(answers[-1].headers["retry-after"]) > 0
        # Nor is the right one told apart then.
        assert put(client, body, dry=True).status_code == 429

    def test_right_passwords_are_not_counted(self, client: TestClient) -> None:
        body = shared(credentials=PASSWORD)
        put(client, body)
        assert [put(client, body, dry=True).status_code for _ in range(15)] == [200] * 15

    def test_of_a_sealed_mailbox_refuses_the_right_and_the_wrong_password_alike(
        self, client: TestClient
    ) -> None:
        prepared = created(client, ADMIN, personal(external_id="crm-1"))
        sealed = client.put(f"/connectors/{prepared['id']}/credentials", json=PASSWORD, headers=JANA)
        assert sealed.status_code == 200
        shown = client.get(PUT, headers=ADMIN).json()
        settings = {
            name: shown[name] for name in ("name", "kind", "owner", "email_address", "imap", "source_folder")
        }
        answers = [
            put(client, {**settings, "credentials": password}, dry=True) for password in (PASSWORD, OTHER)
        ]
        assert [answer.status_code for answer in answers] == [403, 403]
        assert answers[0].json()["detail"] == answers[1].json()["detail"]


@pytest.mark.parametrize("body", [shared(owner="jana"), {**personal(), "owner": None}])
def test_the_owner_of_what_is_put_is_checked_as_of_what_is_posted(
    client: TestClient, body: dict[str, Any]
) -> None:
    for answer in (put(client, body), client.post("/connectors", json=body, headers=ADMIN)):
        assert answer.status_code == 422
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/owner"]


class TestByExternalId:
    def test_a_connector_is_read_and_deleted(self, client: TestClient) -> None:
        made = created(client, ADMIN, shared(external_id="crm-1"))
        found = client.get(PUT, headers=ADMIN)
        by_id = client.get(f"/connectors/{made['id']}", headers=ADMIN)
        assert (found.status_code, found.json()) == (200, by_id.json())
        assert found.headers["etag"] == by_id.headers["etag"]
        stale = client.delete(PUT, headers={**ADMIN, "If-Match": '"x"'})
        assert stale.status_code == 412
        assert client.delete(PUT, headers=ADMIN).status_code == 204
        assert client.get(PUT, headers=ADMIN).status_code == 404
        assert client.delete(PUT, headers=ADMIN).status_code == 404

    def test_nobody_reaches_another_users_by_it(self, client: TestClient, as_key: KeyHeaders) -> None:
        created(client, JANA, personal(external_id="crm-1"))
        elsewhere = created(client, ADMIN, shared())["id"]
        limited = as_key(["connectors:read", "connectors:write"], [elsewhere])
        for headers in (BOB, limited):
            assert client.get(PUT, headers=headers).status_code == 404
            assert client.delete(PUT, headers=headers).status_code == 404
        assert client.get(PUT, headers=JANA).status_code == 200
