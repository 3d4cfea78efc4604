"""The database in trouble: full, locked, killed, a commit whose answer is lost, a host whose clock jumps. Nothing is
moved that is not stored, and when the trouble is over everything goes on by itself."""

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from sqlalchemy import event, make_url

from app.gateway import Gateway
from app.services.fetching import fetch_cycle, leases
from tests.support.fetched_mailbox import Mailbox, hashes, mailbox
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import connector, mail
from tools.servers.dovecot import Dovecot
from tools.servers.postgres import Postgres
from tools.servers.postgres_proxy import PostgresProxy

only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def box(gateway: Gateway, dovecot: Dovecot) -> Mailbox:
    made = mailbox(gateway, dovecot, poll_interval_s=1)
    dovecot.deliver_all(made.user, [mail(str(number), text="x" * 20_000) for number in range(5)])
    return made


def assert_all_is_well(box: Mailbox, reference: list[bytes]) -> None:
    box.fetch_well()
    assert hashes(box.sources()) == hashes(reference)
    assert hashes(box.raws("Trash")) == hashes(reference)
    assert box.raws("INBOX") == []
    assert len(box.events("message.stored")) == len(reference)


@only_sqlite
def test_a_full_disk_moves_nothing_and_is_over_when_there_is_room(box: Mailbox, gateway: Gateway) -> None:
    reference = box.raws("INBOX")
    limit = 0

    def keep_small(connection: sqlite3.Connection, *_: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1 if limit else 2**30}")

    event.listen(gateway.db.engine, "checkout", keep_small)
    limit = 1
    # SQLite answers SQLITE_FULL, as it does on a disk without room. Even the cycle's own row may not fit.
    with contextlib.suppress(Exception):
        fetch_cycle.run(gateway, box.connector_id)
    assert box.raws("Trash") == []
    assert len(box.raws("INBOX")) == 5
    limit = 0
    assert_all_is_well(box, reference)


@only_sqlite
def test_a_database_locked_by_somebody_else_moves_nothing_until_it_is_free(
    box: Mailbox, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = box.raws("INBOX")
    path = make_url(gateway.settings.database_url).database
    assert path is not None

    def be_impatient(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout = 200")

    event.listen(gateway.db.engine, "checkout", be_impatient)
    other = sqlite3.connect(Path(path), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with contextlib.suppress(Exception):
        fetch_cycle.run(gateway, box.connector_id)
    assert len(box.raws("INBOX")) == 5
    other.execute("ROLLBACK")
    other.close()
    assert_all_is_well(box, reference)


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A server that may be killed without harm to other tests."""
    from tests.servers.fixtures import started_or_skipped

    server = started_or_skipped(lambda: Postgres().start())
    yield server
    server.stop()


@only_sqlite  # the database of this test is another one
def test_postgresql_killed_and_started_again_loses_nothing(
    own_postgres: Postgres, dovecot: Dovecot, settings: SettingsFactory
) -> None:
    from app import migrations

    if not own_postgres.managed:
        pytest.skip("missing: a PostgreSQL of our own to kill")
    url = own_postgres.new_database()
    migrations.upgrade(url)
    with contextlib.closing(Gateway.from_settings(settings(database_url=url))) as gateway:
        box = mailbox(gateway, dovecot, poll_interval_s=1)
        dovecot.deliver_all(box.user, [mail(str(number)) for number in range(5)])
        reference = box.raws("INBOX")
        box.fetch_well()
        dovecot.deliver(box.user, mail("later"))
        reference += box.raws("INBOX")
        own_postgres.kill()
        with contextlib.suppress(Exception):
            fetch_cycle.run(gateway, box.connector_id)
        assert len(box.raws("INBOX")) == 1
        own_postgres.restart()
        assert_all_is_well(box, reference)


@only_postgresql
@pytest.mark.parametrize(
    "marker", [b"INSERT INTO messages", b"INSERT INTO server_messages", b"INSERT INTO cycles"]
)
def test_a_commit_whose_answer_is_lost_doubles_nothing(
    database_url: str, dovecot: Dovecot, settings: SettingsFactory, marker: bytes
) -> None:
    url = make_url(database_url)
    assert url.host is not None
    assert url.port is not None
    with PostgresProxy(url.host, url.port) as proxy:
        proxied = url.set(host=proxy.host, port=proxy.port).render_as_string(hide_password=False)
        with contextlib.closing(Gateway.from_settings(settings(database_url=proxied))) as gateway:
            box = mailbox(gateway, dovecot, poll_interval_s=1)
            dovecot.deliver_all(box.user, [mail(str(number)) for number in range(5)])
            reference = box.raws("INBOX")
            proxy.swallow_answer_of(marker)
            with contextlib.suppress(Exception):
                fetch_cycle.run(gateway, box.connector_id)
            assert proxy.swallowed == 1
            assert_all_is_well(box, reference)


@only_postgresql
def test_a_clock_that_jumps_gives_no_lease_away(gateway: Gateway) -> None:
    box = connector(gateway)
    with leases.held(gateway, box) as lease:
        assert lease is not None
        for jump in (timedelta(hours=1), timedelta(hours=-1)):
            with time_machine.travel(datetime.now(UTC) + jump, tick=True):
                with leases.held(gateway, box) as other:
                    assert other is None
                lease.require()
                lease.renew()
        lease.require()
