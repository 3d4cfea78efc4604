"""Why the database cannot be used, in one sentence for the person who starts the service.

The errors of libpq while it connects have no code and are in the server's language. So the gateway asks PostgreSQL
again, over its maintenance database, with the same login.
"""

import os
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

SETTING = "see GATEWAY_DATABASE_URL"
CONNECT_TIMEOUT_S = 5
MAINTENANCE_DATABASE = "postgres"


def why_unusable(database_url: str) -> str:
    """A sentence for people, without the password. Looks at the file, or connects to the server."""
    url = make_url(database_url)
    return _about_file(url) if url.get_backend_name() == "sqlite" else _about_server(url)


def _about_file(url: URL) -> str:
    path = Path(url.database or "")
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {folder} for the database does not exist; {SETTING}."
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return f"This user may not read and write the database {path}; {SETTING}."
    if not os.access(folder, os.W_OK):
        return f"This user may not write into the folder {folder} of the database; {SETTING}."
    return f"The database {path} cannot be used: it is locked by another process or damaged; {SETTING}."


def _about_server(url: URL) -> str:
    where = f"{url.host or 'the local socket'}:{url.port or 5432}"
    try:
        with psycopg.connect(
            host=url.host,
            port=url.port,
            user=url.username,
            password=str(url.password) if url.password is not None else None,
            dbname=MAINTENANCE_DATABASE,
            connect_timeout=CONNECT_TIMEOUT_S,
        ) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            exists = connection.execute(query, [url.database]).fetchone()
    except psycopg.Error:
        return f"PostgreSQL at {where} cannot be reached, or refuses the login; {SETTING}."
    if exists is None:
        return f"PostgreSQL at {where} has no database {url.database}; create it (createdb {url.database}), or {SETTING}."
    return f"The database {url.database} at {where} cannot be used at the moment; {SETTING}."
