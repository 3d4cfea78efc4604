"""Connects alembic to the database through the gateway's own engine, so that the pragmas apply here too."""

from typing import Any

from sqlalchemy import event
from sqlmodel import SQLModel

import app.models  # noqa: F401  (fills the metadata)
from alembic import context
from app.db import Database

config = context.config

if context.is_offline_mode():
    raise SystemExit("The migrations need a database: they have no offline form.")


def _without_foreign_keys(dbapi_connection: Any, _record: object) -> None:
    """SQLite can change a constraint only by making the table anew (https://sqlite.org/lang_altertable.html §7). With foreign
    keys on, dropping the old table would delete all that refers to its rows. Within a transaction this has no effect."""
    dbapi_connection.execute("PRAGMA foreign_keys = OFF")


database = Database(config.attributes["database_url"])
if database.is_sqlite:
    event.listen(database.engine, "connect", _without_foreign_keys)
try:
    with database.unit_of_work() as session:
        context.configure(
            connection=session.connection(),
            target_metadata=SQLModel.metadata,
            render_as_batch=database.is_sqlite,
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        if database.is_sqlite:
            lost = session.connection().exec_driver_sql("PRAGMA foreign_key_check").all()
            if lost:
                raise SystemExit(
                    f"The migration would leave {len(lost)} rows that refer to nothing: nothing was changed."
                )
finally:
    database.close()
