"""Cases that leave nothing behind: one test goes through all of them, in one gateway."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

Test = Callable[..., None]
SUBTESTS = "subtests"


def each_case(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Like `pytest.mark.parametrize`, for cases that change nothing: they share the fixtures of one test.

    Each case is a subtest: if one fails, the others run all the same, and the report names it. To make a gateway for each
    case takes ten times as long as its request.
    """
    named = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    rows = [dict(zip(named, case if len(named) > 1 else [case], strict=True)) for case in cases]
    assert rows

    def decorate(test: Test) -> Test:
        asked = inspect.signature(test).parameters
        shared = [each for name, each in asked.items() if name not in {*named, SUBTESTS}]
        own = inspect.Parameter(SUBTESTS, inspect.Parameter.KEYWORD_ONLY)

        @functools.wraps(test)
        def run(*args: Any, subtests: pytest.Subtests, **fixtures: Any) -> None:
            if SUBTESTS in asked:  # the test has cases of another kind as well
                fixtures[SUBTESTS] = subtests
            for row in rows:
                with subtests.test(**row):
                    test(*args, **fixtures, **row)

        vars(run)["__signature__"] = inspect.Signature([*shared, own])  # what pytest reads the fixtures from
        return run

    return decorate
