"""The ground every test stands on: a migrated database of its own, settings, the gateway, callers.

What needs a database runs twice, on SQLite and on PostgreSQL. The schema comes from the migrations, run once
for each database and worker; each test gets a copy.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from starlette.datastructures import State

from app.adapters.parser import ParserPool
from app.config import Settings
from app.gateway import Gateway
from app.main import assembled
from tests.support.callers import JWT_SECRET, Callers, KeyHeaders, UserHeaders
from tests.support.figures import FIGURES, TOTALS
from tests.support.schema import migrate
from tests.support.settings import ROOT, SettingsFactory

FETCH_THREADS = 2

pytest_plugins = ["tests.servers.fixtures", "tests.support.long_files"]

# A busy machine must not make a test fail: hypothesis would count slow examples as errors.
hypothesis_settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("busy")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would run on a second database although the database plays no part."""
    double = [
        item for item in items if item.get_closest_marker("any_database") and "[postgresql" in item.name
    ]
    config.hook.pytest_deselected(items=double)
    left_out = set(double)
    items[:] = [item for item in items if item not in left_out]


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """A test hands on what it counted, by way of its report: so that a run that is interrupted can tell it too."""
    item.user_properties.append(("figures", dict(FIGURES)))
    FIGURES.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take over what a test counted, in whichever process it ran."""
    for name, counted in report.user_properties if report.when == "teardown" else ():
        if name == "figures" and isinstance(counted, dict):
            TOTALS.update(counted)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what the tests have counted."""
    for name, count in sorted(TOTALS.items()):
        terminalreporter.write_line(f"{name}: {count}")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's own GATEWAY_… settings must not reach the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, for copying."""
    path = tmp_path_factory.mktemp("template") / "gateway.db"
    migrate(f"sqlite:///{path}")
    assert not path.with_name(path.name + "-wal").exists(), "the template must be checkpointed to be copied"
    return path


@pytest.fixture(scope="session")
def postgres_template(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated PostgreSQL database without connections, for copying."""
    url: str = request.getfixturevalue("postgres").new_database()
    migrate(url)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of the test's own: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "gateway.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    template = request.getfixturevalue("postgres_template")
    postgres = request.getfixturevalue("postgres")
    url = postgres.borrow(template)
    try:
        yield url
    finally:
        postgres.give_back(url, template)


@pytest.fixture
def settings(database_url: str) -> SettingsFactory:
    """Makes settings for the test's database; `settings(lease_s=1)` overrides."""

    def make(**overrides: Any) -> Settings:
        values: dict[str, Any] = {
            "database_url": database_url,
            "secret_keys": "first-secret-key-of-the-tests-and-long-enough",
            "jwt_secret": JWT_SECRET,
            "allowed_private_networks": "127.0.0.0/8,::1/128",
            "command_timeout_s": 5,
            "connect_timeout_s": 2,
            "lease_s": 5,
            "fetch_threads": FETCH_THREADS,
            "run_jobs": False,
        }
        return Settings(**{**values, **overrides})

    return make


class _KeptParsers(ParserPool):
    """Parser processes that outlive the gateway that is closed."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


@pytest.fixture(scope="session")
def _parsers() -> Iterator[ParserPool]:
    """For all tests: to start a parser process takes longer than to read most mails."""
    made = _KeptParsers(FETCH_THREADS)
    yield made
    made.end()


@pytest.fixture
def gateway(settings: SettingsFactory, _parsers: ParserPool) -> Iterator[Gateway]:
    """The gateway's parts over the test's database; no job runs."""
    with contextlib.closing(replace(Gateway.from_settings(settings()), parsers=_parsers)) as made:
        yield made


LOCAL = ("127.0.0.1", 50000)
"""Where requests of the test's client come from."""


@pytest.fixture(scope="session")
def _application() -> FastAPI:
    """The routes: the framework takes longer to resolve them than most tests take."""
    return assembled()


@pytest.fixture
def client(_application: FastAPI, settings: SettingsFactory, _parsers: ParserPool) -> Iterator[TestClient]:
    """The whole gateway over HTTP, on the same database as `gateway`; without a token. Only the routes and the parser processes
    are shared between tests."""
    _application.state = State({"gateway": replace(Gateway.from_settings(settings()), parsers=_parsers)})
    _application.middleware_stack = None  # it was built around another test's gateway
    with TestClient(_application, base_url="http://localhost", client=LOCAL) as made:
        yield made


@pytest.fixture
def callers(gateway: Gateway) -> Callers:
    """Headers of every kind of caller."""
    return Callers(gateway)


@pytest.fixture
def as_user() -> UserHeaders:
    """`as_user("jana", groups=["g"], admin=True)` gives the headers of a user."""
    return Callers.user


@pytest.fixture
def as_admin() -> dict[str, str]:
    """The headers of an administrator."""
    return Callers.user("administrator", admin=True)


@pytest.fixture
def as_key(callers: Callers) -> KeyHeaders:
    """`as_key(["messages:read"], connector_ids=[…])` stores an API key and gives its headers."""
    return callers.key


@pytest.fixture(scope="session")
def corpus() -> Path:
    """A folder of mails: the one that MAIL_CORPUS names, otherwise the one beside the repository, otherwise a skip."""
    named = os.environ.get("MAIL_CORPUS")
    folder = Path(named) if named else ROOT.parent / "shared" / "corpus"
    if folder.is_dir():
        return folder
    if named:
        pytest.fail(f"MAIL_CORPUS names no folder: {named}")
    pytest.skip("missing: a folder of mails (set MAIL_CORPUS)")
