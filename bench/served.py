"""The world in which abuse is measured: a prepared SQLite database, and `imap-gateway serve` on a copy of it."""

import contextlib
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from app.adapters.identity import development_token
from app.config import Settings
from app.ids import new_id
from bench.mails import mails
from bench.ordinary import CALLERS, Caller
from tools.servers.dovecot import Dovecot
from tools.servers.process import ServerFailed, end, free_port, wait_until
from tools.servers.smtp import SmtpServer

START_S = 120.0
MAILS = 200
COPIES = 40
"""How many messages there are of each mail, so that a search takes long."""
LARGE_OCTETS = 30_000_000
GROUP = "office"
OWNER = "jana"
ABUSER = "mallory"


@dataclass(frozen=True)
class Server:
    """A mail server in a connector's settings."""

    host: str
    port: int
    username: str

    def body(self) -> dict[str, object]:
        """As the API takes it."""
        return {"host": self.host, "port": self.port, "security": "none", "username": self.username}


@dataclass(frozen=True)
class World:
    """A running gateway, and what is known about its content."""

    client: httpx.Client
    port: int
    dovecot: Dovecot
    smtp: SmtpServer
    settings: Settings
    folder: Path
    user: str
    """The owner's user name at the Dovecot."""
    connector_id: str = ""
    """The owner's connector."""
    large_id: str = ""
    message_ids: tuple[str, ...] = ()
    end_cursor: str = ""
    """Of the list of messages: nothing that an ordinary caller may see comes after it."""

    def token(self, user: str, *, admin: bool = False) -> str:
        """A user's token; all are in the one group."""
        claims = {"sub": user, "groups": [GROUP], "roles": ["admin"] if admin else []}
        return development_token(self.settings, claims=claims, ttl_s=7200)

    def call(self, method: str, path: str, user: str, body: object = None) -> Any:
        """Ask as the user; the answer's JSON, None without one. An administrator has the name `admin`."""
        token = self.token(user, admin=user == "admin")
        answer = self.client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def connector(self, owner: str, imap: Server, smtp: Server | None = None, *, poll_interval_s: int) -> str:
        """Create a personal connector; its id."""
        body = {
            "name": imap.username,
            "kind": "personal",
            "owner": owner,
            "email_address": imap.username,
            "imap": imap.body(),
            "smtp": smtp.body() if smtp is not None else None,
            "first_fetch": "all",
            "credentials": {"type": "password", "password": self.dovecot.password},
            "poll_interval_s": poll_interval_s,
        }
        return str(self.call("POST", "/connectors", owner, body)["id"])

    def callers(self) -> list[Caller]:
        """The ordinary callers, with what each asks for: a list, nothing new, one message, health."""
        return [
            Caller(
                self.token(f"user{number}"),
                (
                    "/messages?limit=20",
                    f"/messages?after={self.end_cursor}",
                    f"/messages/{self.message_ids[number % len(self.message_ids)]}",
                    "/health/live",
                ),
            )
            for number in range(CALLERS)
        ]


def prepare(dovecot: Dovecot, smtp: SmtpServer, folder: Path) -> World:
    """Fill a database in the folder: a shared mailbox with mails, and the owner's, which is looked at each second."""
    settings = Settings(
        database_url=f"sqlite:///{folder}/gateway.db",
        secret_keys=secrets.token_urlsafe(32),
        jwt_secret=secrets.token_urlsafe(32),
        allowed_private_networks="127.0.0.0/8",
    )
    empty = World(httpx.Client(), 0, dovecot, smtp, settings, folder, dovecot.new_user())
    with served(empty) as world:
        info = dovecot.new_user()
        dovecot.deliver_all(info, [*mails(MAILS), _large_mail()])
        body = {
            "name": "info",
            "kind": "shared",
            "email_address": "info@firma.test",
            "imap": Server(dovecot.host, dovecot.port, info).body(),
            "first_fetch": "all",
            "poll_interval_s": 3600,
            "credentials": {"type": "password", "password": dovecot.password},
        }
        shared_id = world.call("POST", "/connectors", "admin", body)["id"]
        world.call("POST", "/group-bindings", "admin", {"connector_id": shared_id, "group": GROUP})
        world.call("POST", f"/connectors/{shared_id}/fetch", "admin")
        found, _ = _all_messages(world)
        large = max(found, key=lambda message: message["size_octets"])
        ids = tuple(message["id"] for message in found if message["size_octets"] < 100_000)
        connector_id = world.connector(
            OWNER,
            Server(dovecot.host, dovecot.port, world.user),
            Server(smtp.host, smtp.port, world.user),
            poll_interval_s=1,
        )
        world.call("POST", f"/connectors/{connector_id}/fetch", OWNER)
    _copy_messages(folder / "gateway.db")
    return replace(empty, connector_id=connector_id, large_id=large["id"], message_ids=ids)


