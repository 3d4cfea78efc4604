"""Connects alembic to the database through the gateway's own engine, so that the pragmas apply here too."""

from sqlmodel import SQLModel

import app.models  # noqa: F401  (fills the metadata)
from alembic import context
from app.db import Database

config = context.config

if context.is_offline_mode():
    raise SystemExit("The migrations need a database: they have no offline form.")

database = Database(config.attributes["database_url"])
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
finally:
    database.close()
