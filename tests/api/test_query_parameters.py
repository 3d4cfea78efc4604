"""Query parameters that a route does not know."""

import pytest
from fastapi.testclient import TestClient

from app.gateway import Gateway
from tests.support.callers import Callers
from tests.support.each_case import each_case
from tests.support.route_calls import SERVER
from tests.support.stored_mail import connector

pytestmark = pytest.mark.any_database

ADMIN = Callers.user("administrator", admin=True)
OPEN_TO_OTHER_PARAMETERS = ("/health/", "/metrics", "/docs", "/openapi.json", "/credential-links/")
SOME_ID = "0" * 32


def json_routes(client: TestClient) -> list[tuple[str, str]]:
    """Method and path of every route that the document lists, with ids in their places."""
    return [
        (method.upper(), path)
        for path, operations in client.get("/openapi.json").json()["paths"].items()
        for method in operations
        if not path.startswith(OPEN_TO_OTHER_PARAMETERS)
    ]


def test_every_json_route_refuses_a_query_parameter_that_it_does_not_know(client: TestClient) -> None:
    routes = json_routes(client)
    assert len(routes) > 40
    for method, path in routes:
        filled = "/".join(
            "1" if part == "{n}" else SOME_ID if part.startswith("{") else part for part in path.split("/")
        )
        answer = client.request(method, filled, params={"sttaus": "failing"}, headers=ADMIN)
        assert answer.status_code == 422, (method, path)
        assert {"pointer": "/sttaus", "detail": "is not known here"} in answer.json()["errors"], (
            method,
            path,
        )


def test_each_unknown_parameter_is_named_and_its_value_is_not(client: TestClient) -> None:
    answer = client.get("/connectors?status=hunter2&limit=2&dry~run=x", headers=ADMIN)
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/status", "/dry~0run"]
    assert "hunter2" not in answer.text


def test_a_write_with_an_unknown_parameter_writes_nothing(client: TestClient) -> None:
    body = {
        "name": "New",
        "kind": "shared",
        "email_address": "new@firma.cz",
        "imap": {**SERVER, "username": "new"},
    }
    answer = client.put("/connectors/by-external-id/7?dry_run_=true", json=body, headers=ADMIN)
    assert answer.status_code == 422
    assert client.get("/connectors", headers=ADMIN).json()["data"] == []


def test_who_is_not_known_is_told_that_first(client: TestClient) -> None:
    assert client.get("/connectors?status=failing").status_code == 401


@each_case(
    "path",
    [
        "/connectors",
        "/messages",
        "/events",
        "/submissions",
        "/quarantine",
        "/webhooks",
        "/api-keys",
        "/audit",
        "/group-bindings",
    ],
)
def test_every_list_takes_limit_and_after(client: TestClient, path: str) -> None:
    assert client.get(path, params={"limit": 200}, headers=ADMIN).status_code in {200, 403}
    for wrong in ({"limit": 0}, {"limit": 201}, {"after": "no cursor!"}, {"after": "x" * 101}):
        answer = client.get(path, params=wrong, headers=ADMIN)
        assert answer.status_code == 422, wrong
        assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(wrong))}"


def test_known_parameters_still_work(client: TestClient, gateway: Gateway) -> None:
    made = connector(gateway)
    assert client.delete(f"/connectors/{made.id}?messages=delete", headers=ADMIN).status_code == 204


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/openapi.json", "/docs"])
def test_probes_and_pages_take_any_parameter(client: TestClient, path: str) -> None:
    assert client.get(path, params={"probe": "1"}).status_code == 200
