"""A served gateway for scripted servers, one for each file that uses it."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.scripted_mailbox import Connect, connected
from tests.support.served_gateway import served_gateway


@pytest.fixture(scope="module")
def served(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Its cycles run by command alone, and wait five seconds for an answer."""
    folder = tmp_path_factory.mktemp("bending")
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    limits = {
        "RUN_JOBS": "false",
        "POLL_INTERVAL_S": "3600",
        "COMMAND_TIMEOUT_S": "5",
        "MAX_MESSAGE_OCTETS": "2000000",
    }
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder, **limits) as made:
        yield made


@pytest.fixture
def connect(served: httpx.Client) -> Connect:
    """Makes a connector of a server."""
    return partial(connected, served)
