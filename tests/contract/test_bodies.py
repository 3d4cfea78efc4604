"""How the body of a request enters a service: whole, as the schema that checked it; of a body with one field, the value."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.settings import ROOT

Route = ast.FunctionDef | ast.AsyncFunctionDef


def routes_with_body() -> Iterator[tuple[str, Route]]:
    for path in sorted((ROOT / "app" / "routers").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Route) and any(
                each.arg == "body" for each in [*node.args.args, *node.args.kwonlyargs]
            ):
                yield f"{path.name}:{node.name}", node


def taken_from_body(route: Route) -> set[str]:
    return {
        node.attr
        for node in ast.walk(route)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "body"
    }


ROUTES = dict(routes_with_body())


def test_there_are_routes_with_a_body() -> None:
    assert len(ROUTES) > 10


@pytest.mark.parametrize("route", ROUTES)
def test_a_body_is_not_taken_apart_before_its_service(route: str) -> None:
    taken = taken_from_body(ROUTES[route])
    assert len(taken) <= 1
    assert "model_dump" not in taken
