"""One `serve` with jobs on one SQLite file: two would fetch from the same mailboxes and wait for one write lock.

The lock lies on a file beside the database, held by the kernel for as long as the process lives: a killed one leaves
none behind. Never on the database file itself: SQLite's own locks there end with any descriptor that is closed.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app import database_files
from app.errors import StoreInUse

WAIT_S = 15.0
"""How long a new process waits for the old one to stop: a restart need not be exact."""
LOOK_EACH_S = 0.2


@contextmanager
def only_server(database_url: str, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the right to run jobs on this database while the block runs. PostgreSQL needs none: leases serve there.

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
