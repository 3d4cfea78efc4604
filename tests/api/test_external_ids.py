"""External ids: unique for each user, and in the installation for administrators and keys. Nobody learns of another's."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.callers import Callers, KeyHeaders
from tests.support.connector_bodies import created, personal, shared

ADMIN = Callers.user("administrator", admin=True)
JANA, BOB = Callers.user("jana"), Callers.user("bob")
PUT = "/connectors/by-external-id/"

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_users_may_use_the_same_and_none_keeps_it_from_the_installation(
    client: TestClient, as_key: KeyHeaders
) -> None:
    ids = [created(client, JANA, personal(external_id="hr-1"))["id"]]
    ids.append(created(client, BOB, personal("bob", external_id="hr-1"))["id"])
    ids.append(created(client, ADMIN, personal("bob", external_id="hr-1"))["id"])
    assert client.post("/connectors", json=shared(external_id="hr-1"), headers=ADMIN).status_code == 409
    key = as_key(["connectors:write"])
    assert client.post("/connectors", json=shared(external_id="hr-1"), headers=key).status_code == 409
    for headers, owner, meant in ((JANA, "jana", 0), (BOB, "bob", 1), (ADMIN, "bob", 2), (key, "bob", 2)):
        answer = client.put(f"{PUT}hr-1", json=personal(owner), headers=headers)
        assert (answer.status_code, answer.json()["id"]) == (200, ids[meant])


def test_a_user_means_the_connector_that_was_prepared_for_them_and_has_it_only_once(
    client: TestClient,
) -> None:
    prepared = created(client, ADMIN, personal(external_id="hr-1"))
    answer = client.put(f"{PUT}hr-1", json=personal(), headers=JANA)
    assert (answer.status_code, answer.json()["id"]) == (200, prepared["id"])
    again = client.post("/connectors", json=personal(external_id="hr-1"), headers=JANA)
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    other = created(client, JANA, personal())
    path = f"/connectors/{other['id']}"
    assert client.patch(path, json={"external_id": "hr-1"}, headers=JANA).status_code == 409


def test_a_change_of_one_tells_a_user_nothing(client: TestClient) -> None:
    created(client, ADMIN, shared(external_id="crm-1"))
    created(client, JANA, personal(external_id="mine"))
    for external_id in ("crm-1", "mine", "free"):
        path = f"/connectors/{created(client, BOB, personal('bob'))['id']}"
        answer = client.patch(path, json={"external_id": external_id}, headers=BOB)
        assert (answer.status_code, answer.json()["external_id"]) == (200, external_id)


def test_a_limited_key_gets_the_same_answers_for_used_and_free_ones(
    client: TestClient, as_key: KeyHeaders
) -> None:
    created(client, ADMIN, shared(external_id="crm-1"))
    own = created(client, ADMIN, shared(external_id="crm-2"))
    key = as_key(["connectors:read", "connectors:write"], [own["id"]])

    def answers(external_id: str) -> list[Any]:
        found = []
        for call in (
            client.patch(f"/connectors/{own['id']}", json={"external_id": external_id}, headers=key),
            client.put(f"{PUT}{external_id}", json=shared(), headers=key),
            client.put(f"{PUT}{external_id}", json=shared(), headers={**key, "If-Match": '"x"'}),
            client.post("/connectors", json=shared(external_id=external_id), headers=key),
        ):
            body = {name: value for name, value in call.json().items() if name != "request_id"}
            body.pop("instance", None)
            found.append((call.status_code, body, "etag" in call.headers))
        return found

    assert answers("crm-1") == answers("free")
    assert [status for status, *_ in answers("free")] == [403, 403, 412, 403]
    assert client.put(f"{PUT}crm-2", json=shared(), headers=key).json()["id"] == own["id"]
    same = client.patch(f"/connectors/{own['id']}", json={"external_id": "crm-2"}, headers=key)
    assert same.status_code == 200


@pytest.mark.parametrize("kind", ["shared", "personal"])
def test_a_put_tells_a_user_nothing_of_anothers(client: TestClient, kind: str) -> None:
    created(client, ADMIN, shared(external_id="crm-1") if kind == "shared" else personal(external_id="crm-1"))
    for body in (shared(), personal(), personal("bob")):
        used = client.put(f"{PUT}crm-1", json=body, headers=BOB)
        free = client.put(f"{PUT}free", json={**body, "name": "x"}, headers=BOB)
        assert used.status_code == free.status_code == (201 if body.get("owner") == "bob" else 403)


@pytest.mark.parametrize("word", ["test", "folders", "credentials", "pause", "fetch", "cycles", "key-grants"])
def test_an_external_id_may_be_a_word_that_ends_other_addresses(client: TestClient, word: str) -> None:
    made = client.put(f"{PUT}{word}", json=shared(), headers=ADMIN)
    assert (made.status_code, made.json()["external_id"]) == (201, word)
    read = client.get(f"{PUT}{word}", headers=ADMIN)
    assert (read.status_code, read.json()["id"]) == (200, made.json()["id"])
    assert client.delete(f"{PUT}{word}", headers=ADMIN).status_code == 204
