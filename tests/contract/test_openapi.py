"""The documentation says what the program does."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from app import openapi_page
from app.body_examples import EXAMPLES
from app.error_guide import page as error_page
from app.openapi_document import METHODS, TAGS
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


def test_every_tag_and_parameter_is_described(document: dict[str, Any]) -> None:
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}
    assert used == set(TAGS)
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (name, parameter["name"])


def test_operations_have_names_of_their_own_that_say_what_they_do(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", name) for name in ids)


def test_the_names_of_objects_are_names_of_classes(document: dict[str, Any]) -> None:
    assert [
        name for name in document["components"]["schemas"] if not re.fullmatch(r"[A-Z][A-Za-z]+", name)
    ] == []


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in the document with its place."""
    if isinstance(node, dict):
        yield path, node
    for name, each in (
        node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else ())
    ):
        yield from nodes(each, f"{path}/{name}")


def test_every_time_says_that_it_is_one(document: dict[str, Any]) -> None:
    times = {
        f"{name}/{field}": shape
        for name, schema in document["components"]["schemas"].items()
        for field, shape in schema.get("properties", {}).items()
        if re.search(r"(_at|_until|_since|_before|_date|^time|date_header|^since)$", field)
    }
    assert len(times) > 30
    for name, shape in times.items():
        formats = {part.get("format") for part in shape.get("anyOf", [shape])} - {None}
        assert formats == {"date" if name == "FirstFetchSince/since" else "date-time"}, name


def test_errors_are_answers_with_the_problem_body_and_an_example_of_it(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and (name, status) != ("GET /health/ready", "503"):
                assert answer["$ref"].startswith("#/components/responses/"), (name, status)
    codes = {
        answer["content"]["application/problem+json"]["example"]["code"]
        for answer in document["components"]["responses"].values()
    }
    assert codes <= set(error_page.entries())


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    taking = {operation["operationId"] for _, operation in operations(document) if "requestBody" in operation}
    assert taking == set(EXAMPLES)


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    judged = 0
    for path, node in nodes(document):
        if "/example" in path:
            continue
        schema = node.get("schema", node)
        given = node.get("examples", [])
        values = [each["value"] for each in given.values()] if isinstance(given, dict) else list(given)
        values += [node["example"]] if "example" in node else []
        if values:
            validator = jsonschema_rs.validator_for(
                {**schema, "components": document["components"]}, validate_formats=True
            )
        for value in values:
            assert validator.is_valid(value), (
                path,
                value,
                [str(error) for error in validator.iter_errors(value)],
            )
            judged += 1
    assert judged > 50


def test_no_example_and_no_sample_made_of_a_schema_is_harmful(document: dict[str, Any]) -> None:
    for name, operation in EXAMPLES.items():
        for path, node in nodes({key: example["value"] for key, example in operation.items()}):
            assert node.get("poll_interval_s") is None or node["poll_interval_s"] >= 60, (name, path)
            assert not [field for field in node if field.startswith("delete_") and node[field] is not None], (
                name,
                path,
            )
            assert "first_fetch" not in node, "old mail stays where it is unless somebody decides"
            for field in ("host", "url", "email_address"):
                assert re.search(r"[/@.](example(\.com)?)(/|$)", node.get(field, ".example")), (name, path)
    for path, node in nodes(document["components"]["schemas"]):
        for field, shape in node.get("properties", {}).items() if "additionalProperties" in node else ():
            if field.startswith(("delete_", "rate_")):
                assert shape["examples"] == [None], (path, field)
            if field == "poll_interval_s":
                assert shape["examples"] == [60], path
