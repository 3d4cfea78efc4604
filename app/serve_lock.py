"""Allows one `serve` with jobs on a SQLite file: two would fetch from the same mailboxes and wait for one write lock.

The lock is on a file beside the database. The kernel holds it for as long as the process lives, so a killed process
leaves no lock behind. It is never on the database file itself: SQLite's own locks there end when the process closes any
descriptor of that file.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app import database_files
from app.errors import StoreInUse

WAIT_S = 15.0
"""How long a new process waits for the old one to stop, so that a restart may overlap a little."""
LOOK_EACH_S = 0.2


@contextmanager
def only_server(database_url: str, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the right to run jobs on this database while the block runs. PostgreSQL does not need it: it has leases.

    Raises:
        StoreInUse: another process has held it for `wait_s`.
    """
    path = database_files.path_of(database_url)
    if path is None:
        yield
        return
    with open(f"{path}.lock", "w", opener=_open_private) as file:
        _acquire(file.fileno(), wait_s)
        yield


def _acquire(descriptor: int, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StoreInUse from None
            time.sleep(LOOK_EACH_S)
        else:
            return


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=database_files.PRIVATE)
