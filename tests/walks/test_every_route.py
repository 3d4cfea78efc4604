"""Every route, by every kind of caller, about own, foreign and absent objects, compared with docs/access.md.

The routes come from the OpenAPI document, the rule behind each from `app/who_may.py`, what a rule means from the
tables of the document, how a route is called from `tests/support/route_calls.py`.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlmodel import col

from app import openapi_page
from app.gateway import Gateway
from app.models import Message
from app.openapi_document import METHODS
from app.services.access.rules import Action
from app.who_may import ROUTES, ForAdministrators, Open, Rule, Special, route_name
from tests.support import access_table
from tests.support.access_world import KINDS, World
from tests.support.route_calls import CALLER_COLUMNS, CALLS, PASSWORD, SPECIAL, Call, filled

TABLE = access_table.read()
CALLERS = tuple(CALLER_COLUMNS)
ADMINISTRATORS = {"administrator", "administrator who is a member"}
KEYS = {"API key", "granted API key", "API key for others"}
Answer = Any


def kinds_for(route: str) -> tuple[str, ...]:
    """The kinds of objects that a route is called with."""
    rule, call = ROUTES[route], CALLS[route]
    if isinstance(rule, Special):
        return tuple(SPECIAL[route])
    if "{" not in f"{call.path}{call.body}".replace("{'", ""):
        return ("shared",)
    return ("shared", "absent") if isinstance(rule, ForAdministrators) else (*KINDS, "absent")


def scope_of(rule: Rule) -> str | None:
    """What an API key needs."""
    match rule:
        case Action():
            return TABLE.scopes[rule]
        case ForAdministrators(scope) | Special(_, scope):
            return scope
        case Open():
            return None


def expected(route: str, caller: str, kind: str) -> str:
    """`yes`, `403` or `404`, for a caller with a good token and every scope."""
    rule = ROUTES[route]
    if isinstance(rule, Special):
        meaning = SPECIAL[route][kind]
        if not isinstance(meaning, Action):
            return dict(zip(CALLERS, meaning.split(), strict=True))[caller]
        rule = meaning
    match rule:
        case Open():
            return "yes"
        case ForAdministrators():
            if caller not in ADMINISTRATORS | KEYS:
                return "403"
            if kind == "absent":
                return "404"
            return CALLS[route].limited_key if caller == "API key for others" else "yes"
        case Action():
            if kind == "absent":
                return "404"
            if kinds_for(route) == ("shared",):  # a list: everybody has one, be it empty
                return "yes"
            return TABLE.outcome(kind, rule, CALLER_COLUMNS[caller])


def send(client: TestClient, route: str, objects: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
    """Call a route about these objects."""
    call = CALLS[route]
    method = route.split(maxsplit=1)[0]
    body = filled(call.body, objects) if call.body is not None else None
    return client.request(method, call.path.format_map(objects), json=body, headers=dict(headers))


def outcome(call: Call, answer: Answer) -> str:
    """`yes` if the answer is that of an allowed call, otherwise its status."""
    return "yes" if answer.status_code in call.done else str(answer.status_code)


def test_the_walk_leaves_no_route_out() -> None:
    document = openapi_page.openapi_document()
    routes = {
        route_name(method, path)
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    }
    assert routes == set(ROUTES) == set(CALLS)
    assert set(SPECIAL) == {route for route, rule in ROUTES.items() if isinstance(rule, Special)}


ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what asks the rules about one object after the other; what asks the database runs on both."""
RESOURCES = sorted({CALLS[route].path.split("/")[1].partition("?")[0] for route in CALLS})


@ON_SQLITE
@pytest.mark.parametrize("resource", RESOURCES)
def test_every_route_answers_as_the_table_says(client: TestClient, world: World, resource: str) -> None:
    routes = [route for route in CALLS if CALLS[route].path.startswith(f"/{resource}")]
    assert routes
    for route in routes:
        for kind in kinds_for(route):
            world.objects(kind)
        _walk(client, world, route)


def _walk(client: TestClient, world: World, route: str) -> None:
    call = CALLS[route]
    wanted = {
        (kind, caller): expected(route, caller, kind) for kind in kinds_for(route) for caller in CALLERS
    }
    found: dict[tuple[str, str], str] = {}
    absent: dict[tuple[str, str], Any] = {}
    before = world.snapshot()
    for kind, caller in (case for case in wanted if wanted[case] != "yes"):
        answer = send(client, route, world.objects(kind), world.callers[caller])
        found[kind, caller] = outcome(call, answer)
        if answer.status_code == 404:
            absent[kind, caller] = _comparable(answer)
    assert world.snapshot() == before, f"{route}: a refused call has changed something"
    for kind, caller in (case for case in wanted if wanted[case] == "yes"):
        answer = send(client, route, world.objects(kind), world.callers[caller])
        found[kind, caller] = outcome(call, answer)
        if call.uses_up:
            world.forget(kind)
    assert found == wanted, route
    # For a caller who may not see an object, it looks the same as one that does not exist.
    assert all(each == next(iter(absent.values())) for each in absent.values()), (route, absent)


