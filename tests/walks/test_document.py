"""What the gateway answers is what its OpenAPI document says, whatever it is sent and whoever sends it.

Schemathesis makes requests for every operation from the document, such that fit it and such that do not; each is
sent by every kind of caller, many with the ids of objects that are there. No answer may be an error inside the
gateway, have a status or a content type that is not documented, or a body or header of another shape.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests
import schemathesis
from _pytest.mark import ParameterSet
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app import openapi_page
from app.who_may import route_name
from tests.support.access_world import KINDS, World
from tests.support.route_calls import CALLS, SERVER, filled

SCHEMA: Any = schemathesis.openapi.from_dict(openapi_page.openapi_document())
OPERATIONS: dict[str, Any] = {
    route_name(operation.method, operation.path): operation
    for operation in (result.ok() for result in SCHEMA.get_all_operations())
}
CHECKS: list[CheckFunction] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CASES = 4
"""Of each sort for each operation."""
CASES_OF_A_LONG_TEST = 300
ID_NAMES = {
    "connector_id": "connector",
    "external_id": "external_id",
    "message_id": "message",
    "in_reply_to": "message",
    "quarantine_id": "quarantined",
    "submission_id": "submission",
    "binding_id": "binding",
    "webhook_id": "webhook",
    "key_id": "api_key",
}
"""What names an object, in paths, queries and bodies."""
ID_LISTS = {"connector_ids": "connector", "ids": "message"}


AWKWARD = (
    "\0",
    "a\0b",
    "\r\nX: y",
    "\x1b[2J",
    "\u202e",
    " ",
    "",
    "%00",
    "' OR 1=1 --",
    "x" * 20_000,
    "💥" * 300,
)
"""Texts that some layer between a request and a database takes badly."""


def test_every_operation_is_tried() -> None:
    assert set(OPERATIONS) == set(CALLS)


def routes() -> list[ParameterSet]:
    """Every route on one of the databases, by turns; on the other one by `make soak`."""
    return [
        pytest.param(database, route, marks=[] if (turn + offset) % 2 == 0 else [pytest.mark.soak])
        for turn, route in enumerate(OPERATIONS)
        for offset, database in enumerate(("sqlite", "postgresql"))
    ]


@pytest.mark.parametrize(("database_url", "route"), routes(), indirect=["database_url"])
def test_every_answer_is_a_documented_one(client: TestClient, world: World, route: str) -> None:
    _try(client, world, route, cases=CASES, is_deterministic=True)


def test_a_text_that_is_no_unicode_is_refused_or_harmless(client: TestClient, world: World) -> None:
    # Schemathesis cannot hold such a text itself.
    for route, call in CALLS.items():
        if call.body is None:
            continue
        objects = world.objects("shared")
        body = filled({**call.body, **MORE_TEXTS.get(route, {})}, objects)
        for number, (_, name) in enumerate(_texts_in(body)):
            sent = copy.deepcopy(body)
            holder, _ = list(_texts_in(sent))[number]
            holder[name] = "\ud800"
            method, path = route.split()[0], call.path.format_map(objects)
            content = json.dumps(sent).encode("ascii")
            headers = {**world.callers["granted API key"], "Content-Type": "application/json"}
            answer = client.request(method, path, content=content, headers=headers)
            assert str(answer.status_code) in documented(route), (route, name, answer.text)
            assert answer.status_code < 500, (route, name)


MORE_TEXTS: dict[str, dict[str, Any]] = {
    "POST /submissions": {
        "cc": ["Eva <eva@firma.cz>"],
        "bcc": ["eva@firma.cz"],
        "subject": "x",
        "html": "<p>x</p>",
        "attachments": [{"name": "x", "content_type": "text/plain", "content_base64": "eA=="}],
    },
    "POST /messages/delete": {"q": "x", "ids": ["x"], "state": "new"},
    "POST /webhooks": {"types": ["message.stored"], "connector_ids": ["x"]},
    "POST /api-keys": {"connector_ids": ["x"], "expires_at": "2100-01-01T00:00:00Z"},
    "PATCH /connectors/{}": {
        "external_id": "x",
        "imap": {"host": "x"},
        "source_folder": "x",
        "first_fetch": "all",
    },
}
"""Fields with texts, in addition to those of the plain calls."""


def documented(route: str) -> set[str]:
    """The statuses of a route in the document."""
    return set(OPERATIONS[route].definition.raw["responses"])


@pytest.mark.soak
@pytest.mark.parametrize("route", OPERATIONS)
def test_every_answer_is_a_documented_one_however_often(client: TestClient, world: World, route: str) -> None:
    _try(client, world, route, cases=CASES_OF_A_LONG_TEST, is_deterministic=False)


def _try(client: TestClient, world: World, route: str, *, cases: int, is_deterministic: bool) -> None:
    callers = {
        "no token": {},
        "key without scopes": world.key_without_scopes(),
        **{name: world.callers[name] for name in ("others", "owner", "member", "administrator")},
        "key with all scopes": world.callers["granted API key"],
    }
    for each in _strategies(OPERATIONS[route]):

        @settings(
            max_examples=cases,
            derandomize=is_deterministic,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=each, aim=st.sampled_from((*KINDS, None)))
        def answers_as_documented(case: Case[Any], aim: str | None) -> None:
            for name, headers in callers.items():
                if aim is not None:
                    _aim(case, world.objects(aim))
                answer = _send(client, case, headers)
                assert answer.status_code != 500, (name, answer.text)
                case.validate_response(answer, checks=CHECKS)
                if aim is not None and CALLS[route].uses_up and answer.is_success:
                    world.forget(aim)

        answers_as_documented()


def _strategies(operation: Any) -> Iterator[st.SearchStrategy[Case[Any]]]:
    """Requests that match the document, and, if something in them can be wrong, requests that do not match."""
    fitting = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    yield fitting
    yield st.builds(_spoilt, fitting, st.sampled_from(AWKWARD), st.integers(0, 30))
    if operation.body or list(operation.iter_parameters()):
        yield operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


def _spoilt(case: Case[Any], text: str, chosen: int) -> Case[Any]:
    """The same request with one of its texts replaced."""
    texts = [found for place in (case.body, case.query) for found in _texts_in(place)]
    if texts:
        holder, name = texts[chosen % len(texts)]
        holder[name] = text
    return case


def _texts_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """The places of the texts in a JSON value: the container, and the name or index."""
    if isinstance(value, dict | list):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(each, str):
                yield value, name
            else:
                yield from _texts_in(each)


def _send(client: TestClient, case: Case[Any], headers: Mapping[str, str]) -> Any:
    prepared = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    return client.request(
        str(prepared.method),
        str(prepared.url),
        content=prepared.body,
        headers={**{name: str(value) for name, value in prepared.headers.items()}, **headers},
    )


def _aim(case: Case[Any], objects: Mapping[str, Any]) -> None:
    """Have the request be about objects that are there, and about servers that nobody runs."""
    places: tuple[Any, ...] = (case.path_parameters, case.query, case.body)
    for place in places:
        if not isinstance(place, dict):
            continue
        for name in place:
            if name in ID_NAMES:
                place[name] = objects[ID_NAMES[name]]
            elif name in ID_LISTS:
                place[name] = [objects[ID_LISTS[name]]]
            elif name == "n":
                place[name] = 1
            elif name in {"imap", "smtp"} and isinstance(place[name], dict):
                place[name].update(SERVER)
            elif name == "url":
                place[name] = "http://127.0.0.1:9/hook"
