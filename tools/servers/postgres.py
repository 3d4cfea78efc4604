"""A real PostgreSQL for tests: each test takes a database of its own; a crash is a SIGKILL, as in life.

TEST_POSTGRES_URL (postgresql+psycopg://…, of a role that may create databases) names one that runs already.
"""

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from tools.servers.postgres_copies import Original, original, restore
from tools.servers.process import (
    ServerFailed,
    command_as,
    end,
    free_port,
    is_alive,
    server_account,
    start,
    wait_until,
    within_reach,
    work_folder,
)
from tools.servers.unpack import POSTGRESQL, installed_folder, library_path, unpacked

START_TIMEOUT_S = 60.0
# One database for a test run, thrown away after it: small, quiet, without the compiler that is not unpacked.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "jit": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "log_statement": "none",
}


class Postgres:
    """A PostgreSQL on a free loopback port. Use as a context manager, or `start` and `stop`.

    `durable` keeps fsync on, for tests that measure; a SIGKILL of the server alone loses nothing either way.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._names = itertools.count(1)
        self._spare: dict[str, list[str]] = {}
        self._originals: dict[str, Original] = {}
        self._password = secrets.token_hex(16)
        given = os.environ.get("TEST_POSTGRES_URL")
        self._given = make_url(given) if given else None
        self.port = 0

    @property
    def managed(self) -> bool:
        """Whether the server is ours to kill and restart; False for the one TEST_POSTGRES_URL names."""
        return self._given is None

    @property
    def url(self) -> URL:
        """The server's maintenance database."""
        if self._given is not None:
            return self._given
        return URL.create("postgresql+psycopg", "tests", self._password, "127.0.0.1", self.port, "postgres")

    def start(self) -> Self:
        """Create a new cluster and start it. Raises ServerMissing if there is no PostgreSQL."""
        if self.managed:
            self._account = server_account()
            self._folder = work_folder("postgres-", self._account)
            try:
                self._locate(self._folder)
                self._lay_out(self._folder)
                self._start_on_free_port(self._folder)
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """End the server and forget its databases; of a given server nothing is ended."""
        if self._process is not None:
            end(self._process, with_signal=signal.SIGINT, grace_s=10)  # SIGINT: fast shutdown, drops clients
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What tests use

    def new_database(self, template: str | None = None) -> str:
        """Create a database; its SQLAlchemy URL, password included.

        It is empty, or a copy of the database whose URL is `template` (a migrated one, say), which must have
        no connections then.
        """
        name = self._new_name()
        # template0 has no other clients, so creating from it never waits for one to leave.
        source = (make_url(template).database if template else None) or "template0"
        with self._maintenance() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
            )
        return self._url_of(name)

    def drop(self, url: str) -> None:
        """Drop a database that `new_database` made, even if clients are still connected to it."""
        name = make_url(url).database
        if name is None or not name.startswith("test_"):
            raise ValueError(f"not a database of new_database: {name}")
        with self._maintenance() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def borrow(self, template: str) -> str:
        """A copy of the database whose URL is `template`: one that was given back, or a new one."""
        spare = self._spare.setdefault(template, [])
        if spare:
            return spare.pop()
        url = self.new_database(template)
        if template not in self._originals:
            with psycopg.connect(_plain(url), autocommit=True) as connection:
                self._originals[template] = original(connection)
        return url

    def give_back(self, url: str, template: str) -> None:
        """Make a borrowed database what it was, for the next one: quicker than to drop it and to copy anew. It gets a new name,
        so nobody who still knows the old one comes back. If its schema has changed, it is dropped."""
        with contextlib.suppress(psycopg.Error, ServerFailed):
            url = self._renamed(url)
            with psycopg.connect(_plain(url), autocommit=True, connect_timeout=5) as connection:
                if restore(connection, self._originals[template]):
                    self._spare[template].append(url)
                    return
        self.drop(url)

    def _renamed(self, url: str) -> str:
        """End the clients of a database and give it another name; its new URL."""
        old, new = make_url(url).database or "", self._new_name()
        with self._maintenance() as connection:
            clients = "FROM pg_stat_activity WHERE datname = %s"
            connection.execute(f"SELECT pg_terminate_backend(pid) {clients}", [old])
            wait_until(
                lambda: connection.execute(f"SELECT count(*) {clients}", [old]).fetchone() == (0,),
                10,
                "clients to leave",
            )
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            connection.execute(rename.format(sql.Identifier(old), sql.Identifier(new)))
        return self._url_of(new)

    def _new_name(self) -> str:
        return f"test_{os.getpid()}_{next(self._names)}_{secrets.token_hex(4)}"

    def _url_of(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new database, dropped at the end."""
        url = self.new_database()
        try:
            yield url
        finally:
            self.drop(url)

    def kill(self) -> None:
        """Send SIGKILL to the server and its sessions at once, like a crash: nothing is flushed, clients get no message."""
        process = self._ours()
        sessions = _children(process.pid)
        for pid in (process.pid, *sessions):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        self._process = None
        # A new server refuses the data folder while one of the old sessions still holds the shared memory.
        wait_until(lambda: not any(is_alive(pid) for pid in sessions), 10, "PostgreSQL's sessions to end")

    def restart(self) -> None:
        """Start again on the same port with the same data: after `kill`, otherwise after a fast shutdown."""
        if not self.managed or self._folder is None:
            raise ServerFailed("the PostgreSQL of TEST_POSTGRES_URL is not ours to restart")
        if self._process is not None:
            end(self._process, with_signal=signal.SIGINT, grace_s=10)
        if not self._is_up_on(self._folder, self.port):
            raise ServerFailed(f"PostgreSQL did not start again:\n{self.log()}")

    def log(self) -> str:
        """What the server has printed so far; empty for a given server."""
        file = self._folder / "output.log" if self._folder else None
        return file.read_text(errors="replace") if file and file.exists() else ""

    # Starting and ending

    def _ours(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailed("no PostgreSQL of ours runs")
        return self._process

    def _maintenance(self) -> psycopg.Connection[tuple[object, ...]]:
        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def _locate(self, folder: Path) -> None:
        installed = installed_folder(POSTGRESQL)
        if installed is not None:
            self._programs, self._environment = installed, {}
            return
        # PostgreSQL finds its files relative to its program, so no path needs mapping.
        tree = within_reach(unpacked(POSTGRESQL), self._account, folder)
        self._programs = next(tree.glob("usr/lib/postgresql/*/bin"))
        self._environment = {"LD_LIBRARY_PATH": library_path(tree)}

    def _lay_out(self, folder: Path) -> None:
        password_file = folder / "password"
        password_file.write_text(self._password)
        if os.geteuid() == 0:
            os.chown(password_file, self._account.uid, self._account.gid)
        password_file.chmod(0o600)
        command: list[str | Path] = [
            self._programs / "initdb",
            "--pgdata",
            folder / "data",
            "--username",
            "tests",
            "--pwfile",
            password_file,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
            "--no-sync",
        ]
        done = subprocess.run(
            command_as(self._account, command),
            capture_output=True,
            check=False,
            cwd=folder,
            env={**os.environ, **self._environment},
        )
        if done.returncode:
            raise ServerFailed(f"initdb: {done.stderr.decode(errors='replace')}")

    def _start_on_free_port(self, folder: Path) -> None:
        for _ in range(3):
            if self._is_up_on(folder, free_port()):
                return
            if "could not bind" not in self.log() and "in use" not in self.log():
                break
        raise ServerFailed(f"PostgreSQL did not start:\n{self.log()}")

    def _is_up_on(self, folder: Path, port: int) -> bool:
        self.port = port
        durability = "on" if self._durable else "off"
        settings = {
            **SETTINGS,
            "port": str(port),
            "unix_socket_directories": str(folder),
            "fsync": durability,
            "full_page_writes": durability,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self._programs / "postgres", "-D", folder / "data", *options]
        # SIGQUIT is PostgreSQL's immediate shutdown: what a test run leaves behind needs no care.
        process = start(command, self._account, folder, die_with="QUIT", environment=self._environment)
        self._process = process
        with contextlib.suppress(ServerFailed):
            wait_until(lambda: process.poll() is not None or self._answers(), START_TIMEOUT_S, "PostgreSQL")
        return process.poll() is None and self._answers()

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), self._maintenance() as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
        return False


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _children(parent: int) -> list[int]:
    """The pids whose parent is the given one; PostgreSQL's sessions leave its process group, not its family."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # "pid (name) state parent …": the name may hold spaces and brackets.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found