@ON_SQLITE
def test_a_key_without_the_scope_is_refused_whatever_it_asks_for(client: TestClient, world: World) -> None:
    for route, rule in ROUTES.items():
        scope = scope_of(rule)
        if scope is None:
            continue
        for kind in kinds_for(route):
            answer = send(client, route, world.objects(kind), world.key_without(scope))
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), (route, kind)


@ON_SQLITE
def test_a_key_without_the_scope_learns_nothing_of_the_network(client: TestClient, world: World) -> None:
    headers = world.key_without("connectors:write")
    server = {"host": "10.0.0.1", "port": 22, "security": "none", "username": "x"}
    body = {"name": "x", "kind": "shared", "email_address": "x@firma.cz", "imap": server}
    for method, path, sent in (
        ("POST", "/connectors", body),
        ("PUT", "/connectors/by-external-id/x", body),
        ("PATCH", f"/connectors/{world.objects('shared')['connector']}", {"imap": server}),
        ("POST", "/connectors/test", {"imap": server, "credentials": PASSWORD}),
    ):
        assert client.request(method, path, json=sent, headers=headers).status_code == 403, (method, path)


@ON_SQLITE
def test_without_a_good_token_every_route_but_the_open_ones_is_401(client: TestClient, world: World) -> None:
    nobodies = world.without_a_good_token()
    for route, rule in ROUTES.items():
        wanted = "yes" if isinstance(rule, Open) else "401"
        for kind in kinds_for(route):
            for name, headers in nobodies.items():
                answer = send(client, route, world.objects(kind), headers)
                assert outcome(CALLS[route], answer) == wanted, (route, kind, name)


JSON = {"content-type": "application/json"}
JUDGED_LATER: dict[str, Mapping[str, Any]] = {
    "no body": {},
    "a body that is not JSON": {"content": b'{"name": ', "headers": JSON},
    "a body that is not UTF-8": {"content": b'{"name": "\xff"}', "headers": JSON},
    "a body that is too large": {"content": b"{}", "headers": {**JSON, "content-length": "99999999"}},
    "a body of another kind": {"content": b"[1]", "headers": JSON},
    "a field that nobody knows": {"json": {"nobody knows": 1}},
    "a parameter that nobody knows": {"params": {"nobody_knows": "1"}},
    "a bad cursor": {"params": {"after": "no cursor!"}},
    "a cursor that was never given out": {"params": {"after": "AAAA"}},
    "a bad limit and a bad wait": {"params": {"limit": "0", "wait_s": "-1"}},
    "a version that nobody has": {"headers": {"if-match": "nothing"}},
    "a key with bad characters": {"headers": {"idempotency-key": "x" * 256}},
    "a last event that never was": {"headers": {"last-event-id": "no cursor!"}},
}
"""What a request may have that the gateway would refuse."""
BAD_IDS = {"as it is": None, "a long id": "x" * 300, "an id with a null": "%00", "a number below one": "0"}


def _badly(client: TestClient, route: str, wrong: Mapping[str, Any], bad_id: str | None, who: Any) -> Answer:
    """Call a route with something wrong in the request, and with `bad_id` for every id."""
    method, path = route.split(maxsplit=1)
    headers = {**wrong.get("headers", {}), **who}
    path = path.replace("attachments/{}", "attachments/" + (bad_id or "1")).replace("{}", bad_id or "some")
    return client.request(method, path, **{**wrong, "headers": headers})


@ON_SQLITE
@pytest.mark.parametrize("all_callers", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_the_caller_is_judged_before_body_query_cursor_and_path(
    client: TestClient, world: World, all_callers: bool
) -> None:
    """Each route with each fault, by a caller without a good token: one of them, by turns, or all."""
    nobodies = world.without_a_good_token()
    for place, (route, rule) in enumerate(ROUTES.items()):
        scope = scope_of(rule)
        if scope is None:
            continue
        lacking = world.key_without(scope)
        tries = [(wrong, None) for wrong in JUDGED_LATER] + [
            ("no body", bad_id) for bad_id in BAD_IDS.values()
        ]
        for turn, (wrong, bad_id) in enumerate(tries, start=place):
            case = (route, wrong, bad_id)
            for name in nobodies if all_callers else [list(nobodies)[turn % len(nobodies)]]:
                answer = _badly(client, route, JUDGED_LATER[wrong], bad_id, nobodies[name])
                assert answer.status_code == 401, (*case, name)
                assert "errors" not in answer.json(), (*case, name)
            answer = _badly(client, route, JUDGED_LATER[wrong], bad_id, lacking)
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), case


