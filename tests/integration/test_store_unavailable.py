"""What callers and mailboxes see of a database in trouble, and of one that does not take a value."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import event, make_url, text

from app.gateway import Gateway
from app.main import create_app
from tests.support.callers import Callers
from tests.support.fetched_mailbox import Mailbox, mailbox
from tests.support.schema import migrate
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import connector, mail
from tools.servers.dovecot import Dovecot
from tools.servers.postgres import Postgres

only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

ADMIN = Callers.user("administrator", admin=True)
SOME_ID = "0" * 32


def assert_unavailable(answer: httpx.Response, of: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"], body["retryable"]) == (503, "store_unavailable", True), of
    assert int(answer.headers["retry-after"]) > 0, of


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that may be killed without harm to other tests."""
    from tests.servers.fixtures import started_or_skipped

    server = started_or_skipped(lambda: Postgres().start())
    yield server
    server.stop()


@only_sqlite  # the database of this test is another one
def test_every_route_answers_503_while_postgresql_is_away_and_works_when_it_is_back(
    own_postgres: Postgres, settings: SettingsFactory
) -> None:
    if not own_postgres.managed:
        pytest.skip("missing: a PostgreSQL of our own to kill")
    url = own_postgres.new_database()
    migrate(url)
    with TestClient(create_app(settings(database_url=url)), base_url="http://localhost") as client:
        assert client.get("/connectors", headers=ADMIN).status_code == 200
        own_postgres.kill()
        lists = (
            "/connectors",
            "/messages",
            "/events",
            "/submissions",
            "/quarantine",
            "/webhooks",
            "/group-bindings",
        )
        for path in (*lists, "/api-keys", "/audit", f"/connectors/{SOME_ID}", f"/messages/{SOME_ID}/source"):
            assert_unavailable(client.get(path, headers=ADMIN), path)
        assert_unavailable(client.delete(f"/connectors/{SOME_ID}", headers=ADMIN), "delete")
        assert_unavailable(client.post(f"/connectors/{SOME_ID}/fetch", headers=ADMIN), "fetch")
        assert_unavailable(client.get("/events/stream", headers=ADMIN), "stream")
        assert_unavailable(client.get("/messages?wait_s=5", headers=ADMIN), "long poll")
        assert_unavailable(
            client.get("/connectors", headers={"Authorization": "Bearer gwk_abcdefgh_" + "x" * 43}), "key"
        )
        own_postgres.restart()
        assert client.get("/connectors", headers=ADMIN).status_code == 200


@only_sqlite
def test_a_write_answers_503_while_another_process_holds_sqlite(client: TestClient, gateway: Gateway) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    made = connector(gateway)
    path = make_url(gateway.settings.database_url).database
    assert path is not None

    def be_impatient(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout = 100")

    event.listen(app.state.gateway.db.engine, "checkout", be_impatient)
    with contextlib.closing(sqlite3.connect(Path(path), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert_unavailable(client.post(f"/connectors/{made.id}/pause", headers=ADMIN), "pause")
        body = {"connector_id": made.id, "group": "orders"}
        assert_unavailable(client.post("/group-bindings", json=body, headers=ADMIN), "bind")
        assert client.get(f"/connectors/{made.id}", headers=ADMIN).json()["status"] != "paused"
        other.execute("ROLLBACK")
    assert client.post(f"/connectors/{made.id}/pause", headers=ADMIN).json()["status"] == "paused"


def big_mail() -> bytes:
    return mail("too large for the database", text=os.urandom(60_000).hex())


def assert_only_the_big_one_is_quarantined(box: Mailbox) -> None:
    for _ in range(6):
        box.fetch()
    assert sorted(message.subject or "" for message in box.messages()) == ["after", "before"]
    assert len(box.raws("Trash")) == 2
    assert len(box.raws("INBOX")) == 1
    assert box.fetch_well().error_code is None
    assert box.connector.status == "active"


@only_postgresql
def test_a_mail_that_breaks_a_limit_of_postgresql_stops_no_other(gateway: Gateway, dovecot: Dovecot) -> None:
    # SQLSTATE 54000, which psycopg raises as an OperationalError: the row is too large for the index.
    with gateway.db.unit_of_work() as session:
        session.execute(text("CREATE INDEX too_small ON message_bodies (text)"))
    box = mailbox(gateway, dovecot, poll_interval_s=1)
    dovecot.deliver_all(box.user, [mail("before"), big_mail(), mail("after")])
    assert_only_the_big_one_is_quarantined(box)


@only_sqlite
def test_a_mail_that_breaks_a_limit_of_sqlite_stops_no_other(gateway: Gateway, dovecot: Dovecot) -> None:
    def keep_small(connection: sqlite3.Connection, *_: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 50_000)

    event.listen(gateway.db.engine, "checkout", keep_small)
    box = mailbox(gateway, dovecot, poll_interval_s=1)
    dovecot.deliver_all(box.user, [mail("before"), big_mail(), mail("after")])
    assert_only_the_big_one_is_quarantined(box)
