"""The routes of group bindings, over HTTP on both databases."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.callers import Callers, KeyHeaders
from tests.support.connector_bodies import created, personal, shared
from tests.support.each_case import each_case

ADMIN = Callers.user("administrator", admin=True)
MEMBER = Callers.user("petr", groups=["orders"])
OTHER = Callers.user("eva", groups=["other"])


@pytest.fixture
def connector_id(client: TestClient) -> str:
    made: str = created(client, ADMIN, shared())["id"]
    return made


def bound(client: TestClient, connector_id: str, group: str = "orders") -> dict[str, Any]:
    body = {"connector_id": connector_id, "group": group}
    answer = client.post("/group-bindings", json=body, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


class TestCreate:
    def test_opens_the_connector_to_the_group(self, client: TestClient, connector_id: str) -> None:
        path = f"/connectors/{connector_id}"
        assert client.get(path, headers=MEMBER).status_code == 404
        made = bound(client, connector_id)
        assert set(made) == {"id", "connector_id", "group", "created_at"}
        assert client.get(path, headers=MEMBER).status_code == 200

    def test_binding_a_group_twice_is_no_error_and_binds_it_once(
        self, client: TestClient, connector_id: str
    ) -> None:
        made = bound(client, connector_id)
        body = {"connector_id": connector_id, "group": "orders"}
        again = client.post("/group-bindings", json=body, headers=ADMIN)
        assert (again.status_code, again.json()) == (200, made)
        listed = client.get(f"/group-bindings?connector_id={connector_id}", headers=ADMIN).json()["data"]
        assert listed == [made]

    def test_a_binding_of_a_personal_connector_is_a_conflict_with_the_reason(
        self, client: TestClient
    ) -> None:
        made = created(client, ADMIN, personal())
        body = {"connector_id": made["id"], "group": "orders"}
        answer = client.post("/group-bindings", json=body, headers=ADMIN)
        assert answer.status_code == 409
        assert "personal" in answer.json()["detail"]

    def test_administrators_and_keys_bind_groups(
        self, client: TestClient, connector_id: str, as_key: KeyHeaders
    ) -> None:
        bound(client, connector_id)
        body = {"connector_id": connector_id, "group": "sales"}
        assert client.post("/group-bindings", json=body).status_code == 401
        assert client.post("/group-bindings", json=body, headers=MEMBER).status_code == 403
        assert client.post("/group-bindings", json=body, headers=OTHER).status_code == 404
        elsewhere = created(client, ADMIN, shared())["id"]
        reading, limited = as_key(["connectors:read"]), as_key(["connectors:write"], [elsewhere])
        assert client.post("/group-bindings", json=body, headers=reading).status_code == 403
        assert client.post("/group-bindings", json=body, headers=limited).status_code == 404
        writing = as_key(["connectors:write"])
        assert client.post("/group-bindings", json=body, headers=writing).status_code == 201

    @each_case("group", ["", "a\nb", "nul\0", None, 7])
    def test_a_binding_with_bad_input_names_the_field(
        self, client: TestClient, connector_id: str, group: object
    ) -> None:
        body = {"connector_id": connector_id, "group": group}
        answer = client.post("/group-bindings", json=body, headers=ADMIN)
        assert answer.status_code == 422
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/group"]

    def test_a_binding_of_a_missing_connector_is_404(self, client: TestClient) -> None:
        body = {"connector_id": "absent", "group": "orders"}
        assert client.post("/group-bindings", json=body, headers=ADMIN).status_code == 404


class TestList:
    def test_bindings_are_listed_for_one_connector_or_for_all(
        self, client: TestClient, connector_id: str
    ) -> None:
        other_id = created(client, ADMIN, shared())["id"]
        first, second = bound(client, connector_id), bound(client, other_id)
        all_of_them = client.get("/group-bindings", headers=ADMIN).json()
        assert all_of_them == {"data": [first, second], "next_cursor": None, "has_more": False}
        params = {"connector_id": other_id}
        assert client.get("/group-bindings", params=params, headers=ADMIN).json()["data"] == [second]

    def test_the_list_of_bindings_is_empty_for_members(self, client: TestClient, connector_id: str) -> None:
        bound(client, connector_id)
        assert client.get("/group-bindings", headers=MEMBER).json()["data"] == []


class TestOne:
    def test_a_binding_can_be_read_changed_and_deleted(self, client: TestClient, connector_id: str) -> None:
        made = bound(client, connector_id)
        path = f"/group-bindings/{made['id']}"
        assert client.get(path, headers=ADMIN).json() == made
        changed = client.patch(path, json={"group": "sales"}, headers=ADMIN)
        assert changed.json() == {**made, "group": "sales"}
        assert client.get(f"/connectors/{connector_id}", headers=MEMBER).status_code == 404
        assert client.delete(path, headers=ADMIN).status_code == 204
        assert client.get(path, headers=ADMIN).status_code == 404

    def test_members_may_not_use_a_binding(self, client: TestClient, connector_id: str) -> None:
        made = bound(client, connector_id)
        path = f"/group-bindings/{made['id']}"
        for call in (client.get, client.delete):
            assert call(path, headers=MEMBER).status_code == 403
            assert call(path, headers=OTHER).status_code == 404
        assert client.patch(path, json={"group": "x"}, headers=MEMBER).status_code == 403

    def test_changed_into_one_that_is_there_is_a_conflict(
        self, client: TestClient, connector_id: str
    ) -> None:
        bound(client, connector_id, "sales")
        made = bound(client, connector_id)
        answer = client.patch(f"/group-bindings/{made['id']}", json={"group": "sales"}, headers=ADMIN)
        assert answer.status_code == 409