@ON_SQLITE
def test_who_is_no_administrator_is_told_that_first(client: TestClient, world: World) -> None:
    user = world.callers["others"]
    for route in (route for route, rule in ROUTES.items() if isinstance(rule, ForAdministrators)):
        for wrong, values in JUDGED_LATER.items():
            answer = _badly(client, route, values, None, user)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (route, wrong)


LISTS: dict[str, tuple[str, Action]] = {
    "/connectors": ("id", Action.SEE_SHORT),
    "/group-bindings": ("connector_id", Action.BIND_GROUPS),
    "/messages": ("connector_id", Action.READ_CONTENT),
    "/quarantine": ("connector_id", Action.READ_CONTENT),
    "/submissions": ("connector_id", Action.SEND),
    "/events": ("data.connector_id", Action.SEE_EVENTS),
}
"""Lists without a filter: which field of a row names its connector, and what their rows take."""


@pytest.mark.parametrize("path", LISTS)
def test_a_list_holds_what_the_caller_may_see_and_nothing_else(
    client: TestClient, world: World, path: str
) -> None:
    field, action = LISTS[path]
    assert ROUTES[f"GET {path}"] is action
    ids = {world.objects(kind)["connector"]: kind for kind in KINDS}
    for caller, headers in world.callers.items():
        rows = client.get(path, headers=headers).json()["data"]
        seen = {ids.get(_value(row, field), "elsewhere") for row in rows} - {"elsewhere"}
        assert seen == _allowed(action, caller), caller


def test_the_counts_hold_what_the_caller_may_see_and_nothing_else(client: TestClient, world: World) -> None:
    ids = {world.objects(kind)["connector"]: kind for kind in KINDS}
    for caller, headers in world.callers.items():
        rows = client.get("/messages/counts", headers=headers).json()["connectors"]
        seen = {ids.get(row["connector_id"], "elsewhere") for row in rows} - {"elsewhere"}
        assert seen == _allowed(Action.READ_CONTENT, caller), caller


def test_a_stream_holds_what_the_caller_may_see_and_nothing_else(client: TestClient, world: World) -> None:
    ids = {world.objects(kind)["connector"]: kind for kind in KINDS}
    for caller, headers in world.callers.items():
        text = client.get("/events/stream", headers=headers).text
        seen = {kind for connector_id, kind in ids.items() if connector_id in text}
        assert seen == _allowed(Action.SEE_EVENTS, caller), caller


@pytest.mark.parametrize("chosen_by", ["state", "ids"])
def test_a_deletion_by_filter_takes_only_what_the_caller_may_delete(
    client: TestClient, world: World, gateway: Gateway, chosen_by: str
) -> None:
    for caller, headers in world.callers.items():
        objects = {kind: world.objects(kind) for kind in KINDS}
        ids = [each["message"] for each in objects.values()]
        body = {"state": "new"} if chosen_by == "state" else {"ids": ids}
        answer = client.post("/messages/delete", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        gone = {kind for kind in KINDS if not _count(gateway, objects[kind]["connector"])}
        assert gone == _allowed(Action.WRITE_CONTENT, caller), caller
        for kind in gone:
            world.forget(kind)


def test_content_is_found_only_by_who_reads_it(client: TestClient, world: World) -> None:
    for kind in KINDS:
        world.objects(kind)
    for caller, headers in world.callers.items():
        found = client.get("/messages", params={"q": "offer.pdf File"}, headers=headers).json()["data"]
        readable = client.get("/messages", headers=headers).json()["data"]
        assert {row["id"] for row in found} <= {row["id"] for row in readable}, caller
        words = client.get("/messages", params={"q": "see there"}, headers=headers).json()["data"]
        assert len(words) == len(_allowed(Action.READ_CONTENT, caller)), caller


def test_an_answer_to_a_foreign_message_is_refused_like_one_to_an_absent_message(
    client: TestClient, world: World
) -> None:
    mine, foreign, absent = world.objects("personal"), world.objects("shared"), world.objects("absent")
    answers = [
        client.post(
            "/submissions",
            json={"connector_id": mine["connector"], "to": ["eva@firma.cz"], "in_reply_to": each["message"]},
            headers=world.callers["owner"],
        )
        for each in (foreign, absent)
    ]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert _comparable(answers[0]) == _comparable(answers[1])


def _allowed(action: Action, caller: str) -> set[str]:
    return {kind for kind in KINDS if TABLE.outcome(kind, action, CALLER_COLUMNS[caller]) == "yes"}


def _comparable(answer: Answer) -> Any:
    """Body and headers, but for what is another one in each answer."""
    body = answer.json()
    assert body.pop("request_id") == answer.headers["x-request-id"]
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return body, headers


def _count(gateway: Gateway, connector_id: str) -> int:
    with gateway.db.reading() as session:
        statement = select(func.count()).where(col(Message.connector_id) == connector_id)
        return int(session.execute(statement).scalar_one())


def _value(row: Mapping[str, Any], field: str) -> Any:
    value: Any = row
    for name in field.split("."):
        value = value[name]
    return value
