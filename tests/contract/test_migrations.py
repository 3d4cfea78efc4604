"""The migrations make the tables of the models, and can be undone."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, Table, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError

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


def test_the_key_of_cursors_is_made_once_and_knows_the_end_of_the_feed(empty_url: str) -> None:
    command.upgrade(migrations.config_for(empty_url), "0012")
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE feed SET last_position = 41"))

    def keys() -> list[tuple[Any, ...]]:
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT id, key, last_plain_position, made_at FROM cursor_keys"))
            return [(row[0], bytes(row[1]), row[2], str(row[3])) for row in rows]

    # Two processes start at once. On PostgreSQL one of them may fail; it is started again.
    code = f"from app import migrations; migrations.upgrade({empty_url!r})"
    together = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) for _ in range(2)]
    assert 0 in [each.wait() for each in together]
    [made] = keys()
    assert (made[0], len(made[1]), made[2]) == (1, 64, 41)
    assert made[3] > "2026", "a process of before may still give out plain cursors"
    migrations.upgrade(empty_url)
    assert keys() == [made]
    engine.dispose()


def test_the_key_of_a_new_installation_is_old_since_it_never_had_plain_cursors(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        assert str(connection.execute(text("SELECT made_at FROM cursor_keys")).scalar_one()) < "2001"
    engine.dispose()


def test_upgrading_again_changes_nothing(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    migrations.upgrade(empty_url)
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        assert migrations.is_current(connection)
    engine.dispose()


def filled(table: Table, **values: Any) -> dict[str, Any]:
    """A row: these values, and something in every other column that must hold one."""
    by_type: dict[type, Any] = {
        int: 1,
        bool: True,
        str: "",
        datetime: datetime(2026, 1, 1, tzinfo=UTC),
        bytes: b"",
        object: [],
    }
    return {
        column.name: by_type[column.type.python_type]
        for column in table.columns
        if not column.nullable and column.name not in values
    } | values


def test_dropping_columns_deletes_no_row_and_what_is_sealed_stays_sealed_down_and_up(empty_url: str) -> None:
    config = migrations.config_for(empty_url)
    command.upgrade(config, "0004")
    engine = create_engine(empty_url)
    metadata = MetaData()
    metadata.reflect(engine)
    sealed_at = datetime(2026, 2, 1, tzinfo=UTC)
    rows: list[tuple[str, dict[str, Any]]] = [
        ("connectors", {"id": "c", "kind": "personal", "owner": "jana", "sealed_at": sealed_at}),
        ("credentials", {"connector_id": "c", "entered_by": "user:jana"}),
        ("messages", {"id": "m", "connector_id": "c"}),
        ("message_bodies", {"message_id": "m"}),
        ("server_messages", {"id": "s", "connector_id": "c", "message_id": "m"}),
        ("submissions", {"id": "u", "connector_id": "c"}),
        ("submission_recipients", {"id": 7, "submission_id": "u"}),
    ]
    with engine.begin() as connection:
        for name, values in rows:
            table = metadata.tables[name]
            connection.execute(table.insert(), filled(table, **values))
    engine.dispose()

    def counts() -> list[int]:
        with engine.connect() as connection:
            return [connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name, _ in rows]

    command.upgrade(config, "head")
    assert counts() == [1] * len(rows)
    command.downgrade(config, "0001")
    command.upgrade(config, "head")
    assert counts() == [1] * len(rows)
    sealed = Table("connectors", MetaData(), autoload_with=engine).columns["sealed_at"]
    with engine.connect() as connection:
        found = connection.execute(select(sealed)).scalar_one()
    assert (found if found.tzinfo else found.replace(tzinfo=UTC)) == sealed_at
    engine.dispose()


SOME_CONNECTOR = """
INSERT INTO connectors (id, name, kind, email_address, imap_host, imap_port, imap_security, imap_username, source_folder,
    processed_folder, poll_interval_s, status, paused, refused_logins, failed_attempts, last_error_code,
    last_error_detail, last_success_at, created_at, updated_at)
VALUES (:id, 'x', 'shared', 'x@firma.cz', 'imap.firma.cz', 993, 'tls', :id, 'INBOX', 'Trash', 60, :status, false, :refused,
    :refused, :code, :code, :success, '2026-01-01 00:00:00+00:00', '2026-01-02 00:00:00+00:00')
