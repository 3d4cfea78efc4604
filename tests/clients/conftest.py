"""The programs, and the document that the gateway serves."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app import openapi_page
from tests.support.served_gateway import served_gateway
from tools.clients import install


@pytest.fixture(scope="session")
def node_packages(pytestconfig: pytest.Config) -> Path:
    """The folder whose `node_modules` has the programs for node."""
    from tests.servers.fixtures import started_or_skipped  # a plugin, which pytest imports first

    return started_or_skipped(install.node_packages, pytestconfig)


@pytest.fixture(scope="session")
def client_generator(pytestconfig: pytest.Config) -> Path:
    """The program openapi-python-client."""
    from tests.servers.fixtures import started_or_skipped  # a plugin, which pytest imports first

    return started_or_skipped(install.client_generator, pytestconfig)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The gateway, served for all clients."""
    folder = tmp_path_factory.mktemp("served")
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder) as client:
        yield client


@pytest.fixture(scope="session")
def document_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document, as `/openapi.json` serves it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(openapi_page.openapi_document(), ensure_ascii=False), encoding="utf-8")
    return path
