"""The order in which files of tests are handed to the workers: a long one that comes last keeps one of them busy alone."""

import pytest

LONG_FILES = (
    "integration/rereading/test_rereading.py",
    "integration/sending/test_sending.py",
    "integration/sending/test_refusals.py",
    "integration/sending/test_fairness.py",
    "integration/test_fault_table.py",
    "integration/fetching/test_fetch_faults.py",
    "crash/test_crash_points.py",
    "integration/connectors/test_told_as_it_is.py",
    "integration/fetching/test_promise_online.py",
    "integration/connectors/test_credential_pages.py",
    "walks/test_document.py",
    "walks/test_every_route.py",
    "deploy/test_wheel.py",
    "integration/fetching/test_corpus.py",
    "integration/test_starting.py",
    "integration/test_secret_rotation.py",
    "contract/test_migrations.py",
    "integration/fetching/test_bending_servers.py",
    "integration/fetching/test_leases.py",
    "integration/test_mails_read_right.py",
    "integration/test_canaries.py",
    "integration/test_cli.py",
    "integration/connectors/test_logins_at_once.py",
    "crash/test_power_cut.py",
    "agreement/test_agreement.py",
    "integration/test_demo.py",
)
"""Below `tests/`, the longest first. The order changes no result."""
_PLACES = {f"tests/{name}": place for place, name in enumerate(LONG_FILES)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; all others stay in their order."""
    items.sort(key=lambda item: _PLACES.get(item.nodeid.partition("::")[0], len(_PLACES)))
