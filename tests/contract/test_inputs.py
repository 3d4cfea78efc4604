"""How data enter a service: the body and the query of a list whole, as the schema that checked them, which cannot be changed.
Of a body with one field, the service gets the value; of a query, the router reads what is its own affair."""

import ast
from collections.abc import Iterator

import pytest

from app.schemas.fields import Input, ListQuery
from tests.support.settings import ROOT

Route = ast.FunctionDef | ast.AsyncFunctionDef

OF_THE_ROUTER = {"after", "order", "wait_s", "connector_id"}
"""The cursor and its kind; how long the request waits, and for the mail of which connector."""


def routes_with(parameter: str) -> Iterator[tuple[str, Route]]:
    for path in sorted((ROOT / "app" / "routers").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Route) and any(
                each.arg == parameter for each in [*node.args.args, *node.args.kwonlyargs]
            ):
                yield f"{path.name}:{node.name}", node


def taken_from(parameter: str, route: Route) -> set[str]:
    return {
        node.attr
        for node in ast.walk(route)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == parameter
    }


WITH_BODY = dict(routes_with("body"))
LISTS = {name: route for name, route in routes_with("query") if name.partition(":")[2].startswith("list_")}


def test_there_are_routes_with_a_body_and_lists() -> None:
    assert len(WITH_BODY) > 10
    assert len(LISTS) > 9


@pytest.mark.parametrize("route", WITH_BODY)
def test_a_body_is_not_taken_apart_before_its_service(route: str) -> None:
    taken = taken_from("body", WITH_BODY[route])
    assert len(taken) <= 1
    assert "model_dump" not in taken


@pytest.mark.parametrize("route", LISTS)
def test_the_query_of_a_list_is_not_taken_apart_before_its_service(route: str) -> None:
    assert taken_from("query", LISTS[route]) <= OF_THE_ROUTER
    passed = [
        argument
        for call in ast.walk(LISTS[route])
        if isinstance(call, ast.Call)
        for argument in call.args
        if isinstance(argument, ast.Name) and argument.id == "query"
    ]
    assert passed, "the service of the list gets it whole"


def returned(route: Route) -> list[ast.expr]:
    """What a route returns, by its annotation or by its decorator."""
    return [*route.decorator_list, *([route.returns] if route.returns is not None else [])]


def test_every_list_has_a_query() -> None:
    lists = {
        f"{path.name}:{node.name}"
        for path in (ROOT / "app" / "routers").glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, Route) and "Page[" in "".join(map(ast.unparse, returned(node)))
    }
    assert lists == set(LISTS)


@pytest.mark.parametrize(
    "kind", [Input, ListQuery, *ListQuery.__subclasses__()], ids=lambda kind: kind.__name__
)
def test_what_has_been_checked_cannot_be_changed(kind: type[Input]) -> None:
    assert kind.model_config.get("frozen")
