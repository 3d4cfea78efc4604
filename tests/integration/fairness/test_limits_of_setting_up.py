"""How many connectors and links one caller may have."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from tests.support.callers import Callers
from tests.support.route_calls import SERVER
from tests.support.settings import SettingsFactory

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ADMIN = Callers.user("administrator", admin=True)
BOB, JANA = Callers.user("bob"), Callers.user("jana")
CONNECTORS, LINKS = 2, 3


@pytest.fixture
def limited(settings: SettingsFactory) -> Iterator[TestClient]:
    made = settings(connectors_per_owner=CONNECTORS, links_per_caller=LINKS)
    with TestClient(create_app(made), base_url="http://localhost") as client:
        yield client


def body(user: str, owner: str | None) -> dict[str, Any]:
    whose = {"kind": "shared"} if owner is None else {"kind": "personal", "owner": owner}
    imap = {**SERVER, "username": user}
    return {"name": user, "email_address": "x@firma.cz", "imap": imap, **whose}


def require_refused(answer: Any, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (429, code)
    assert int(answer.headers["Retry-After"]) > 0


def test_a_user_connects_so_many_mailboxes_and_others_connect_theirs(limited: TestClient) -> None:
    made = [limited.post("/connectors", json=body(f"b{n}", "bob"), headers=BOB) for n in range(CONNECTORS)]
    assert [each.status_code for each in made] == [201] * CONNECTORS
    require_refused(limited.post("/connectors", json=body("b", "bob"), headers=BOB), "too_many_connectors")
    put = "/connectors/by-external-id/crm-7"
    require_refused(limited.put(put, json=body("b", "bob"), headers=BOB), "too_many_connectors")
    assert limited.post("/connectors", json=body("j", "jana"), headers=JANA).status_code == 201
    # What is there may still be changed, and one that goes makes room.
    first = made[0].json()["id"]
    assert limited.patch(f"/connectors/{first}", json={"name": "New"}, headers=BOB).status_code == 200
    assert limited.delete(f"/connectors/{first}", headers=BOB).status_code == 204
    assert limited.put(put, json=body("b", "bob"), headers=BOB).status_code == 201
    assert limited.put(put, json=body("b", "bob"), headers=BOB).status_code == 200


def test_administrators_connect_any_number_for_anybody(limited: TestClient) -> None:
    for number in range(CONNECTORS + 2):
        for owner in ("bob", "administrator", None):
            new = limited.post("/connectors", json=body(f"{owner}{number}", owner), headers=ADMIN)
            assert new.status_code == 201, new.text


def test_a_caller_has_so_many_unused_links_and_others_have_theirs(limited: TestClient) -> None:
    paths = []
    for number in range(LINKS + 1):
        new = limited.post("/connectors", json=body(f"s{number}", "bob"), headers=ADMIN)
        paths.append(f"/connectors/{new.json()['id']}/credential-links")
    for path in paths[:LINKS]:
        assert limited.post(path, headers=ADMIN).status_code == 201
    require_refused(limited.post(paths[LINKS], headers=ADMIN), "too_many_links")
    assert limited.post(paths[LINKS], headers=BOB).status_code == 201
    # A newer link takes the place of the one before, and one that is withdrawn makes room.
    assert limited.post(paths[0], headers=ADMIN).status_code == 201
    assert limited.delete(paths[0], headers=ADMIN).status_code == 204
    assert limited.post(paths[LINKS], headers=ADMIN).status_code == 201
