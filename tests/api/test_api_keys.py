"""API keys: shown once, stored as hashes, never with more rights than their creator, useless after they are revoked."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from fastapi.testclient import TestClient
from sqlmodel import select

from app import clock
from app.gateway import Gateway
from app.ids import new_id
from app.models import ApiKey, Connector, KeyGrant
from app.states import ConnectorKind, ConnectorStatus, Security
from tests.support.callers import Callers, KeyHeaders, UserHeaders, bearer
from tests.support.each_case import each_case

ALL_SCOPES = [
    "connectors:read",
    "connectors:write",
    "messages:read",
    "messages:write",
    "submissions:write",
    "events:read",
    "webhooks:write",
    "admin",
]


def connector(
    gateway: Gateway, *, kind: ConnectorKind = ConnectorKind.SHARED, owner: str | None = None
) -> str:
    now = clock.utc_now()
    row = Connector(
        id=new_id(),
        name="Info",
        kind=kind,
        owner=owner,
        email_address="info@firma.cz",
        imap_host="imap.firma.cz",
        imap_port=993,
        imap_security=Security.TLS,
        imap_username=new_id(),
        source_folder="INBOX",
        processed_folder="\\Trash",
        poll_interval_s=60,
        status=ConnectorStatus.AWAITING_CREDENTIALS,
        created_at=now,
        updated_at=now,
    )
    with gateway.db.unit_of_work() as session:
        session.add(row)
    return row.id


def wish(**changes: Any) -> dict[str, Any]:
    return {"name": "CRM", "scopes": ["messages:read"], **changes}


class TestCreate:
    def test_a_key_is_shown_once_and_stored_hashed(
        self, client: TestClient, gateway: Gateway, as_admin: dict[str, str]
    ) -> None:
        answer = client.post("/api-keys", json=wish(), headers=as_admin)
        assert answer.status_code == 201
        body = answer.json()
        assert re.fullmatch(r"gwk_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", body["key"])
        assert body["prefix"] == body["key"][:12]
        assert (body["name"], body["scopes"], body["connector_ids"]) == ("CRM", ["messages:read"], [])
        assert body["created_by"] == "user:administrator"
        with gateway.db.reading() as session:
            row = session.exec(select(ApiKey)).one()
        assert body["key"][13:] not in str(row.model_dump())
        listed = client.get("/api-keys", headers=as_admin)
        assert body["key"][13:] not in listed.text
        assert row.sha256 not in listed.text

    def test_no_two_keys_are_alike(self, client: TestClient, as_admin: dict[str, str]) -> None:
        made = {client.post("/api-keys", json=wish(), headers=as_admin).json()["key"] for _ in range(10)}
        assert len(made) == 10

    @each_case(
        "body",
        [
            wish(scopes=[]),
            wish(scopes=["everything"]),
            wish(scopes="messages:read"),
            wish(name=""),
            wish(name="a\0b"),
            wish(name="a\nb"),
            wish(surprise=1),
            wish(expires_at="2001-01-01T00:00:00Z"),
            wish(expires_at="2999-01-01T00:00:00"),
            wish(connector_ids=["no-such-connector"]),
            {},
            [],
        ],
    )
    @pytest.mark.any_database
    def test_nonsense_is_422(self, client: TestClient, as_admin: dict[str, str], body: object) -> None:
        answer = client.post("/api-keys", json=body, headers=as_admin)
        assert answer.status_code == 422
        assert answer.json()["code"] == "invalid_input"
        assert answer.json()["errors"]

    def test_users_who_are_no_administrators_are_refused(
        self, client: TestClient, as_user: UserHeaders
    ) -> None:
        answer = client.post("/api-keys", json=wish(), headers=as_user("jana", ["administrators"]))
        assert answer.status_code == 403
        assert answer.json()["code"] == "forbidden"

    def test_a_key_needs_the_scope_admin(self, client: TestClient, as_key: KeyHeaders) -> None:
        others = [scope for scope in ALL_SCOPES if scope != "admin"]
        answer = client.post("/api-keys", json=wish(), headers=as_key(others))
        assert answer.status_code == 403
        assert answer.json()["code"] == "scope_missing"

    def test_a_key_makes_keys_with_its_own_scopes_alone(self, client: TestClient, as_key: KeyHeaders) -> None:
        headers = as_key(["admin", "messages:read"])
        assert client.post("/api-keys", json=wish(), headers=headers).status_code == 201
        stronger = client.post("/api-keys", json=wish(scopes=["messages:write"]), headers=headers)
        assert stronger.status_code == 403

    def test_a_limited_key_makes_keys_for_its_own_connectors_alone(
        self, client: TestClient, gateway: Gateway, as_key: KeyHeaders
    ) -> None:
        own, other = connector(gateway), connector(gateway)
        headers = as_key(["admin", "messages:read"], [own])
        for connector_ids, status in (([own], 201), ([], 403), ([other], 403), ([own, other], 403)):
            answer = client.post("/api-keys", json=wish(connector_ids=connector_ids), headers=headers)
            assert answer.status_code == status, connector_ids

    def test_a_key_makes_no_key_that_outlives_it(
        self, client: TestClient, gateway: Gateway, as_admin: dict[str, str]
    ) -> None:
        end = datetime.now(UTC) + timedelta(days=1)
        first = client.post(
            "/api-keys",
            json=wish(scopes=["admin", "messages:read"], expires_at=end.isoformat()),
            headers=as_admin,
        ).json()
        headers = bearer(first["key"])
        assert client.post("/api-keys", json=wish(), headers=headers).status_code == 403
        later = wish(expires_at=(end + timedelta(seconds=1)).isoformat())
        assert client.post("/api-keys", json=later, headers=headers).status_code == 403
        sooner = wish(expires_at=(end - timedelta(seconds=1)).isoformat())
        assert client.post("/api-keys", json=sooner, headers=headers).status_code == 201


class TestUse:
    def test_a_key_is_accepted_until_it_expires(self, client: TestClient, as_admin: dict[str, str]) -> None:
        end = datetime.now(UTC) + timedelta(hours=1)
        made = client.post(
            "/api-keys", json=wish(scopes=["admin"], expires_at=end.isoformat()), headers=as_admin
        ).json()
        headers = bearer(made["key"])
        assert client.get("/api-keys", headers=headers).status_code == 200
        with time_machine.travel(end + timedelta(seconds=1), tick=False):
            assert client.get("/api-keys", headers=headers).status_code == 401

    def test_a_wrong_secret_behind_a_good_prefix_is_401(self, client: TestClient, callers: Callers) -> None:
        key = callers.key(["admin"])["Authorization"].removeprefix("Bearer ")
        for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), key + "A", key[:-1], key.upper()):
            assert client.get("/api-keys", headers=bearer(wrong)).status_code == 401

    def test_its_last_use_is_noted_at_most_once_a_minute(
        self, client: TestClient, gateway: Gateway, callers: Callers
    ) -> None:
        key_id, key = callers.new_key(["admin"])

        def last_used() -> datetime | None:
            with gateway.db.reading() as session:
                row = session.get(ApiKey, key_id)
                assert row is not None
                return row.last_used_at

        assert last_used() is None
        start = datetime(2026, 5, 1, 12, tzinfo=UTC)
        for seconds, expected in ((0, start), (59, start), (60, start + timedelta(seconds=60))):
            with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
                assert client.get("/api-keys", headers=bearer(key)).status_code == 200
            assert last_used() == expected


class TestList:
    def test_keys_come_in_pages_oldest_first(self, client: TestClient, as_admin: dict[str, str]) -> None:
        made = [
            client.post("/api-keys", json=wish(name=f"key {n}"), headers=as_admin).json()["id"]
            for n in range(5)
        ]
        seen: list[str] = []
        after: dict[str, str] = {}
        while True:
            page = client.get("/api-keys", params={"limit": 2, **after}, headers=as_admin).json()
            seen += [key["id"] for key in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["next_cursor"]}
        assert sorted(seen) == sorted(made)
        assert len(seen) == 5
        assert page["next_cursor"] is None

    @each_case(
        "params", [{"limit": 0}, {"limit": 201}, {"after": "?"}, {"after": "AA"}, {"after": "a" * 300}]
    )
    @pytest.mark.any_database
    def test_nonsense_is_422(
        self, client: TestClient, as_admin: dict[str, str], params: dict[str, str]
    ) -> None:
        assert client.get("/api-keys", params=params, headers=as_admin).status_code == 422

    def test_it_is_for_administrators(
        self, client: TestClient, as_user: UserHeaders, as_key: KeyHeaders
    ) -> None:
        assert client.get("/api-keys", headers=as_user("jana")).status_code == 403
        assert client.get("/api-keys", headers=as_key(["connectors:read"])).status_code == 403
        assert client.get("/api-keys", headers=as_key(["admin"])).status_code == 200

    def test_a_limited_key_sees_keys_within_its_limit_alone(
        self, client: TestClient, gateway: Gateway, callers: Callers
    ) -> None:
        own, other = connector(gateway), connector(gateway)
        callers.new_key(["messages:read"])
        callers.new_key(["messages:read"], [own, other])
        within, _ = callers.new_key(["messages:read"], [own])
        itself, key = callers.new_key(["admin"], [own])
        listed = client.get("/api-keys", headers=bearer(key)).json()["data"]
        assert {entry["id"] for entry in listed} == {within, itself}


class TestRevoke:
    def test_a_revoked_key_stops_at_once_and_stays_listed(
        self, client: TestClient, callers: Callers, as_admin: dict[str, str]
    ) -> None:
        key_id, key = callers.new_key(["admin"])
        assert client.get("/api-keys", headers=bearer(key)).status_code == 200
        answer = client.delete(f"/api-keys/{key_id}", headers=as_admin)
        assert (answer.status_code, answer.content) == (204, b"")
        assert client.get("/api-keys", headers=bearer(key)).status_code == 401
        (listed,) = client.get("/api-keys", headers=as_admin).json()["data"]
        assert listed["revoked_at"] is not None

    def test_revoking_twice_is_no_error_and_keeps_the_first_time(
        self, client: TestClient, callers: Callers, as_admin: dict[str, str]
    ) -> None:
        key_id, _ = callers.new_key(["admin"])
        times = set()
        for _ in range(2):
            assert client.delete(f"/api-keys/{key_id}", headers=as_admin).status_code == 204
            times.add(client.get("/api-keys", headers=as_admin).json()["data"][0]["revoked_at"])
        assert len(times) == 1

    def test_revoking_a_key_also_ends_its_grants(
        self, client: TestClient, gateway: Gateway, callers: Callers, as_admin: dict[str, str]
    ) -> None:
        key_id, _ = callers.new_key(["messages:read"])
        personal = connector(gateway, kind=ConnectorKind.PERSONAL, owner="jana")
        with gateway.db.unit_of_work() as session:
            session.add(KeyGrant(api_key_id=key_id, connector_id=personal, granted_at=clock.utc_now()))
        client.delete(f"/api-keys/{key_id}", headers=as_admin)
        with gateway.db.reading() as session:
            assert session.exec(select(KeyGrant)).all() == []

    @pytest.mark.parametrize(
        ("key_id", "status"),
        [("no-such-key", 404), ("%00", 422), ("..%2f", 404), ("x" * 1000, 422), ("a%0Ab", 422)],
    )
    def test_a_key_that_does_not_exist_is_not_revoked(
        self, client: TestClient, as_admin: dict[str, str], key_id: str, status: int
    ) -> None:
        assert client.delete(f"/api-keys/{key_id}", headers=as_admin).status_code == status

    def test_it_is_for_administrators(
        self, client: TestClient, callers: Callers, as_user: UserHeaders
    ) -> None:
        key_id, _ = callers.new_key(["messages:read"])
        assert client.delete(f"/api-keys/{key_id}", headers=as_user("jana")).status_code == 403
        assert (
            client.delete(f"/api-keys/{key_id}", headers=callers.key(["messages:write"])).status_code == 403
        )
        assert client.delete("/api-keys/absent", headers=as_user("jana")).status_code == 403

    def test_a_limited_key_does_not_see_stronger_keys(
        self, client: TestClient, gateway: Gateway, callers: Callers
    ) -> None:
        stronger, _ = callers.new_key(["admin"])
        headers = callers.key(["admin"], [connector(gateway)])
        assert client.delete(f"/api-keys/{stronger}", headers=headers).status_code == 404
