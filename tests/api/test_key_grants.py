"""The owner of a personal mailbox lets an API key read it, and takes that back."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.gateway import Gateway
from app.models import Connector
from tests.support.callers import Callers, KeyHeaders, bearer
from tests.support.stored_mail import connector, mail, store

OWNER = Callers.user("jana")
ADMIN = Callers.user("administrator", admin=True)
OTHER = Callers.user("eva")
SCOPES = ["messages:read", "connectors:read", "connectors:write"]


@pytest.fixture
def mailbox(gateway: Gateway) -> Connector:
    made = connector(gateway, owner="jana")
    store(gateway, made, mail("private"))
    return made


@pytest.fixture
def key(callers: Callers) -> tuple[str, dict[str, str]]:
    """A key's id and its headers."""
    key_id, key = callers.new_key(SCOPES)
    return key_id, bearer(key)


def subjects(client: TestClient, headers: dict[str, str]) -> list[str]:
    return [each["subject"] for each in client.get("/messages", headers=headers).json()["data"]]


def test_a_granted_key_reads_until_the_grant_is_taken_back(
    client: TestClient, mailbox: Connector, key: tuple[str, dict[str, str]]
) -> None:
    key_id, as_key = key
    path = f"/connectors/{mailbox.id}/key-grants"
    assert subjects(client, as_key) == []
    granted = client.put(f"{path}/{key_id}", headers=OWNER)
    assert granted.status_code == 200
    assert granted.json()["scopes"] == SCOPES
    assert subjects(client, as_key) == ["private"]
    assert client.put(f"{path}/{key_id}", headers=OWNER).json() == granted.json()
    assert client.get(path, headers=OWNER).json() == {"data": [granted.json()]}
    assert "key" not in granted.json()
    assert client.delete(f"{path}/{key_id}", headers=OWNER).status_code == 204
    assert subjects(client, as_key) == []
    assert client.delete(f"{path}/{key_id}", headers=OWNER).status_code == 404


@pytest.mark.parametrize(("headers", "status"), [(ADMIN, 403), (OTHER, 404), ({}, 401)])
def test_nobody_else_grants(
    client: TestClient,
    mailbox: Connector,
    key: tuple[str, dict[str, str]],
    headers: dict[str, str],
    status: int,
) -> None:
    path = f"/connectors/{mailbox.id}/key-grants/{key[0]}"
    assert client.put(path, headers=headers).status_code == status
    assert client.delete(path, headers=headers).status_code == status


def test_a_key_does_not_grant_itself(
    client: TestClient, mailbox: Connector, key: tuple[str, dict[str, str]]
) -> None:
    assert client.put(f"/connectors/{mailbox.id}/key-grants/{key[0]}", headers=key[1]).status_code == 403


def test_the_administrator_sees_who_may_read(
    client: TestClient, mailbox: Connector, key: tuple[str, dict[str, str]]
) -> None:
    client.put(f"/connectors/{mailbox.id}/key-grants/{key[0]}", headers=OWNER)
    seen: list[dict[str, Any]] = client.get(f"/connectors/{mailbox.id}/key-grants", headers=ADMIN).json()[
        "data"
    ]
    assert [each["api_key_id"] for each in seen] == [key[0]]


def test_only_a_good_key_that_may_touch_the_mailbox_is_granted(
    client: TestClient, gateway: Gateway, mailbox: Connector, callers: Callers, as_key: KeyHeaders
) -> None:
    path = f"/connectors/{mailbox.id}/key-grants"
    assert client.put(f"{path}/absent", headers=OWNER).status_code == 404
    revoked, _ = callers.new_key(SCOPES)
    assert client.delete(f"/api-keys/{revoked}", headers=ADMIN).status_code == 204
    assert client.put(f"{path}/{revoked}", headers=OWNER).status_code == 404
    elsewhere, _ = callers.new_key(SCOPES, [connector(gateway).id])
    assert client.put(f"{path}/{elsewhere}", headers=OWNER).status_code == 409


def test_a_shared_mailbox_needs_no_grant(
    client: TestClient, gateway: Gateway, key: tuple[str, dict[str, str]]
) -> None:
    at = connector(gateway, groups=["orders"])
    store(gateway, at, mail("order"))
    assert client.put(f"/connectors/{at.id}/key-grants/{key[0]}", headers=ADMIN).status_code == 403
    assert subjects(client, key[1]) == ["order"]
