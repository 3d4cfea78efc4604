"""The programs, and the document that the gateway serves."""

import json
from pathlib import Path

import pytest

from app import openapi_page
from tests.servers.fixtures import started_or_skipped
from tools.clients import install


@pytest.fixture(scope="session")
def node_packages(pytestconfig: pytest.Config) -> Path:
    """The folder whose `node_modules` has the programs for node."""
    return started_or_skipped(install.node_packages, pytestconfig)


@pytest.fixture(scope="session")
def client_generator(pytestconfig: pytest.Config) -> Path:
    """The program openapi-python-client."""
    return started_or_skipped(install.client_generator, pytestconfig)


@pytest.fixture(scope="session")
def document_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document, as `/openapi.json` serves it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(openapi_page.openapi_document(), ensure_ascii=False), encoding="utf-8")
    return path
