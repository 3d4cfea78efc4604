"""What every answer carries, whatever route and outcome."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace
from structlog.testing import capture_logs

from app.gateway import Gateway
from app.main import create_app
from app.middleware import DEFAULT_HEADERS
from tests.support import stored_mail
from tests.support.callers import Callers
from tests.support.each_case import each_case
from tests.support.settings import SettingsFactory

pytestmark = pytest.mark.any_database

READER = Callers.user("jana", groups=["orders"])


@each_case(
    ("path", "headers", "status"),
    [
        ("/messages", READER, 200),
        ("/messages", {}, 401),
        ("/api-keys", READER, 403),
        ("/no-such-route", READER, 404),
        ("/messages?limit=x", READER, 422),
        ("/health/live", {}, 200),
        ("/openapi.json", {}, 200),
    ],
)
def test_json_is_kept_by_nobody_and_is_no_page(
    client: TestClient, path: str, headers: dict[str, str], status: int
) -> None:
    answer = client.get(path, headers=headers)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in DEFAULT_HEADERS} == DEFAULT_HEADERS
    assert len(answer.headers["x-request-id"]) == 32


def test_an_answer_may_say_otherwise(client: TestClient, gateway: Gateway) -> None:
    at = stored_mail.connector(gateway, groups=["orders"])
    (message_id,) = stored_mail.store(gateway, at)
    source = client.get(f"/messages/{message_id}/source", headers=READER)
    assert source.headers["cache-control"] == "private, no-store"
    assert source.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert source.headers["x-frame-options"] == "DENY"
    script = client.get("/docs/swagger-ui-bundle.js")
    assert script.headers["cache-control"] == "public, max-age=3600"
    assert script.headers["x-content-type-options"] == "nosniff"


def test_html_names_what_it_may_load(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script>" not in page.text


@pytest.mark.parametrize(
    "path", ["/redoc", "/docs/oauth2-redirect", "/docs/redoc.standalone.js", "/docs/../x"]
)
def test_nothing_else_is_served_to_browsers(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_answer_to_a_bug_has_its_id_and_its_line_in_the_log(settings: SettingsFactory) -> None:
    app: FastAPI = create_app(settings())

    @app.get("/broken")
    def break_down() -> None:
        raise RuntimeError("hunter2")

    with TestClient(app, raise_server_exceptions=False) as client, capture_logs() as logged:
        answer = client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert {name: answer.headers.get(name) for name in DEFAULT_HEADERS} == DEFAULT_HEADERS
    (line,) = (entry for entry in logged if entry["event"] == "request")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/broken", 500)
    assert "hunter2" not in answer.text + str(logged)


@each_case(
    ("method", "path", "headers", "code"),
    [
        ("GET", "/messages", {}, "unauthenticated"),
        ("GET", "/no-such-route", READER, "not_found"),
        ("PUT", "/messages", READER, "method_not_allowed"),
        ("GET", "/api-keys", READER, "forbidden"),
        ("GET", "/messages?limit=x", READER, "invalid_input"),
        ("POST", "/messages/delete", {**READER, "Content-Length": "99999999"}, "too_large"),
    ],
)
def test_the_type_of_a_problem_leads_to_its_code(
    client: TestClient, method: str, path: str, headers: dict[str, str], code: str
) -> None:
    problem = client.request(method, path, headers=headers).json()
    assert problem["code"] == code
    assert problem["type"] == f"/docs/errors#{code}"
    page = client.get(problem["type"])
    assert page.status_code == 200
    assert f'id="{code}"' in page.text


def test_the_type_of_a_problem_is_absolute_where_the_public_address_is_known(
    settings: SettingsFactory,
) -> None:
    with TestClient(create_app(settings(public_url="https://mail.example.com/gateway"))) as client:
        problem = client.get("/messages").json()
    assert problem["type"] == "https://mail.example.com/gateway/docs/errors#unauthenticated"


def test_the_page_of_errors_loads_nothing_and_runs_nothing(client: TestClient) -> None:
    page = client.get("/docs/errors")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in page.text
    assert "`" not in page.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/credential-links/TOKEN/"),
        ("GET", "/messages/"),
        ("GET", "/docs/"),
        ("GET", "/health/live/"),
    ],
)
def test_a_slash_too_many_is_no_route_and_leads_nowhere(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, headers={"Host": "evil.example"}, follow_redirects=False)
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


def test_requests_are_in_no_trace_whatever_telemetry_the_process_has(
    settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Spans()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with TestClient(create_app(settings())) as client:
        client.get("/messages", params={"q": "secret"}, headers=READER)
    assert provider.asked == []


class Spans(trace.TracerProvider):
    """Notes who asks for a tracer."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_tracer(self, instrumenting_module_name: str, *_: Any, **__: Any) -> trace.Tracer:
        self.asked.append(instrumenting_module_name)
        return trace.NoOpTracer()
