"""The ground every test stands on: a migrated database of its own, settings, the gateway, callers.

What needs a database runs twice, on SQLite and on PostgreSQL. The schema comes from the migrations, run once
for each database and worker; each test gets a copy.

The gateway is imported where it is used: the process that only hands out the tests to workers does not need it, and it
takes seconds.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.figures import FIGURES, TOTALS

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from app.adapters.parser import ParserPool
    from app.config import Settings
    from app.gateway import Gateway
    from tests.support.callers import Callers, KeyHeaders, UserHeaders
    from tests.support.settings import SettingsFactory

FETCH_THREADS = 2
FIXTURES_OF_SERVERS = "tests.servers.fixtures"

pytest_plugins = ["tests.support.long_files"]


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what runs tests."""
    if _hands_out(config):
        return
    config.pluginmanager.import_plugin(FIXTURES_OF_SERVERS)
    from hypothesis import HealthCheck
    from hypothesis import settings as hypothesis_settings

    # A busy machine must not make a test fail: hypothesis would count slow examples as errors.
    hypothesis_settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis_settings.load_profile("busy")


def _hands_out(config: pytest.Config) -> bool:
    """Whether this process runs no test: its workers do."""
    return bool(config.getoption("tx", default=None)) and not hasattr(config, "workerinput")


def pytest_collection_finish() -> None:
    """Take what is there now out of the garbage collector's sight: modules and tests stay to the end, and looking at them over
    and over again took a tenth of the time."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session", autouse=True)
def _statements_are_compiled_once() -> Iterator[None]:
    """Tests do not compile the SQL of each other again."""
    from tests.support.compiled_statements import compiled_once

    with compiled_once():
        yield


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, for copying."""
    from tests.support.schema import migrate_as_started

    path = tmp_path_factory.mktemp("template") / "gateway.db"
    migrate_as_started(f"sqlite:///{path}")
    assert not path.with_name(path.name + "-wal").exists(), "the template must be checkpointed to be copied"
    return path


@pytest.fixture(scope="session")
def postgres_template(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated PostgreSQL database without connections, for copying."""
    from tests.support.schema import migrate_as_started

    url: str = request.getfixturevalue("postgres").new_database()
    migrate_as_started(url)
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
    from app.config import Settings
    from tests.support.callers import JWT_SECRET

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


@pytest.fixture(scope="session")
def _parsers() -> Iterator[ParserPool]:
    """For all tests: to start a parser process takes longer than to read most mails."""
    from tests.support.kept_parsers import KeptParsers

    made = KeptParsers(FETCH_THREADS)
    yield made
    made.end()


@pytest.fixture
def gateway(settings: SettingsFactory, _parsers: ParserPool) -> Iterator[Gateway]:
    """The gateway's parts over the test's database; no job runs."""
    from app.gateway import Gateway

    with contextlib.closing(replace(Gateway.from_settings(settings()), parsers=_parsers)) as made:
        yield made


LOCAL = ("127.0.0.1", 50000)
"""Where requests of the test's client come from."""


@pytest.fixture(scope="session")
def _application() -> FastAPI:
    """The routes: the framework takes longer to resolve them than most tests take."""
    from app.main import assembled

    return assembled()


@pytest.fixture
def client(_application: FastAPI, settings: SettingsFactory, _parsers: ParserPool) -> Iterator[TestClient]:
    """The whole gateway over HTTP, on the same database as `gateway`; without a token. Only the routes and the parser processes
    are shared between tests."""
    from fastapi.testclient import TestClient
    from starlette.datastructures import State

    from app.gateway import Gateway

    _application.state = State({"gateway": replace(Gateway.from_settings(settings()), parsers=_parsers)})
    _application.middleware_stack = None  # it was built around another test's gateway
    with TestClient(_application, base_url="http://localhost", client=LOCAL) as made:
        yield made


@pytest.fixture
def callers(gateway: Gateway) -> Callers:
    """Headers of every kind of caller."""
    from tests.support.callers import Callers

    return Callers(gateway)


@pytest.fixture
def as_user() -> UserHeaders:
    """`as_user("jana", groups=["g"], admin=True)` gives the headers of a user."""
    from tests.support.callers import Callers

    return Callers.user


@pytest.fixture
def as_admin() -> dict[str, str]:
    """The headers of an administrator."""
    from tests.support.callers import Callers

    return Callers.user("administrator", admin=True)


@pytest.fixture
def as_key(callers: Callers) -> KeyHeaders:
    """`as_key(["messages:read"], connector_ids=[…])` stores an API key and gives its headers."""
    return callers.key


@pytest.fixture(scope="session")
def corpus() -> Path:
    """A folder of mails: the one that MAIL_CORPUS names, otherwise the one beside the repository, otherwise a skip."""
    named = os.environ.get("MAIL_CORPUS")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "corpus"
    if folder.is_dir():
        return folder
    if named:
        pytest.fail(f"MAIL_CORPUS names no folder: {named}")
    pytest.skip("missing: a folder of mails (set MAIL_CORPUS)")
