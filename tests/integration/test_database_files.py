"""What other users of the machine can read of the mail, and what is left of a deleted one: by the real command."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app import database_files
from tests.support.callers import bearer, user_token
from tests.support.connector_bodies import janas
from tests.support.served_gateway import served_gateway
from tools.servers.dovecot import Dovecot
from tools.servers.process import wait_until

ADMINISTRATOR = bearer(user_token("administrator", admin=True))
JANA = bearer(user_token("jana"))
CANARY = b"kanarek-in-the-subject-7781"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.glob("gateway.db*")}


def test_the_files_of_the_database_are_for_their_owner_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    with umask(0o022), served_gateway(url, tmp_path) as client:
        client.get("/health/ready").raise_for_status()
        assert modes(tmp_path) == dict.fromkeys(
            ["gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.lock"], 0o600
        )


def test_existing_files_are_narrowed_and_that_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    with umask(0o022):
        sqlite3.connect(path).close()
        path.touch()
    assert modes(tmp_path)["gateway.db"] == 0o644
    with served_gateway(f"sqlite:///{path}", tmp_path):
        assert set(modes(tmp_path).values()) == {0o600}
    log = (tmp_path / "gateway.log").read_text()
    assert '"file": "gateway.db", "mode_before": "0644"' in log


def test_a_deleted_mail_is_in_no_file_a_minute_later(
    tmp_path: Path, dovecot: Dovecot, imap_user: str
) -> None:
    dovecot.deliver(imap_user, b"From: karel@example.com\r\nSubject: " + CANARY + b"\r\n\r\nHello\r\n")
    path = tmp_path / "gateway.db"
    with served_gateway(f"sqlite:///{path}", tmp_path) as client:
        created = client.post("/connectors", json=janas(dovecot, imap_user), headers=JANA)
        assert created.status_code == 201, created.text
        wait_until(lambda: client.get("/messages", headers=JANA).json()["data"] != [], 60, "the mail")
        (message,) = client.get("/messages", headers=JANA).json()["data"]
        assert message["subject"] == CANARY.decode()
        assert client.delete(f"/messages/{message['id']}", headers=JANA).status_code == 204

        def left() -> list[str]:
            return [file.name for file in tmp_path.glob("gateway.db*") if CANARY in file.read_bytes()]

        wait_until(lambda: left() == [], 60, "the mail to be gone from the files")


def test_a_reader_puts_the_checkpoint_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_files, "CHECKPOINT_WAIT_S", 0.01)
    path = tmp_path / "gateway.db"
    url, wal = f"sqlite:///{path}", tmp_path / "gateway.db-wal"
    with sqlite3.connect(path, isolation_level=None) as writer, sqlite3.connect(path) as reader:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE mail (text)")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM mail").fetchone()
        writer.execute("INSERT INTO mail VALUES ('a')")
        database_files.forget_deleted(url)
        assert wal.stat().st_size > 0
        reader.rollback()
        database_files.forget_deleted(url)
        assert wal.stat().st_size == 0
    writer.close()
    reader.close()


def test_there_is_nothing_to_do_for_postgresql() -> None:
    assert database_files.path_of("postgresql+psycopg://gateway@host/mail") is None
