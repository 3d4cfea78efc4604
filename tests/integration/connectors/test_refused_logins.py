"""Refused logins of one password, over IMAP and SMTP, by the sweep, by command and by tests: at the real service over HTTP,
with its jobs. Some servers lock an account at the third."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.callers import Callers
from tests.support.served_gateway import served_gateway
from tools.servers.process import wait_until
from tools.servers.scripted_imap import ScriptedImap, says
from tools.servers.smtp import SmtpServer

NUMBERS = itertools.count()
WAIT_S = 60.0
PASSWORD = "heslo"
WRONG = says(b"NO [AUTHENTICATIONFAILED] no")


@pytest.fixture(scope="module")
def client(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("logins")
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    limits = {"POLL_INTERVAL_S": "3600", "COMMAND_TIMEOUT_S": "20"}
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder, **limits) as made:
        yield made


@pytest.fixture
def imap() -> Iterator[ScriptedImap]:
    with ScriptedImap() as server:
        yield server


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer(user="info", password=PASSWORD, auth_required=True) as server:
        yield server


@dataclass(frozen=True)
class Box:
    client: httpx.Client
    id: str
    imap: ScriptedImap
    smtp: SmtpServer
    group: str

    @property
    def headers(self) -> dict[str, str]:
        return Callers.user(f"administrator-{next(NUMBERS)}", groups=[self.group], admin=True)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(f"/connectors/{self.id}/{path}", headers=self.headers, **options)

    def shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = self.client.get(f"/connectors/{self.id}", headers=self.headers).json()
        return shown

    @property
    def status(self) -> str:
        return str(self.shown()["status"])

    @property
    def sending(self) -> dict[str, Any]:
        sending: dict[str, Any] = self.shown()["sending"]
        return sending

    def fetch(self) -> str | None:
        answer = self.post("fetch")
        assert answer.status_code == 200, answer.text
        error = answer.json()["error"]
        return error["code"] if error else None

    def test(self) -> dict[str, Any]:
        answer = self.post("test")
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        return report

    def submit(self) -> str:
        body = {"connector_id": self.id, "to": ["eva@example.net"], "subject": "x", "text": "x"}
        answer = self.client.post("/submissions", json=body, headers=self.headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def submission(self, submission_id: str) -> str:
        answer = self.client.get(f"/submissions/{submission_id}", headers=self.headers)
        return str(answer.json()["status"])

    def logins(self) -> int:
        """Over IMAP and SMTP."""
        return len(self.imap.sent("LOGIN|AUTHENTICATE")) + self.smtp.login_attempts

    def event_types(self) -> list[str]:
        events = self.client.get("/events", params={"limit": "200"}, headers=self.headers).json()["data"]
        mine = [each["type"] for each in events if each["data"].get("connector_id") == self.id]
        short = [each.removeprefix("com.aymine.imap.").removesuffix(".v1") for each in mine]
        return [each for each in short if each.startswith("connector.")]


Connect = Callable[[], Box]


@pytest.fixture
def connect(client: httpx.Client, imap: ScriptedImap, smtp: SmtpServer) -> Iterator[Connect]:
    """Makes a connector of both servers; its first cycle is over."""

    made: list[Box] = []

    def connected() -> Box:
        headers = Callers.user("administrator", admin=True)
        body = {
            "name": "logins",
            "kind": "shared",
            "email_address": "info@firma.cz",
            "imap": {
                "host": imap.host,
                "port": imap.port,
                "security": "none",
                "username": f"u{next(NUMBERS)}",
            },
            "smtp": {"host": smtp.host, "port": smtp.port, "security": "none", "username": "info"},
            "processed_folder": "Trash",
            "credentials": {"type": "password", "password": PASSWORD},
            "first_fetch": "all",
        }
        answer = client.post("/connectors", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        box = Box(client, answer.json()["id"], imap, smtp, f"group-{next(NUMBERS)}")
        made.append(box)
        bound = {"connector_id": box.id, "group": box.group}
        assert client.post("/group-bindings", json=bound, headers=headers).status_code == 201
        wait_until(
            lambda: bool(box.shown()["last_success_at"] or box.shown()["last_error"]), WAIT_S, "a cycle"
        )
        return box

    yield connected
    for box in made:
        box.post("pause")


def wait_for_sending(box: Box, status: str) -> dict[str, Any]:
    wait_until(lambda: box.sending["status"] == status, WAIT_S, f"sending to be {status}")
    return box.sending


def test_two_over_imap_stop_the_connector_and_sending_with_it(connect: Connect, imap: ScriptedImap) -> None:
    imap.on(b"LOGIN", WRONG)
    box = connect()
    assert box.fetch() == "login_refused"
    shown = box.shown()
    assert (shown["status"], shown["last_error"]["code"]) == ("stopped", "login_refused")
    assert shown["sending"]["status"] == "stopped"
    answer = box.post("fetch")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert box.event_types() == ["connector.failing", "connector.stopped"]
    waiting = box.submit()
    assert box.logins() == 2
    imap.well()
    assert box.post("resume").status_code == 200
    wait_until(lambda: box.submission(waiting) == "sent", WAIT_S, "the mail that waited")
    assert box.sending == {"status": "active", "last_error": None, "next_attempt_at": None}


def test_a_refused_login_over_smtp_stops_sending_alone(connect: Connect, smtp: SmtpServer) -> None:
    box = connect()
    smtp.password = "another"
    mails = [box.submit() for _ in range(5)]
    sending = wait_for_sending(box, "waiting")
    assert sending["last_error"]["code"] == "login_refused"
    assert sending["next_attempt_at"] is not None
    assert smtp.login_attempts == 1
    report = box.test()  # the second one
    assert (report["imap"]["ok"], report["smtp"]["code"]) == (True, "login_refused")
    assert box.sending["status"] == "stopped"
    assert box.sending["next_attempt_at"] is None
    assert box.event_types() == ["connector.sending_stopped"]
    assert box.fetch() is None
    assert (box.status, box.sending["last_error"]["code"]) == ("active", "login_refused")
    assert {box.submission(each) for each in mails} == {"queued"}
    assert smtp.login_attempts == 2
    smtp.password = PASSWORD
    assert box.test()["ok"]
    wait_until(lambda: {box.submission(each) for each in mails} == {"sent"}, WAIT_S, "what waited")
    assert box.sending["status"] == "active"


@pytest.mark.parametrize("way", ["credentials", "resume"])
def test_sending_that_is_stopped_goes_on(connect: Connect, smtp: SmtpServer, way: str) -> None:
    box = connect()
    smtp.password = "another"
    assert [box.test()["smtp"]["code"] for _ in range(2)] == ["login_refused"] * 2
    assert box.sending["status"] == "stopped"
    waiting = box.submit()
    smtp.password = PASSWORD
    if way == "resume":
        assert box.post("resume").status_code == 200
    else:
        url = f"/connectors/{box.id}/credentials"
        body = {"type": "password", "password": PASSWORD}
        assert box.client.put(url, json=body, headers=box.headers).status_code == 200
    wait_until(lambda: box.submission(waiting) == "sent", WAIT_S, "the mail that waited")


def test_one_at_each_stops_the_connector(connect: Connect, imap: ScriptedImap, smtp: SmtpServer) -> None:
    box = connect()
    smtp.password = "another"
    waiting = box.submit()
    wait_for_sending(box, "waiting")
    imap.on(b"LOGIN", WRONG)
    refused_before = smtp.login_attempts
    assert box.fetch() == "login_refused"
    assert (box.status, box.sending["status"], refused_before) == ("stopped", "stopped", 1)
    assert box.event_types() == ["connector.stopped"]
    assert (box.submission(waiting), smtp.login_attempts) == ("queued", 1)


def test_a_good_login_at_one_does_not_clear_the_count_of_the_other(
    connect: Connect, imap: ScriptedImap, smtp: SmtpServer
) -> None:
    box = connect()
    smtp.password = "another"
    box.test()
    assert [box.fetch(), box.fetch()] == [None, None]
    box.test()
    assert box.sending["status"] == "stopped"
    # What has stopped sending is not counted against IMAP once more.
    imap.on(b"LOGIN", WRONG)
    assert (box.fetch(), box.status) == ("login_refused", "failing")
    assert (box.fetch(), box.status) == ("login_refused", "stopped")


def test_tests_and_lists_of_folders_count_too(connect: Connect, imap: ScriptedImap) -> None:
    box = connect()
    imap.on(b"LOGIN", WRONG)
    assert box.test()["imap"]["code"] == "login_refused"
    assert box.status == "active"
    folders = box.client.get(f"/connectors/{box.id}/folders", headers=box.headers)
    assert folders.json()["code"] == "login_refused"
    shown = box.shown()
    assert (shown["status"], shown["last_error"]["code"]) == ("stopped", "login_refused")
    assert box.event_types() == ["connector.stopped"]


def test_what_is_not_about_the_password_does_not_count(connect: Connect, imap: ScriptedImap) -> None:
    box = connect()
    imap.on(b"LOGIN", says(b"NO [ALERT] Too many simultaneous connections. (Failure)"))
    assert [box.fetch() for _ in range(4)] == ["too_many_connections"] * 4
    imap.well()
    imap.on(b"LOGIN", says(b"NO [EXPIRED] choose another"))
    assert [box.fetch() for _ in range(4)] == ["password_expired"] * 4
    shown = box.shown()
    assert (shown["status"], shown["last_error"]["attempts"]) == ("failing", 8)
    assert shown["last_error"]["detail"] == "The password has expired; choose a new one at the mail provider."
    imap.well()
    assert (box.fetch(), box.status) == (None, "active")
