"""`imap-gateway reread`, after an upgrade from the version with reader 1, beside the running service."""

import json
import os
import signal
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text

from app import migrations
from app.adapters.parser import ParserLimits, ParserPool
from app.db import Database
from app.mime.model import READER, Listed, ParsedMail
from app.services.messages import rereading
from tests.integration.rereading.database import DATA, SECRET_KEY, load_old_database, multiply
from tests.integration.rereading.mails import INVOICE, LOGO, MAILS, SCAN, TERMS
from tests.support.callers import Callers
from tests.support.forked_command import HeardCommand
from tests.support.served_gateway import served_gateway
from tools.servers.process import wait_until

JANA = Callers.user("jana", groups=["orders"])
SEEN: dict[str, dict[str, Any]] = json.loads((DATA / "reader_1.json").read_text(encoding="utf-8"))
"""What the API gave before the upgrade, by the mail's name."""
IDS = {name: seen["detail"]["id"] for name, seen in SEEN.items()}
NOT_READ = (
    *(
        "id",
        "connector_id",
        "state",
        "folder",
        "uid",
        "uidvalidity",
        "internal_date",
        "stored_at",
        "moved_at",
    ),
    *("size_octets", "sha256"),
)
"""Fields that reading a mail says nothing about."""


ON_SQLITE = pytest.mark.parametrize("old_url", ["sqlite"], indirect=True)
"""What reading a mail again finds in it, and what the command says: no matter of the database."""


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that the version with reader 1 left."""
    url = f"sqlite:///{tmp_path}/gateway.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    load_old_database(url)
    return url


@pytest.fixture
def upgraded_url(old_url: str) -> str:
    """The same, upgraded."""
    migrations.upgrade(old_url)
    return old_url


@pytest.fixture
def service(old_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """Jana's client of the real service, which upgraded the database when it started."""
    with served_gateway(old_url, tmp_path, SECRET_KEYS=SECRET_KEY) as client:
        client.headers.update(JANA)
        yield client


def command(url: str) -> HeardCommand:
    """`imap-gateway reread`, started."""
    environment = {**os.environ, "GATEWAY_DATABASE_URL": url}
    return HeardCommand(["reread"], folder=DATA, environment=environment)


def run_command(url: str) -> str:
    """Run it to its end; what it printed."""
    process = command(url)
    printed, errors = process.ended(180)
    assert (process.returncode, "Traceback" in errors) == (0, False), errors
    return printed


