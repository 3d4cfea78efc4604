"""The versions of the schema. The program runs alembic itself, so no configuration file is needed."""

from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from alembic import command

# In a checkout the scripts are beside `app`. In the wheel they are inside it, because a top-level package with the name
# `alembic` would collide with the library.
_PACKED = Path(__file__).resolve().parent / "migration_scripts"
SCRIPTS = _PACKED if _PACKED.is_dir() else Path(__file__).resolve().parents[1] / "alembic"


def config_for(database_url: str) -> Config:
    """Alembic's configuration for a database."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str) -> None:
    """Bring the schema to its newest version. Does nothing if it is there already."""
    command.upgrade(config_for(database_url), "head")


def is_current(connection: Connection) -> bool:
    """Whether the schema is at its newest version."""
    heads = ScriptDirectory(str(SCRIPTS)).get_heads()
    return set(MigrationContext.configure(connection).get_current_heads()) == set(heads)
