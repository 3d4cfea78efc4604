"""The migrations make the tables of the models, and can be undone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from alembic import command
from app import migrations


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
    else:
        yield request.getfixturevalue("postgres_url")


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_up_check_down_and_up_again(empty_url: str) -> None:
    config = migrations.config_for(empty_url)
    command.upgrade(config, "head")
    made = tables(empty_url)
    assert {"connectors", "messages", "server_messages", "events", "webhooks"} <= made
    command.check(config)
    command.downgrade(config, "base")
    assert tables(empty_url) == {"alembic_version"}
    command.upgrade(config, "head")
    assert tables(empty_url) == made
    command.check(config)


def test_the_feed_has_its_one_row(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, last_position FROM feed")).all() == [(1, 0)]
    engine.dispose()


def test_upgrading_again_changes_nothing(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    migrations.upgrade(empty_url)
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        assert migrations.is_current(connection)
    engine.dispose()