"""
SOME_CREDENTIAL = """
INSERT INTO credentials (connector_id, type, ciphertext) VALUES (:id, 'password', 'secret')
"""


def test_connectors_of_before_keep_their_state_and_learn_whether_they_can_send(empty_url: str) -> None:
    before, after = "2026-01-01 12:00:00+00:00", "2026-01-03 00:00:00+00:00"
    rows = [
        {"id": "good", "status": "active", "refused": 0, "code": None, "success": after},
        {"id": "fresh", "status": "active", "refused": 0, "code": None, "success": before},
        {"id": "refused", "status": "stopped", "refused": 3, "code": "login_refused", "success": after},
        {"id": "copies", "status": "stopped", "refused": 0, "code": "copy_not_removed", "success": after},
    ]
    config = migrations.config_for(empty_url)
    command.upgrade(config, "0007")
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text(SOME_CONNECTOR), rows)
        connection.execute(text(SOME_CREDENTIAL), [{"id": row["id"]} for row in rows])
    command.upgrade(config, "head")
    query = text(
        "SELECT id, sending_status, imap_logged_in_at IS NOT NULL, sending_error_code FROM connectors ORDER BY id"
    )
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(query)]
    assert found == [
        ("copies", "active", True, None),
        ("fresh", "active", False, None),
        ("good", "active", True, None),
        ("refused", "stopped", False, "login_refused"),
    ]
    command.downgrade(config, "0007")
    command.upgrade(config, "head")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM connectors")).scalar_one() == len(rows)
        assert connection.execute(text("SELECT count(*) FROM credentials")).scalar_one() == len(rows)
    engine.dispose()


def test_who_has_worked_has_the_mailbox_and_no_row_of_any_table_is_lost(empty_url: str) -> None:
    before, after = "2026-01-01 12:00:00+00:00", "2026-01-03 00:00:00+00:00"
    rows = [
        {"id": "good", "status": "active", "refused": 0, "code": None, "success": after},
        {"id": "paused", "status": "paused", "refused": 0, "code": None, "success": before},
        {"id": "moved", "status": "paused", "refused": 0, "code": None, "success": before},
        {"id": "never", "status": "active", "refused": 0, "code": None, "success": None},
        {"id": "bare", "status": "active", "refused": 0, "code": None, "success": after},
        {"id": "refused", "status": "stopped", "refused": 2, "code": "login_refused", "success": after},
    ]
    config = migrations.config_for(empty_url)
    command.upgrade(config, "0011")
    engine = create_engine(empty_url)
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.begin() as connection:
        connection.execute(text(SOME_CONNECTOR), rows)
        connection.execute(text("UPDATE connectors SET baseline_at = created_at WHERE id = 'paused'"))
        connection.execute(text("UPDATE connectors SET external_id = id"))
        _fill_all(connection, metadata, "good")
        others = [{"id": row["id"]} for row in rows if row["id"] not in {"bare", "good"}]
        connection.execute(text(SOME_CREDENTIAL), others)

    def all_rows() -> dict[str, list[Any]]:
        with engine.connect() as connection:
            return {
                table.name: sorted(map(str, connection.execute(select(table))))
                for table in metadata.sorted_tables
                if table.name != "alembic_version"
            }

    stored = all_rows()
    assert all(stored.values()), stored
    command.upgrade(config, "head")
    assert all_rows() == stored
    with engine.connect() as connection:
        query = text("SELECT id FROM connectors WHERE logged_in_at IS NOT NULL ORDER BY id")
        assert connection.execute(query).scalars().all() == ["good", "paused"]
        if engine.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
            with pytest.raises(IntegrityError):
                connection.execute(
                    text(SOME_CONNECTOR.replace("'shared'", "'personal'")), rows[0] | {"id": "x"}
                )
    command.downgrade(config, "0011")
    assert all_rows() == stored
    command.upgrade(config, "head")
    assert all_rows() == stored
    engine.dispose()


def _fill_all(connection: Connection, metadata: MetaData, connector_id: str) -> None:
    """Put a row into each table that is empty. It refers to this connector, and to the other new rows."""
    keys = {"connectors": connector_id}
    for table in metadata.sorted_tables:
        if table.name in {"alembic_version", "connectors", "feed"}:
            continue
        values: dict[str, Any] = {}
        for column in table.columns:
            for foreign in column.foreign_keys:
                values[column.name] = keys[foreign.column.table.name]
        connection.execute(table.insert(), filled(table, **values))
        [key, *_] = table.primary_key.columns
        keys[table.name] = connection.execute(select(key)).scalar_one()
