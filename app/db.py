"""The database: the engine, the sessions, and the only place that owns transactions. No queries here.

`store_errors` turns the drivers' errors into errors of ours, by their codes.

SQLite (the embedded default) runs in WAL mode with `synchronous=FULL`. After a mail has been moved to the trash, the
database holds its only durable copy, and `NORMAL` may lose the last commits in a power cut. Transactions that write
begin IMMEDIATE, so that none fails half-way because it cannot get the write lock. PostgreSQL runs READ COMMITTED. Its
`synchronous_commit` stays as the server sets it, but `off` becomes `on`.

Errors hide the parameters: these hold subjects, texts and ciphertexts, and errors end up in logs.

A commit that brings work wakes the workers (`wakeups`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from app import database_files, store_errors, wakeups
from app.adapters.commits_elsewhere import DataVersion, Notifications
from app.errors import StoreUnavailable
from app.wakeups import Topic, Wakeups

SQLITE_BUSY_TIMEOUT_MS = 30_000
IDLE_IN_TRANSACTION_S = 60
SQLITE_PAGE_OCTETS = 16_384
"""Large pages: mails are large values, and a batch of them commits a third faster than with pages of 4 kB."""


class _WritingSession(Session):
    """Records which work its transaction brings, so that the workers can be woken."""


event.listen(_WritingSession, "after_flush", wakeups.record_work)


class Database:
    """One engine and the two ways to use it: `unit_of_work()` writes, `reading()` reads."""

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url, pool_size) if self.is_sqlite else _postgres_engine(url, pool_size)
        store_errors.translate(self.engine)
        # A writing transaction takes SQLite's write lock at BEGIN; on PostgreSQL both engines do the same.
        self._write_engine = self.engine.execution_options(gateway_writes=True)
        self.wakeups = Wakeups()
        self._others: Notifications | DataVersion | None = None

    @contextmanager
    def unit_of_work(self) -> Iterator[Session]:
        """One transaction. It is committed when the block ends, and rolled back when the block raises. No network call inside.

        Raises:
            StoreUnavailable, ValueRefused
        """
        with _a_connection_in_time(), _WritingSession(self._write_engine, expire_on_commit=False) as session:
            with session.begin():
                yield session
                session.flush()
                topics = wakeups.work_of(session)
                if topics and not self.is_sqlite:
                    told = self.wakeups.told(topics)
                    session.execute(select(func.pg_notify(wakeups.CHANNEL, told)))
            self.wakeups.wake(topics)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads, on SQLite from one snapshot. Changes are rolled back."""
        with _a_connection_in_time(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    def listen(self) -> None:
        """Notice the commits of other processes, too, from now on."""
        path = database_files.path_of(self.url)
        if not self.is_sqlite:
            self._others = Notifications(
                self.url, wakeups.CHANNEL, heard=self.wakeups.hear, missed=self._wake_all
            )
        elif path is not None:
            self._others = DataVersion(path, missed=self._wake_all)
        if self._others is not None:
            self._others.start()

    @property
    def hears_others(self) -> bool:
        """Whether the commits of other processes wake the workers of this one too. If not, these must look by themselves."""
        return self._others is not None and self._others.is_heard

    def close(self) -> None:
        if self._others is not None:
            self._others.stop()
        self.engine.dispose()

    def _wake_all(self) -> None:
        self.wakeups.wake(Topic)


@contextmanager
def _a_connection_in_time() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as exc:  # all connections are in use
        raise StoreUnavailable from exc


def _postgres_engine(url: str, pool_size: int) -> Engine:
    engine = create_engine(
        url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: object) -> None:
        with dbapi_connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            # Our transactions wait for nothing. If one waits, its process has stopped, and its locks would block all
            # others.
            cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s'")
            # An operator who wants speed may have set the default to `off`, which loses the last commits in a crash.
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )
        dbapi_connection.commit()

    return engine


def _sqlite_engine(url: str, pool_size: int) -> Engine:
    engine = create_engine(url, pool_size=pool_size, max_overflow=pool_size, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None  # the driver must not begin transactions of its own
        cursor = dbapi_connection.cursor()
        # The page size takes effect only before the first table is created and before WAL is on.
        for pragma in (
            f"busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}",
            f"page_size = {SQLITE_PAGE_OCTETS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("gateway_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
