"""A frontend's page can call the API from a real browser only if `CORS_ORIGINS` contains its origin."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.gateway import Gateway
from app.main import create_app
from tests.browser.pages import Pages, page_server
from tests.support import stored_mail
from tests.support.callers import Callers
from tests.support.live_gateway import live_gateway, serving
from tests.support.settings import SettingsFactory
from tools.servers.browser import Tab

READER = Callers.user("jana", groups=["orders"])

CALL = """async ([method, url, headers, body]) => {
    try {
        const answer = await fetch(url, {method, headers, body: typeof body === "number" ? "x".repeat(body) : body})
        return {
            status: answer.status,
            headers: Object.fromEntries([...answer.headers]),
            text: await answer.text(),
        }
    } catch (error) { return String(error) }
}"""


@pytest.fixture
def served(settings: SettingsFactory, pages: Pages) -> Iterator[httpx.Client]:
    """The gateway, called by the pages of `pages`."""
    with live_gateway(settings(cors_origins=f"https://other.example,{pages.origin}")) as client:
        yield client


def call(
    tab: Tab, method: str, url: str, headers: dict[str, str] | None = None, body: str | int | None = None
) -> Any:
    """What a script of the tab's page gets to read: the answer, or the error's text. A number is a body of
    that size."""
    return tab.page.evaluate(CALL, [method, url, {**READER, **(headers or {})}, body])


@pytest.fixture
def frontend(tab: Tab, pages: Pages) -> Tab:
    """A tab that shows a page of the allowed origin."""
    tab.page.goto(pages.put("/", "<!DOCTYPE html><link rel=icon href=data:,>"))
    return tab


def test_an_allowed_page_calls_with_a_token_and_reads_the_answer(
    frontend: Tab, served: httpx.Client, gateway: Gateway
) -> None:
    at = stored_mail.connector(gateway, groups=["orders"])
    (message_id,) = stored_mail.store(gateway, at)
    answer = call(frontend, "GET", f"{served.base_url}/messages/{message_id}/source")
    assert answer["status"] == 200
    assert "Subject: Order" in answer["text"]
    assert answer["headers"]["etag"]
    assert answer["headers"]["content-disposition"].startswith("attachment")
    assert answer["headers"]["x-request-id"]
    json = {"Content-Type": "application/json"}
    changed = call(
        frontend, "PATCH", f"{served.base_url}/messages/{message_id}", json, '{"state":"processed"}'
    )
    assert changed["status"] == 200
    assert call(frontend, "DELETE", f"{served.base_url}/messages/{message_id}")["status"] == 204


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/messages", {"Authorization": "Bearer nonsense"}, None, 401),
        ("GET", "/api-keys", {}, None, 403),
        ("GET", "/messages/none", {}, None, 404),
        ("PUT", "/messages", {}, None, 405),
        ("POST", "/submissions", {"Content-Type": "application/json", "Idempotency-Key": "k"}, "{}", 422),
        ("POST", "/messages/delete", {"Content-Type": "application/json"}, 3_000_000, 413),
        ("GET", "/events", {"Last-Event-ID": "x"}, None, 200),
    ],
)
def test_an_allowed_page_reads_problems(
    frontend: Tab,
    served: httpx.Client,
    method: str,
    path: str,
    headers: dict[str, str],
    body: str | int | None,
    status: int,
) -> None:
    answer = call(frontend, method, f"{served.base_url}{path}", headers, body)
    assert answer["status"] == status, answer
    if status != 200:
        assert answer["headers"]["content-type"] == "application/problem+json"
        assert f'"request_id":"{answer["headers"]["x-request-id"]}"' in answer["text"]


def test_an_allowed_page_reads_that_the_gateway_failed(
    frontend: Tab, settings: SettingsFactory, pages: Pages
) -> None:
    app: FastAPI = create_app(settings(cors_origins=pages.origin))

    @app.get("/broken")
    def break_down() -> None:
        raise RuntimeError("a bug")

    with serving(app) as client:
        answer = call(frontend, "GET", f"{client.base_url}/broken")
    assert answer["status"] == 500
    assert '"code":"internal_error"' in answer["text"]
    assert "a bug" not in answer["text"]


def test_an_allowed_page_follows_the_stream_as_it_comes(frontend: Tab, served: httpx.Client) -> None:
    first = frontend.page.evaluate(
        """async ([url, headers]) => {
            const abort = new AbortController()
            const answer = await fetch(url, {headers, signal: abort.signal})
            const {value} = await answer.body.getReader().read()
            abort.abort()
            return new TextDecoder().decode(value)
        }""",
        [f"{served.base_url}/events/stream", READER],
    )
    assert first.startswith("retry: ")


def test_a_page_of_another_origin_reads_nothing(
    tab: Tab, served: httpx.Client, pages: Pages, gateway: Gateway
) -> None:
    at = stored_mail.connector(gateway, groups=["orders"])
    (message_id,) = stored_mail.store(gateway, at)
    with page_server() as others:
        tab.page.goto(others.put("/", "<!DOCTYPE html>"))
        for method, path in (("GET", "/messages"), ("DELETE", f"/messages/{message_id}")):
            assert call(tab, method, f"{served.base_url}{path}") == "TypeError: Failed to fetch"
    assert served.get(f"/messages/{message_id}", headers=READER).status_code == 200, "nor did it delete"


def test_without_the_setting_no_page_reads_anything(
    frontend: Tab, settings: SettingsFactory, pages: Pages
) -> None:
    with live_gateway(settings()) as served:
        assert call(frontend, "GET", f"{served.base_url}/messages") == "TypeError: Failed to fetch"
        allowed = served.get("/health/live", headers={"Origin": pages.origin})
    assert "access-control-allow-origin" not in allowed.headers
