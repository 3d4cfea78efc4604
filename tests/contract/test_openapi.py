"""The documentation says what the program does."""

from collections.abc import Iterator
from typing import Any

import pytest

from app import openapi_page
from app.openapi_page import METHODS
from app.services.access.rules import SCOPES
from app.who_may import ROUTES, Special, route_name, who_may
from tests.support.settings import ROOT


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_page.openapi_document()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield route_name(method, path), item[method]


def test_the_page_is_fresh(document: dict[str, Any]) -> None:
    page = (ROOT / "openapi.md").read_text(encoding="utf-8")
    assert page == openapi_page.render(document), "stale; run: imap-gateway openapi > openapi.md"


def test_every_route_has_a_rule_and_every_rule_a_route(document: dict[str, Any]) -> None:
    assert {name for name, _ in operations(document)} == set(ROUTES)


def test_every_rule_can_be_said(document: dict[str, Any]) -> None:
    for rule in ROUTES.values():
        assert who_may(rule)
        if isinstance(rule, Special):
            assert rule.scope in SCOPES.values()


def test_every_route_is_described_and_has_a_tag(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation.get("description"), name
        assert operation.get("tags"), name


def test_the_document_does_not_depend_on_the_settings_of_the_process(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_JWT_JWKS_URL", "https://idp.example/keys")
    monkeypatch.setenv("GATEWAY_POLL_INTERVAL_S", "7")
    assert openapi_page.openapi_document() == document
