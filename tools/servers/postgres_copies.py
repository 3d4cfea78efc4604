"""A database gets the rows back that it had when it was copied from its template. Not if its schema has changed since."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[object, ...]]

# Each change of the schema writes a row of the catalogue anew, under another transaction. The first 16,383 are PostgreSQL's own.
SCHEMA = """
SELECT md5(string_agg(line, ',' ORDER BY line)) FROM (
  SELECT concat('class', oid, ' ', xmin) FROM pg_class WHERE oid > 16383
  UNION ALL SELECT concat('column', attrelid, ' ', attnum, ' ', xmin) FROM pg_attribute WHERE attrelid > 16383
  UNION ALL SELECT concat('constraint', oid, ' ', xmin) FROM pg_constraint WHERE oid > 16383
  UNION ALL SELECT concat('trigger', oid, ' ', xmin) FROM pg_trigger WHERE oid > 16383
  UNION ALL SELECT concat('function', oid, ' ', xmin) FROM pg_proc WHERE oid > 16383
  UNION ALL SELECT concat('setting', setconfig) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS lines (line)"""
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname"
RESTART_NUMBERS = "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence"


@dataclass(frozen=True)
class Original:
    """A fresh copy: a digest of its schema, and its rows as JSON, by table."""

    schema: object
    rows: dict[str, str]


def original(connection: Connection) -> Original:
    """Describe the database."""
    rows = {}
    for (table,) in connection.execute(TABLES).fetchall():
        query = sql.SQL("SELECT json_agg(t)::text FROM {} t").format(sql.Identifier(str(table)))
        rows[str(table)] = str(_value(connection, query) or "[]")
    return Original(_value(connection, SCHEMA), rows)


def restore(connection: Connection, fresh: Original) -> bool:
    """Make the database, which has no other clients, what it was. False: its schema has changed."""
    if _value(connection, SCHEMA) != fresh.schema:
        return False
    connection.execute("SET session_replication_role = replica")  # no foreign keys, no triggers
    with connection.transaction():
        for table, rows in fresh.rows.items():
            name = sql.Identifier(table)
            connection.execute(sql.SQL("DELETE FROM {}").format(name))
            if rows != "[]":
                again = sql.SQL("INSERT INTO {0} SELECT * FROM json_populate_recordset(NULL::{0}, {1})")
                connection.execute(again.format(name, sql.Literal(rows)))
        connection.execute(RESTART_NUMBERS)
    return True


def _value(connection: Connection, query: str | sql.Composed) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None
