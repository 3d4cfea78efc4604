"""What `make audit` makes of a report: a package that nobody could be asked about is not a clean one."""

import json

from tools.audit import NOT_ASKED, NOTHING_FOUND, WEAK, read, status_of

CLEAN = {"name": "a", "version": "1", "vulns": []}
WEAKNESS = {"id": "PYSEC-1", "fix_versions": ["2"], "aliases": [], "description": "long"}
BAD = {"name": "b", "version": "1", "vulns": [WEAKNESS]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


def report(*dependencies: object) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_a_weakness_is_named_with_the_version_that_mends_it() -> None:
    found = read(report(CLEAN, BAD, UNKNOWN), "")
    assert found.checked == 2
    assert found.weaknesses == ["b 1: PYSEC-1, mended in 2"]
    assert status_of([found]) == WEAK


def test_what_could_not_be_asked_is_named_and_is_no_success() -> None:
    found = read(report(CLEAN, UNKNOWN), "No known vulnerabilities found")
    assert found.not_asked == ["c: Dependency not found on PyPI"]
    assert status_of([found]) == NOT_ASKED


def test_without_a_report_the_reason_is_told() -> None:
    found = read("", "ERROR: first\nERROR: could not connect to pypi.org")
    assert found.not_asked == ["ERROR: could not connect to pypi.org"]
    assert status_of([read(report(CLEAN), ""), found]) == NOT_ASKED


def test_only_everything_checked_is_a_success() -> None:
    assert status_of([read(report(CLEAN), "")]) == NOTHING_FOUND
