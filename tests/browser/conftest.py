"""What a browser sees does not depend on the database: these tests run on SQLite alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.pages import Pages, page_server


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database of the test's own."""
    path = tmp_path / "gateway.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def pages() -> Iterator[Pages]:
    """The pages of a frontend, at another origin than the gateway's."""
    with page_server() as made:
        yield made
