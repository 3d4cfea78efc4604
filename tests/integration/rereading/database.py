"""The database that the last version with reader 1 left behind, loaded into SQLite and PostgreSQL."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Boolean, Column, DateTime, MetaData, create_engine, make_url, text

from alembic import command
from app import migrations

SECRET_KEY = "the key of a database that reader 1 filled: for tests alone"
DATA = Path(__file__).resolve().parents[2] / "data"
REVISION = "0002"
"""Of its schema."""


def load_old_database(url: str) -> None:
    """Fill an empty database with what the version with reader 1 left; its schema is not upgraded."""
    dump = (DATA / "reader_1.sql").read_text(encoding="utf-8")
    if make_url(url).get_backend_name() == "sqlite":
        with sqlite3.connect(str(make_url(url).database)) as connection:
            connection.executescript(dump)
        connection.close()
        return
    command.upgrade(migrations.config_for(url), REVISION)
    with sqlite3.connect(":memory:") as source:
        source.executescript(dump)
        source.row_factory = sqlite3.Row
        _copy(source, url)
    source.close()


def _copy(source: sqlite3.Connection, url: str) -> None:
    engine = create_engine(url)
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.begin() as target:
        target.execute(text("DELETE FROM feed"))
        for table in metadata.sorted_tables:
            rows = source.execute(f'SELECT * FROM "{table.name}"').fetchall()
            values = [
                {column.name: _value(column, row[column.name]) for column in table.columns} for row in rows
            ]
            if values and table.name != "alembic_version":
                target.execute(table.insert(), values)
    engine.dispose()


def _value(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, JSON):
        return json.loads(value)
    if isinstance(column.type, Boolean):
        return bool(value)
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(column.type, DateTime) else value


def multiply(url: str, times: int) -> None:
    """Store each message so many times more, under other ids and places: as many mails as take a while to read."""
    engine = create_engine(url)
    metadata = MetaData()
    metadata.reflect(engine, only=["messages", "message_bodies"])
    messages, bodies = metadata.tables["messages"], metadata.tables["message_bodies"]
    with engine.begin() as connection:
        rows = connection.execute(messages.select()).mappings().all()
        contents = {row["message_id"]: row for row in connection.execute(bodies.select()).mappings()}
        for number in range(1, times + 1):
            suffix = f"-{number:04}"
            connection.execute(
                messages.insert(),
                [
                    {
                        **row,
                        "id": row["id"] + suffix,
                        "uid": row["uid"] + 1000 * number,
                        "position": row["position"] + 1000 * number,
                    }
                    for row in rows
                ],
            )
            connection.execute(
                bodies.insert(),
                [{**contents[row["id"]], "message_id": row["id"] + suffix} for row in rows],
            )
        highest = max(row["position"] for row in rows) + 1000 * times
        connection.execute(text("UPDATE feed SET last_position = :highest"), {"highest": highest})
    engine.dispose()
