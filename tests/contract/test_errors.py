"""Every error has a status, a code of its own and a sentence that may go outwards."""

from collections.abc import Iterator

import pytest

from app import errors
from app.error_guide import page as error_page
from app.error_guide import quarantine as reasons
from app.problems import status_of
from app.services.fetching import quarantine
from tests.support.settings import ROOT

INTERNAL = {errors.GatewayError, errors.MailServerError}
"""Branches that are never raised themselves."""


def subclasses(branch: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    for leaf in branch.__subclasses__():
        yield leaf
        yield from subclasses(leaf)


ALL = sorted(set(subclasses(errors.GatewayError)), key=lambda error: error.__name__)


@pytest.mark.parametrize("error", ALL)
def test_every_error_has_a_status(error: type[errors.GatewayError]) -> None:
    status = status_of(error)
    assert status is not None
    assert 400 <= status <= 504


@pytest.mark.parametrize("error", ALL)
def test_every_error_has_a_code_and_a_sentence(error: type[errors.GatewayError]) -> None:
    assert error.code.replace("_", "").isalnum()
    assert error.code == error.code.lower()
    assert error.default_detail.endswith((".", "?"))


def test_no_two_leaves_share_a_code() -> None:
    shared_with_branch = {errors.Conflict}
    codes = [error.code for error in ALL if error not in shared_with_branch]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", ALL)
def test_an_error_that_asks_for_patience_is_retryable(error: type[errors.GatewayError]) -> None:
    if status_of(error) in {429, 503, 504}:
        assert error.retryable


@pytest.mark.parametrize("error", ALL)
def test_the_tree_at_the_top_of_the_file_names_every_error(error: type[errors.GatewayError]) -> None:
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def test_the_guide_has_an_entry_for_each_code_and_no_other() -> None:
    made_by_framework = {"method_not_allowed"}
    assert set(error_page.entries()) == {error.code for error in ALL} | {"internal_error"} | made_by_framework


def test_no_code_stands_in_two_sections_of_the_guide() -> None:
    assert sum(map(len, error_page.SECTIONS.values())) == len(error_page.entries())


def test_the_guide_says_what_to_do_for_each_reason_of_the_quarantine() -> None:
    assert set(reasons.TO_DO) == set(quarantine.DETAILS)


def test_the_page_of_errors_is_fresh() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert page == error_page.markdown(), "stale; run: python -m tools.errors"
