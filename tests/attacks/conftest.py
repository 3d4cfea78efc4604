"""Attacks, one after the other, on one served gateway for each module: `imap-gateway serve` with its jobs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.world import Attacked
from tests.support.served_gateway import served_gateway
from tools.servers.scripted_imap import ScriptedImap
from tools.servers.smtp import SmtpServer


@pytest.fixture(scope="module")
def attacked(
    request: pytest.FixtureRequest, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacked]:
    """With the `SETTINGS` of the module, if it has any."""
    settings = getattr(request.module, "SETTINGS", {})
    folder = tmp_path_factory.mktemp("attacked")
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    with served_gateway(
        f"sqlite:///{folder / 'gateway.db'}", folder, POLL_INTERVAL_S="1", **settings
    ) as client:
        yield Attacked(client, folder)


@pytest.fixture
def imap() -> Iterator[ScriptedImap]:
    """The server of those who are attacked."""
    with ScriptedImap() as server:
        yield server


@pytest.fixture
def evil_imap() -> Iterator[ScriptedImap]:
    """A server of somebody else, that takes any password."""
    with ScriptedImap() as server:
        yield server


@pytest.fixture
def evil_smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server
