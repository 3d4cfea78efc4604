"""The file of `imap-gateway apply`."""

import json

import pytest

from app.remote import connector_file
from app.remote.connector_file import NotAFile

ENVIRONMENT = {"ORDERS_PASSWORD": "secret-of-orders"}
FILE = """\
# Mailboxes of the shop
connectors:
  - external_id: orders
    kind: shared
    name: Orders
    first_fetch: {since: 2026-01-31}
    imap: &server {host: imap.firma.cz, username: orders@firma.cz}
    credentials: {type: password, password: {env: ORDERS_PASSWORD}}
  - external_id: claims
    imap: *server
"""


def faults(text: str) -> list[tuple[int, str | None]]:
    return [(entry.line, entry.fault) for entry in connector_file.read(text, ENVIRONMENT)]


def test_gives_the_bodies_with_passwords_from_the_environment() -> None:
    orders, claims = connector_file.read(FILE, ENVIRONMENT)
    assert (orders.line, orders.external_id, orders.fault) == (3, "orders", None)
    assert orders.body["credentials"] == {"type": "password", "password": "secret-of-orders"}
    assert orders.body["first_fetch"] == {"since": "2026-01-31"}
    assert claims.line == 9
    assert claims.body == {"imap": orders.body["imap"]}
    assert json.dumps(orders.body)
    assert "secret-of-orders" not in repr(orders)


def test_may_be_json() -> None:
    text = json.dumps({"connectors": [{"external_id": "a", "kind": "shared"}]}, indent=2)
    [entry] = connector_file.read(text, {})
    assert (entry.line, entry.external_id, entry.body) == (3, "a", {"kind": "shared"})


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("- 5", "is not a connector"),
        ("- {1: x}", "is not a connector"),
        ("- {kind: shared}", "external_id is missing"),
        ("- {external_id: 7}", "external_id is missing, or is not text"),
        ("- {external_id: a, credentials: {password: plain}}", "must name an environment variable"),
        ("- {external_id: a, credentials: {password: {env: NOT_SET}}}", "NOT_SET is not set"),
        ("- {external_id: a, name: !!binary aGVsbG8=}", "none that JSON has"),
        ("- {external_id: a, name: !!python/object:os.system x}", "could not determine a constructor"),
        ("- {external_id: b}", "external_id is that of line 2, too"),
    ],
)
def test_a_faulty_entry_is_named_by_its_line_and_stops_no_other(entry: str, why: str) -> None:
    found = faults(f"connectors:\n- {{external_id: b}}\n{entry}\n- {{external_id: c}}\n")
    assert [found[0], found[2]] == [(2, None), (4, None)]
    line, fault = found[1]
    assert line == 3
    assert fault is not None
    assert why in fault


@pytest.mark.parametrize("text", ["", "[]", "connectors: 5", "connectors: [", "x: []", "a: *b"])
def test_a_file_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(NotAFile):
        connector_file.read(text, {})
