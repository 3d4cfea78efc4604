"""The parameters of a function show who owns the transaction: `session` is the caller's, `gateway` opens its own."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.settings import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef
NAME_OF = {"Session": "session", "Gateway": "gateway"}
OPENING = frozenset({"unit_of_work", "reading"})
ENDING = frozenset({"commit", "rollback", "begin", "begin_nested"})


def functions() -> Iterator[tuple[str, Function]]:
    for path in sorted((ROOT / "app" / "services").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def parameters(function: Function) -> list[ast.arg]:
    arguments = function.args
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def methods_called(function: Function) -> set[str]:
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return {called.attr for called in calls if isinstance(called, ast.Attribute)}


@pytest.mark.parametrize("annotation", NAME_OF)
def test_the_parameter_is_named_after_whose_transaction_it_is(annotation: str) -> None:
    taking = [
        (name, parameter.arg)
        for name, function in functions()
        for parameter in parameters(function)
        if parameter.annotation is not None and ast.unparse(parameter.annotation) == annotation
    ]
    assert len(taking) > 20
    assert [each for each in taking if each[1] != NAME_OF[annotation]] == []


def test_a_function_with_a_session_opens_no_other() -> None:
    with_session = [
        (name, function)
        for name, function in functions()
        if any(each.arg == "session" for each in parameters(function))
    ]
    assert len(with_session) > 20
    assert [name for name, function in with_session if methods_called(function) & OPENING] == []


def test_no_service_ends_a_transaction_itself() -> None:
    assert [name for name, function in functions() if methods_called(function) & ENDING] == []
