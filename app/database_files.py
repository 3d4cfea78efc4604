"""The files of an SQLite database: who may read them, and what deleted mail leaves in them.

They hold all mail, so only the service's user may read them, whatever the umask is. SQLite gives its `-wal` and `-shm` files
the mode of the database file. PostgreSQL keeps its own files: nothing here applies to it.
"""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import structlog
from sqlalchemy import make_url

from app import store_errors

log = structlog.get_logger(__name__)

PRIVATE = 0o600
SUFFIXES = ("", "-wal", "-shm", ".lock")
CHECKPOINT_WAIT_S = 1.0
"""The checkpoint holds the write lock while it waits for readers, so it gives up soon and is tried again."""


def path_of(database_url: str) -> Path | None:
    """The database file of an SQLite URL. None for PostgreSQL."""
    url = make_url(database_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def make_private(database_url: str) -> None:
    """Create the database file with mode 0600, and remove the rights of others from existing files. Logs each change."""
    path = path_of(database_url)
    if path is None:
        return
    if path.parent.is_dir() and not path.exists():
        path.touch(mode=PRIVATE)
    for suffix in SUFFIXES:
        narrow(path.with_name(path.name + suffix))


def narrow(path: Path) -> None:
    """Remove the rights of everybody except the owner from a file. A file that does not exist is skipped."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & ~PRIVATE:
            path.chmod(mode & PRIVATE)
            log.warning("file_made_private", file=path.name, mode_before=f"{mode:04o}")
    except FileNotFoundError:
        return
    except OSError as exc:  # the file belongs to another user
        log.warning("file_not_private", file=path.name, error=type(exc).__name__)


def forget_deleted(database_url: str) -> None:
    """Empty the write-ahead log: it keeps pages of deleted mail until other data overwrites them.

    In the database file itself, `secure_delete` overwrites deleted data. If readers or writers are busy for too long, the
    next call does this.
    """
    path = path_of(database_url)
    if path is None or not _has_content(path.with_name(path.name + "-wal")):
        return
    with closing(sqlite3.connect(path, timeout=CHECKPOINT_WAIT_S, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as exc:
            if store_errors.meaning_of(exc) is None:
                raise
            log.info("checkpoint_put_off", code=exc.sqlite_errorname)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
