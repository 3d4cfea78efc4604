"""Notices that other processes have committed to the same database.

On PostgreSQL, the other processes send NOTIFY, and a connection of this module listens (LISTEN). SQLite has no such messages,
so this module reads `PRAGMA data_version` a few times a second. The value shows, without a lock, whether another connection has
committed.

While the connection is lost, `is_heard` is false. When it is back, `missed` is called once for everything in between.
"""

import contextlib
import select
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import structlog
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)

RECONNECT_S = 2.0
LOOK_S = 0.25
"""How often the thread looks, on SQLite."""
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A connection that only listens sends nothing, so only the kernel notices that its other end has gone."""


class Notifications:
    """For PostgreSQL. Calls `heard` with the text of each NOTIFY on the channel, and `missed` when it may have missed some."""

    def __init__(
        self, url: str, channel: str, *, heard: Callable[[str], None], missed: Callable[[], None]
    ) -> None:
        self._engine = create_engine(
            url,
            poolclass=NullPool,  # the connection does not count among those for requests
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args=KEEPALIVE,
        )
        self._channel = channel
        self._heard, self._missed = heard, missed
        self._stop_reader, self._stop_writer = socket.socketpair()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)
        self.is_heard = False

    def start(self) -> None:
        """Start a thread that listens."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._stopping.set()
        self._stop_writer.send(b"x")
        self._thread.join()
        self._stop_reader.close()
        self._stop_writer.close()
        self._engine.dispose()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (SQLAlchemyError, psycopg.Error, OSError) as exc:
                log.warning("notifications_lost", error=type(exc).__name__)
                self._stopping.wait(RECONNECT_S)
            finally:
                self.is_heard = False

    def _listen(self) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"LISTEN {self._channel}")
            driver: Any = connection.connection.driver_connection
            self.is_heard = True
            self._missed()
            while not self._stopping.is_set():
                for notification in driver.notifies(timeout=0):
                    self._heard(notification.payload)
                select.select([driver.fileno(), self._stop_reader], [], [])


class DataVersion:
    """For SQLite. Calls `missed` after commits of other connections, in this process or another."""

    def __init__(self, path: Path, *, missed: Callable[[], None]) -> None:
        self._path = path
        self._missed = missed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="data-version", daemon=True)
        self.is_heard = False

    def start(self) -> None:
        """Start a thread that looks."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
            except sqlite3.Error as exc:
                log.warning("data_version_lost", error=type(exc).__name__)
                self._stopping.wait(RECONNECT_S)
            finally:
                self.is_heard = False

    def _look(self) -> None:
        with contextlib.closing(
            sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=rw", uri=True)
        ) as connection:
            known: object = None
            while not self._stopping.is_set():
                [version] = connection.execute("PRAGMA data_version").fetchone()
                self.is_heard = True
                if version != known:
                    known = version
                    self._missed()
                self._stopping.wait(LOOK_S)