def detail(client: httpx.Client, name: str) -> dict[str, Any]:
    answer = client.get(f"/messages/{IDS[name]}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def contents(client: httpx.Client, name: str) -> dict[int, bytes]:
    """The bytes of all attachments that are listed, as long as the list says."""
    found = {}
    for each in detail(client, name)["attachments"]:
        answer = client.get(f"/messages/{IDS[name]}/attachments/{each['n']}")
        assert answer.status_code == 200, (name, each, answer.text)
        assert len(answer.content) == each["size_octets"], (name, each)
        found[each["n"]] = answer.content
    return found


def seen_contents(name: str) -> dict[int, bytes]:
    """The same as the service gave them before the upgrade."""
    return {int(n): b64decode(each) for n, each in SEEN[name]["contents"].items()}


def readers(url: str) -> list[int]:
    """The reader's number in each row, by position."""
    engine = create_engine(url)
    with engine.connect() as connection:
        numbers = list(connection.execute(text("SELECT reader FROM messages ORDER BY position")).scalars())
    engine.dispose()
    return numbers


def test_an_upgrade_changes_nothing_for_callers_until_mails_are_read_again(
    service: httpx.Client, old_url: str, tmp_path: Path
) -> None:
    listed = service.get("/messages").json()["data"]
    assert [row["id"] for row in listed] == list(IDS.values())
    for name, seen in SEEN.items():
        now = detail(service, name)
        assert {key: now[key] for key in seen["detail"]} == seen["detail"], name
        assert all("part" not in each for each in now["attachments"])
        assert contents(service, name) == seen_contents(name), name
    assert set(readers(old_url)) == {1}
    log = [
        json.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines() if line[:1] == "{"
    ]
    told = [line for line in log if line["event"] == "messages_wait_to_be_read_again"]
    assert [(line["count"], line["command"]) for line in told] == [(len(SEEN), "imap-gateway reread")]


@ON_SQLITE
def test_mails_that_were_lost_are_read_beside_the_running_service(
    service: httpx.Client, old_url: str
) -> None:
    end_of_feed = service.get("/messages").json()["next_cursor"]
    events = service.get("/events", params={"after": "latest"}).json()
    before = service.get("/events").json()["data"]

    assert run_command(old_url) == (
        f"{len(SEEN)} read again, 0 that still cannot be read and stay as they were,"
        " 0 deleted or read by another run meanwhile.\n"
    )

    lost = detail(service, "lost")
    assert lost["subject"] == "Résumé of René"
    assert lost["from"] == {"name": "René", "address": "rene@firma.test"}
    assert lost["message_id_header"] == "<lost@mails.test>"
    assert lost["date_header"].startswith("2025-11-03T09:00:00")
    assert lost["text"] == "Voilà: une pièce de théâtre.\n"
    assert lost["snippet"] == "Voilà: une pièce de théâtre."
    assert lost["defects"] == []
    with_files = detail(service, "lost with files")
    assert "中文" in with_files["text"]
    assert "<b>text</b>" in with_files["html"]
    assert with_files["has_attachments"]
    assert contents(service, "lost with files") == {1: SCAN, 2: TERMS}
    assert detail(service, "processed")["text"] == "已處理\n"

    for name, seen in SEEN.items():
        now = detail(service, name)
        assert {key: now[key] for key in NOT_READ} == {key: seen["detail"][key] for key in NOT_READ}, name
        source = service.get(f"/messages/{IDS[name]}/source").content
        assert source == MAILS[name], name
    assert service.get("/messages", params={"after": end_of_feed}).json()["data"] == []
    assert service.get("/events").json()["data"] == before, events
    assert [row["id"] for row in service.get("/messages").json()["data"]] == list(IDS.values())
    assert service.get(f"/messages/{SEEN['plain']['detail']['id']}x").status_code == 404


def test_mails_that_were_lost_are_found_and_join_their_conversations(
    service: httpx.Client, old_url: str
) -> None:
    assert found(service, "theatre") == []
    run_command(old_url)
    assert found(service, "theatre rene") == [IDS["lost"]]
    assert found(service, "中文") == [IDS["lost with files"]]
    assert found(service, "coffee") == [IDS["plain"]]

    conversation = {name: detail(service, name)["conversation_id"] for name in SEEN}
    first = {conversation[name] for name in ("lost", "answer to lost", "answer to the answer")}
    second = {conversation[name] for name in ("question", "lost answer", "answer to lost answer")}
    assert (len(first), len(second), first & second) == (1, 1, set())
    assert conversation["question"] == SEEN["question"]["detail"]["conversation_id"]
    assert conversation["plain"] == SEEN["plain"]["detail"]["conversation_id"]
    others = [conversation[name] for name in SEEN if conversation[name] not in first | second]
    assert len(others) == len(set(others)) == len(SEEN) - 6


def found(client: httpx.Client, words: str) -> list[str]:
    answer = client.get("/messages", params={"q": words})
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


@ON_SQLITE
def test_the_number_of_an_attachment_keeps_its_meaning(service: httpx.Client, old_url: str) -> None:
    run_command(old_url)
    note = b"a note with a name"
    expected = {
        "files": {1: note, 2: LOGO, 3: INVOICE, 4: b"detached signature"},
        "related": {1: INVOICE, 2: b"<p>another page</p>"},
        "single named text": seen_contents("single named text"),
        "footer": {1: TERMS, 2: b"abc"},
    }
    for name, each in expected.items():
        given = contents(service, name)
        assert {n: given[n] for n in each} == each, name
        assert seen_contents(name).keys() <= given.keys()
    files = detail(service, "files")
    assert f'<img src="/messages/{IDS["files"]}/attachments/2">' in files["html"]
    assert {each["n"]: each["inline"] for each in files["attachments"]}[2]
    assert detail(service, "related")["has_attachments"], "the HTML does not show the invoice"


def test_a_killed_run_is_run_again_and_ends_well(upgraded_url: str) -> None:
    multiply(upgraded_url, 16)
    process = command(upgraded_url)
    wait_until(lambda: READER in readers(upgraded_url) or process.poll() is not None, 60, "a batch")
    process.send_signal(signal.SIGKILL)
    process.ended(60)
    done = readers(upgraded_url)
    assert (READER in done, 1 in done) == (True, True), "killed too early or too late to tell anything"
    run_command(upgraded_url)
    assert_all_are_read(upgraded_url)
    assert run_command(upgraded_url).startswith("0 read again, 0 that"), "what is read is not read once more"


def test_two_runs_at_once_read_everything_right(upgraded_url: str) -> None:
    multiply(upgraded_url, 8)
    runs = [command(upgraded_url), command(upgraded_url)]
    for run in runs:
        _printed, errors = run.ended(180)
        assert (run.returncode, "Traceback" in errors) == (0, False), errors
    assert_all_are_read(upgraded_url)


def assert_all_are_read(url: str) -> None:
    """All copies of a mail say the same, and what it says."""
    engine = create_engine(url)
    query = (
        "SELECT m.sha256, m.reader, m.subject, m.message_id_header, m.conversation_id, b.text, b.html,"
        " CAST(b.attachments AS TEXT) AS attachments, CAST(b.defects AS TEXT) AS defects"
        " FROM messages m JOIN message_bodies b ON b.message_id = m.id"
    )
    with engine.connect() as connection:
        rows = connection.execute(text(query)).mappings().all()
    engine.dispose()
    assert {row["reader"] for row in rows} == {READER}
    assert not [row for row in rows if "parser_" in row["defects"]]
    said = {(row["sha256"], row["subject"], row["text"], row["html"], row["attachments"]) for row in rows}
    assert len(said) == len(SEEN)
    lost = {row["conversation_id"] for row in rows if row["message_id_header"] == "<lost@mails.test>"}
    answers = [
        row["conversation_id"] for row in rows if row["message_id_header"] == "<answer-to-lost@mails.test>"
    ]
    assert len(lost) == 1
    assert set(answers) == lost


def test_what_callers_delete_and_mark_meanwhile_stays_so(service: httpx.Client, old_url: str) -> None:
    multiply(old_url, 8)
    ids = [row["id"] for row in all_messages(service)]
    deleted, marked = ids[60::3], ids[1::3]
    process = command(old_url)
    try:
        for message_id in marked:
            assert service.patch(f"/messages/{message_id}", json={"state": "processed"}).status_code == 200
            if deleted:
                assert service.delete(f"/messages/{deleted.pop()}").status_code == 204
    finally:
        _printed, errors = process.ended(180)
    assert (process.returncode, "Traceback" in errors) == (0, False), errors
    run_command(old_url)
    assert set(readers(old_url)) == {READER}
    after = {row["id"]: row["state"] for row in all_messages(service)}
    assert set(after) == set(ids) - set(ids[60::3])
    assert {after[each] for each in marked if each in after} == {"processed"}


def all_messages(client: httpx.Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    page: dict[str, Any] = {"has_more": True, "next_cursor": None}
    while page["has_more"]:
        params = {"limit": "200", **({"after": page["next_cursor"]} if rows else {})}
        page = client.get("/messages", params=params).json()
        rows += page["data"]
    return rows


_COPIED = (
    "connector_id, state, folder, uidvalidity, cc, reply_to, has_attachments, is_auto_reply, size_octets,"
    ' stored_at, "to", snippet, from_address'
)
STORE_ANSWER = (
    'INSERT INTO messages (id, position, uid, conversation_id, in_reply_to, "references", sha256, reader,'
    f" {_COPIED}) SELECT 'late', 5000, 5000, 'made from the answered id', '<lost-answer@mails.test>',"
    f" \"references\", 'none', {READER}, {_COPIED} FROM messages WHERE id = :id"
)
"""Stores an answer to the mail `lost answer`, as a copy of the message `:id`."""


class Between(ParserPool):
    """A parser beside which something happens after each mail is read, before it is written."""

    def __init__(self, happens: Callable[[bytes], None]) -> None:
        super().__init__(1)
        self._happens = happens

    def parse(self, raw: bytes, listed: Sequence[Listed] = ()) -> ParsedMail:
        parsed = super().parse(raw, listed)
        self._happens(raw)
        return parsed


def rows_of(url: str, query: str) -> list[Any]:
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = list(connection.execute(text(query)).all())
    engine.dispose()
    return rows


def execute(url: str, statement: str, **values: Any) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA foreign_keys = ON"))
        connection.execute(text(statement), values)
    engine.dispose()


def run_between(url: str, happens: Callable[[bytes], None]) -> rereading.Progress:
    """Run it here, with something that happens between reading and writing."""
    database = Database(url)
    try:
        with Between(happens) as parsers:
            return list(rereading.reread(database, parsers))[-1]
    finally:
        database.close()


def test_a_message_deleted_between_reading_and_writing_does_not_come_back(upgraded_url: str) -> None:
    def delete(raw: bytes) -> None:
        if raw == MAILS["lost"]:
            execute(upgraded_url, "DELETE FROM message_bodies WHERE message_id = :id", id=IDS["lost"])
            execute(
                upgraded_url,
                "UPDATE server_messages SET message_id = NULL WHERE message_id = :id",
                id=IDS["lost"],
            )
            execute(upgraded_url, "DELETE FROM messages WHERE id = :id", id=IDS["lost"])

    progress = run_between(upgraded_url, delete)
    assert (progress.read, progress.failed, progress.passed) == (len(SEEN) - 1, 0, 1)
    assert [row[0] for row in rows_of(upgraded_url, "SELECT id FROM messages ORDER BY position")] == [
        each for name, each in IDS.items() if name != "lost"
    ]
    assert len(rows_of(upgraded_url, "SELECT message_id FROM message_bodies")) == len(SEEN) - 1


def test_a_state_set_between_reading_and_writing_stays(upgraded_url: str) -> None:
    def mark(raw: bytes) -> None:
        execute(
            upgraded_url,
            "UPDATE messages SET state = 'processed', position = position + 1000 WHERE sha256 ="
            " (SELECT sha256 FROM messages WHERE id = :id)",
            id=IDS["lost"],
        ) if raw == MAILS["lost"] else None

    run_between(upgraded_url, mark)
    [row] = rows_of(
        upgraded_url, f"SELECT state, position > 1000, subject FROM messages WHERE id = '{IDS['lost']}'"
    )
    assert tuple(row) == ("processed", True, "Résumé of René")


def test_an_answer_stored_between_reading_and_writing_joins_its_conversation(upgraded_url: str) -> None:
    """It names the mail by In-Reply-To alone, and the mail belongs to a conversation that it does not name."""

    def store_answer(raw: bytes) -> None:
        if raw == MAILS["lost answer"]:
            execute(upgraded_url, STORE_ANSWER, id=IDS["plain"])

    run_between(upgraded_url, store_answer)
    assert_late_answer_joined(upgraded_url)


@pytest.mark.parametrize("old_url", ["postgresql"], indirect=True)
def test_an_answer_stored_while_the_run_waits_for_the_feed_joins_its_conversation(upgraded_url: str) -> None:
    """It is not there when the run first looks for answers, and is there when the run has the lock of the feed."""
    run_command(upgraded_url)
    execute(
        upgraded_url,
        "UPDATE messages SET reader = 1, message_id_header = NULL, in_reply_to = NULL, conversation_id = 'alone'"
        " WHERE id = :id",
        id=IDS["lost answer"],
    )
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    engine = create_engine(upgraded_url)
    with engine.connect() as other, ThreadPoolExecutor(1) as threads:
        other.execute(text("SELECT id FROM feed FOR UPDATE"))
        try:
            run = threads.submit(run_between, upgraded_url, lambda raw: None)
            wait_until(lambda: bool(rows_of(upgraded_url, waiting)) or run.done(), 60, "the run waits")
            other.execute(text(STORE_ANSWER), {"id": IDS["plain"]})
        finally:
            other.commit()
        assert run.result(60).read == 1
    engine.dispose()
    assert_late_answer_joined(upgraded_url)


def assert_late_answer_joined(url: str) -> None:
    query = "SELECT conversation_id FROM messages WHERE id IN ('late', '{}', '{}')"
    conversations = rows_of(url, query.format(IDS["question"], IDS["lost answer"]))
    assert len(conversations) == 3
    assert len(set(conversations)) == 1


@ON_SQLITE
def test_where_the_parser_fails_again_the_old_values_stay(upgraded_url: str) -> None:
    before = rows_of(upgraded_url, "SELECT * FROM message_bodies ORDER BY message_id")
    database = Database(upgraded_url)
    with ParserPool(1, ParserLimits(wall_s=0.0, wall_s_per_megabyte=0.0)) as stopped_at_once:
        progress = list(rereading.reread(database, stopped_at_once))[-1]
    assert (progress.read, progress.failed) == (0, len(SEEN))
    assert rows_of(upgraded_url, "SELECT * FROM message_bodies ORDER BY message_id") == before
    assert rows_of(upgraded_url, "SELECT message_id_header FROM messages WHERE message_id_header IS NULL")
    with database.reading() as session:
        assert rereading.count_waiting(session) == 0, "they would be tried for ever"
    database.close()
    lost = sum("parser_error" in str(seen["detail"]["defects"]) for seen in SEEN.values())
    assert lost > 2
    assert run_command(upgraded_url).startswith(f"{lost} read again, 0 that"), "faults are tried by every run"


@ON_SQLITE
def test_defects_that_are_not_the_readers_stay(upgraded_url: str) -> None:
    defects = [{"code": "parser_error", "detail": "OSError"}, {"code": "noted_at_the_server", "detail": "x"}]
    execute(
        upgraded_url,
        "UPDATE message_bodies SET defects = :defects WHERE message_id = :id",
        defects=json.dumps(defects),
        id=IDS["lost"],
    )
    run_command(upgraded_url)
    [row] = rows_of(
        upgraded_url, f"SELECT CAST(defects AS TEXT) FROM message_bodies WHERE message_id = '{IDS['lost']}'"
    )
    assert json.loads(row[0]) == [{"code": "noted_at_the_server", "detail": "x"}]


@ON_SQLITE
def test_a_schema_of_another_version_is_left_alone(old_url: str) -> None:
    process = command(old_url)
    _printed, errors = process.ended(60)
    assert process.returncode == 1
    assert "imap-gateway migrate" in errors
    assert "Traceback" not in errors


@ON_SQLITE
def test_a_run_reports_its_progress(upgraded_url: str) -> None:
    process = command(upgraded_url)
    printed, errors = process.ended(180)
    assert process.returncode == 0, errors
    assert f"{len(SEEN)}/{len(SEEN)}" in errors
    assert "mails.test" not in errors + printed
