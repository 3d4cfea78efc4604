"""Tickets for the event stream, at a served gateway and another instance on its database."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import clock
from app.config import Settings
from tests.support.callers import JWT_SECRET, bearer, user_token
from tests.support.listening import ADMINISTRATOR, Listener, something_happens
from tests.support.live_gateway import live_gateway
from tests.support.served_gateway import served_gateway
from tools.servers.process import wait_until

WAIT_S = 60.0
NOBODY: dict[str, str] = {}
TEN_MINUTES_S = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tickets")


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[httpx.Client]:
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder, LOG_LEVEL="debug") as client:
        yield client


@pytest.fixture(scope="module")
def other(gateway: httpx.Client, folder: Path) -> Iterator[httpx.Client]:
    """Another instance; the first one runs the jobs."""
    assert gateway
    settings = Settings(
        database_url=f"sqlite:///{folder / 'gateway.db'}",
        secret_keys="first-secret-key-of-the-tests-and-long-enough",
        jwt_secret=JWT_SECRET,
        run_jobs=False,
    )
    with live_gateway(settings) as client:
        yield client


def new_ticket(gateway: httpx.Client, headers: dict[str, str] = ADMINISTRATOR) -> dict[str, Any]:
    answer = gateway.post("/events/stream-tickets", headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert set(found) == {"ticket", "expires_at"}
    return found


def lifetime_s(ticket: dict[str, Any]) -> float:
    return (datetime.fromisoformat(ticket["expires_at"]) - clock.utc_now()).total_seconds()


def refused(gateway: httpx.Client, ticket: str) -> bool:
    with gateway.stream("GET", "/events/stream", params={"ticket": ticket}) as answer:
        return answer.status_code == httpx.codes.UNAUTHORIZED


def test_a_ticket_opens_the_stream_and_a_newer_stream_ends_the_older_one_which_gets_nothing_more(
    gateway: httpx.Client, other: httpx.Client
) -> None:
    ticket = new_ticket(gateway)
    assert TEN_MINUTES_S - WAIT_S < lifetime_s(ticket) <= TEN_MINUTES_S
    here = Listener(gateway, NOBODY, ticket=ticket["ticket"], after="latest")
    something_happens(gateway)
    wait_until(lambda: here.events() != [], WAIT_S, "the event")
    [cursor] = [line.removeprefix("id: ") for line in here.lines if line.startswith("id: ")][1:2]
    for instance in (gateway, other):
        newer = Listener(instance, {"Last-Event-ID": cursor}, ticket=ticket["ticket"], after="latest")
        given = here.events()
        something_happens(gateway)
        wait_until(lambda newer=newer: newer.events() != [], WAIT_S, "the event")  # type: ignore[misc]
        wait_until(here.has_ended, WAIT_S, "the end of the older stream")
        assert here.events() == given
        assert not newer.has_ended()
        here = newer
    assert refused(gateway, ticket["ticket"]) is False, "it is still good"


def test_a_ticket_ends_with_its_key(gateway: httpx.Client) -> None:
    body = {"name": "k", "scopes": ["events:read"]}
    key = gateway.post("/api-keys", json=body, headers=ADMINISTRATOR).json()
    tickets = [new_ticket(gateway, bearer(key["key"]))["ticket"] for _ in range(2)]
    stream = Listener(gateway, NOBODY, ticket=tickets[0])
    gateway.delete(f"/api-keys/{key['id']}", headers=ADMINISTRATOR).raise_for_status()
    assert [refused(gateway, ticket) for ticket in tickets] == [True, True]
    given = stream.events()
    something_happens(gateway)
    wait_until(stream.has_ended, WAIT_S, "the end of the stream")
    assert stream.events() == given


def test_a_ticket_ends_with_its_token_and_so_does_its_stream(gateway: httpx.Client) -> None:
    ends = int(time.time()) + 20
    token = bearer(user_token("eva", admin=True, exp=ends))
    ticket = new_ticket(gateway, token)
    assert datetime.fromisoformat(ticket["expires_at"]).timestamp() == ends
    stream = Listener(gateway, NOBODY, ticket=ticket["ticket"])
    wait_until(stream.has_ended, WAIT_S, "the end of the stream")
    assert ends <= time.time() + 1
    assert refused(gateway, ticket["ticket"])
    late = gateway.post("/events/stream-tickets", headers=token)
    assert late.status_code == httpx.codes.UNAUTHORIZED, (
        "a token is accepted 30 s longer, but gives no ticket"
    )


def test_a_ticket_opens_nothing_else(gateway: httpx.Client) -> None:
    ticket = new_ticket(gateway)["ticket"]
    for method, path in (
        ("GET", "/events"),
        ("GET", "/messages"),
        ("GET", "/connectors"),
        ("GET", "/audit"),
        ("POST", "/events/stream-tickets"),
    ):
        for query, headers in (({"ticket": ticket}, NOBODY), ({}, bearer(ticket))):
            answer = gateway.request(method, path, params=query, headers=headers)
            assert answer.status_code == httpx.codes.UNAUTHORIZED, path
        with_both = gateway.request(method, path, params={"ticket": ticket}, headers=ADMINISTRATOR)
        assert with_both.status_code == httpx.codes.UNPROCESSABLE_ENTITY, path
    with gateway.stream("GET", "/events/stream", headers=bearer(ticket)) as answer:
        assert answer.status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize("wrong", ["", "x", "gwt_" + "A" * 43, "\u010d", "gwk_aaaaaaaa_" + "A" * 43])
def test_a_wrong_ticket_is_refused_whatever_token_comes_with_it(gateway: httpx.Client, wrong: str) -> None:
    for headers in (NOBODY, ADMINISTRATOR):
        with gateway.stream("GET", "/events/stream", params={"ticket": wrong}, headers=headers) as answer:
            assert answer.status_code == httpx.codes.UNAUTHORIZED


def test_a_key_without_the_scope_gets_no_ticket(gateway: httpx.Client) -> None:
    body = {"name": "k", "scopes": ["messages:read"]}
    key = gateway.post("/api-keys", json=body, headers=ADMINISTRATOR).json()["key"]
    answer = gateway.post("/events/stream-tickets", headers=bearer(key))
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


def test_a_refused_request_does_not_end_the_stream_of_its_ticket(gateway: httpx.Client) -> None:
    ticket = new_ticket(gateway)["ticket"]
    stream = Listener(gateway, NOBODY, ticket=ticket, after="latest")
    with gateway.stream("GET", "/events/stream", params={"ticket": ticket, "after": "no cursor"}) as answer:
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    something_happens(gateway)
    wait_until(lambda: stream.events() != [], WAIT_S, "the event")
    assert not stream.has_ended()


def test_a_ticket_is_written_nowhere(gateway: httpx.Client, folder: Path) -> None:
    ticket = new_ticket(gateway)["ticket"]
    assert not refused(gateway, ticket)
    queries = [{"ticket": ticket, "after": "no cursor"}, {"ticket": ticket, "unknown": "1"}]
    answers = [gateway.get("/events/stream", params=query).text for query in queries]
    answers += [gateway.get("/events", params=query).text for query in queries]
    answers.append(gateway.get("/audit", headers=ADMINISTRATOR).text)
    secret = ticket.removeprefix("gwt_")
    assert not any(secret in answer for answer in answers)
    files = [path for path in folder.iterdir() if path.is_file()]
    assert folder / "gateway.log" in files
    assert b"/events/stream" in (folder / "gateway.log").read_bytes()
    assert [path.name for path in files if secret.encode() in path.read_bytes()] == []