@dataclass(frozen=True)
class Process:
    """A running gateway."""

    client: httpx.Client
    port: int
    pid: int


@contextlib.contextmanager
def serve(folder: Path, database_url: str, settings: Settings, **more: str) -> Iterator[Process]:
    """Run `imap-gateway serve` on the database; ends with the block. Its log is in the folder. `more`: further settings, by their
    names without the prefix."""
    port = free_port()
    assert settings.jwt_secret is not None
    values = {
        "DATABASE_URL": database_url,
        "SECRET_KEYS": settings.secret_keys[0].get_secret_value(),
        "JWT_SECRET": settings.jwt_secret.get_secret_value(),
        "ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
        **more,
    }
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("imap-gateway"), "serve", "--port", str(port)],
            cwd=folder,
            env={**os.environ, **{f"GATEWAY_{name}": value for name, value in values.items()}},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
            wait_until(lambda: _is_live(client) or process.poll() is not None, START_S, "the gateway")
            if process.poll() is not None:
                raise RuntimeError(log.read_text(errors="replace"))
            yield Process(client, port, process.pid)
    finally:
        end(process, grace_s=10)


@contextlib.contextmanager
def served(world: World) -> Iterator[World]:
    """Serve the database in the world's folder; ends with the block."""
    url = f"sqlite:///{world.folder}/gateway.db"
    with serve(world.folder, url, world.settings) as process:
        yield replace(world, client=process.client, port=process.port)


@contextlib.contextmanager
def served_copy(world: World, name: str) -> Iterator[World]:
    """Serve a copy of the prepared database, which is deleted afterwards."""
    folder = world.folder / name
    folder.mkdir()
    for file in world.folder.glob("gateway.db*"):
        shutil.copy(file, folder)
    try:
        with served(replace(world, folder=folder)) as running:
            yield replace(running, end_cursor=_all_messages(running)[1])
    finally:
        shutil.rmtree(folder)


def _is_live(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/health/live").status_code == 200
    return False


def _large_mail() -> bytes:
    header = "From: a@firma.test\r\nTo: info@firma.test\r\nSubject: large\r\n"
    head = header + "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + (b"QUFB" * 19 + b"\r\n") * (LARGE_OCTETS // 78)


def _all_messages(world: World) -> tuple[list[dict[str, Any]], str]:
    """The messages of the group, and the cursor at their end."""
    found: list[dict[str, Any]] = []
    path = "/messages?limit=200"
    while True:
        page = world.call("GET", path, OWNER)
        found += page["data"]
        path = f"/messages?limit=200&after={page['next_cursor']}"
        if not page["has_more"]:
            return found, page["next_cursor"]


def _copy_messages(database: Path) -> None:
    """Add copies of the small messages, straight in the tables: fetching as many would take minutes."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        small = [dict(row) for row in connection.execute("SELECT * FROM messages WHERE size_octets < 100000")]
        position = connection.execute("SELECT last_position FROM feed").fetchone()[0]
        for number in range(1, COPIES):
            for message in small:
                position += 1
                new = {
                    **message,
                    "id": new_id(),
                    "position": position,
                    "uid": message["uid"] + number * 100_000,
                    "sha256": secrets.token_hex(32),
                }
                _insert(connection, "messages", new)
                body = connection.execute(
                    "SELECT * FROM message_bodies WHERE message_id = ?", (message["id"],)
                ).fetchone()
                _insert(connection, "message_bodies", {**dict(body), "message_id": new["id"]})
        connection.execute("UPDATE feed SET last_position = ?", (position,))
        connection.commit()


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    columns = ", ".join(f'"{name}"' for name in row)
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(row.values()))


def seconds_until(condition: Callable[[], object], timeout_s: float, what: str) -> float:
    """How long until the condition holds; ServerFailed when it does not in time."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > timeout_s:
            raise ServerFailed(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.05)  # asking is to cost the machine little
    return time.perf_counter() - started
