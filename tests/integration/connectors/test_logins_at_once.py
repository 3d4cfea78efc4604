"""Logins with one password that are under way at the same moment, of one connector or of several for one mailbox: together
they are refused twice, never a third time."""

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.support.callers import Callers
from tests.support.served_gateway import served_gateway
from tools.servers.postgres import Postgres
from tools.servers.process import wait_until
from tools.servers.scripted_imap import ScriptedFolder, ScriptedImap, Session, says
from tools.servers.smtp import SmtpServer

NUMBERS = itertools.count()
WAIT_S = 60.0
ASKED = ("fetch", "test", "test", "folders", "folders")
"""What is asked for at once; a submission comes on top of it."""


@pytest.fixture(params=["sqlite", "postgresql"])
def instances(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[httpx.Client]]:
    """One gateway on SQLite, two that share a PostgreSQL."""
    limits = {"POLL_INTERVAL_S": "3600", "COMMAND_TIMEOUT_S": "20"}
    with ExitStack() as stack:
        if request.param == "sqlite":
            shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "gateway.db")
            urls = [f"sqlite:///{tmp_path / 'gateway.db'}"]
        else:
            postgres: Postgres = request.getfixturevalue("postgres")
            url = postgres.new_database(request.getfixturevalue("postgres_template"))
            stack.callback(postgres.drop, url)
            urls = [url, url]
        made = []
        for number, url in enumerate(urls):
            folder = tmp_path / str(number)
            folder.mkdir()
            made.append(stack.enter_context(served_gateway(url, folder, **limits)))
        yield made


def connected(client: httpx.Client, imap: ScriptedImap, smtp: SmtpServer, **settings: Any) -> str:
    """A connector whose first cycle went well."""
    headers = Callers.user("administrator", admin=True)
    body = {
        "name": "at once",
        "kind": "shared",
        "email_address": "info@firma.cz",
        "imap": {"host": imap.host, "port": imap.port, "security": "none", "username": "info"},
        "smtp": {"host": smtp.host, "port": smtp.port, "security": "none", "username": "info"},
        "processed_folder": "Trash",
        "credentials": {"type": "password", "password": "heslo"},
        "first_fetch": "all",
        "poll_interval_s": 3600,  # only what a test asks for logs in
        **settings,
    }
    answer = client.post("/connectors", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    connector_id = str(answer.json()["id"])
    bound = {"connector_id": connector_id, "group": "info"}
    assert client.post("/group-bindings", json=bound, headers=headers).status_code == 201
    wait_until(lambda: shown(client, connector_id)["status"] == "active", WAIT_S, "a connector")
    wait_until(lambda: shown(client, connector_id)["last_success_at"], WAIT_S, "its first cycle")
    return connector_id


def shown(client: httpx.Client, connector_id: str) -> dict[str, Any]:
    answer = client.get(f"/connectors/{connector_id}", headers=Callers.user("administrator", admin=True))
    found: dict[str, Any] = answer.json()
    return found


def ask(client: httpx.Client, connector_id: str, what: str) -> httpx.Response:
    headers = Callers.user(f"administrator-{next(NUMBERS)}", groups=["info"], admin=True)
    if what == "folders":
        return client.get(f"/connectors/{connector_id}/folders", headers=headers)
    return client.post(f"/connectors/{connector_id}/{what}", headers=headers)


def ask_at_once(instances: Sequence[httpx.Client], *connector_ids: str) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(ASKED)) as pool:
        asked = [
            pool.submit(ask, client, connector_id, what)
            for client, connector_id, what in zip(
                itertools.cycle(instances), itertools.cycle(connector_ids), ASKED, strict=False
            )
        ]
        return [each.result() for each in asked]


def refused_together(imap: ScriptedImap, before: int) -> Callable[[Session, bytes, bytes], bool]:
    """Refuses each login as soon as all who were asked are there. `before`: how many commands the server had got by then."""

    def all_are_there() -> bool:
        """The first command of each connection is CAPABILITY."""
        return imap.commands[before:].count("CAPABILITY") >= len(ASKED)

    def refuse(session: Session, tag: bytes, _command: bytes) -> bool:
        def answer() -> None:
            wait_until(all_are_there, WAIT_S, "all of them")
            session.send(tag + b" NO [AUTHENTICATIONFAILED] no\r\n")

        Thread(target=answer, daemon=True).start()
        return True

    return refuse


def test_are_refused_twice_together(instances: list[httpx.Client]) -> None:
    with ScriptedImap() as imap, SmtpServer(user="info", password="heslo", auth_required=True) as smtp:
        connector_id = connected(instances[0], imap, smtp)
        before = len(imap.commands)

        imap.on(rb"LOGIN", refused_together(imap, before))
        smtp.password = "another"
        answers = ask_at_once(instances, connector_id)
        assert {each.status_code for each in answers} == {200, 502}
        body = {"connector_id": connector_id, "to": ["eva@example.net"], "subject": "x", "text": "x"}
        sender = Callers.user("administrator", groups=["info"], admin=True)
        waiting = instances[0].post("/submissions", json=body, headers=sender).json()["id"]
        for _ in range(2):
            ask_at_once(instances, connector_id)
        refused = [each for each in imap.commands[before:] if each.startswith("LOGIN")]
        assert (len(refused), smtp.login_attempts) == (2, 0)
        now = shown(instances[-1], connector_id)
        assert (now["status"], now["last_error"]["code"]) == ("stopped", "login_refused")
        assert now["last_error"]["server_text"] == "NO [AUTHENTICATIONFAILED] no"
        report = ask(instances[0], connector_id, "test").json()
        assert (report["imap"]["code"], "refused this password twice" in report["imap"]["detail"]) == (
            "login_refused",
            True,
        )
        # After that the connector starts again.
        imap.well()
        smtp.password = "heslo"
        assert ask(instances[0], connector_id, "resume").status_code == 200

        def is_sent() -> bool:
            answer = instances[0].get(f"/submissions/{waiting}", headers=sender)
            return bool(answer.json()["status"] == "sent")

        wait_until(is_sent, WAIT_S, "the mail that waited")


def test_of_two_connectors_for_one_mailbox_are_refused_twice_together(instances: list[httpx.Client]) -> None:
    with ScriptedImap() as imap, SmtpServer(user="info", password="heslo", auth_required=True) as smtp:
        imap.folders[b"Archive"], imap.folders[b"Other"] = ScriptedFolder(5000), ScriptedFolder(6000)
        first = connected(instances[0], imap, smtp)
        second = connected(instances[-1], imap, smtp, source_folder="Archive")
        another = {"type": "password", "password": "another"}
        stranger = connected(instances[0], imap, smtp, source_folder="Other", credentials=another)
        # A login that is accepted counts for both.
        for refused in (first, second, second):
            imap.on(rb"LOGIN", says(b"NO [AUTHENTICATIONFAILED] no"))
            assert ask(instances[0], refused, "test").json()["imap"]["code"] == "login_refused"
            imap.well()
            assert ask(instances[-1], first, "test").json()["imap"]["ok"]
        assert {shown(instances[0], each)["status"] for each in (first, second)} == {"active"}
        before = len(imap.commands)
        imap.on(rb"LOGIN", refused_together(imap, before))
        for _ in range(3):
            ask_at_once(instances, first, second)
        refused_logins = [each for each in imap.commands[before:] if each.startswith("LOGIN")]
        assert len(refused_logins) == 2
        for connector_id in (first, second):
            now = shown(instances[-1], connector_id)
            assert (now["status"], now["last_error"]["code"]) == ("stopped", "login_refused")
        # A cycle of its own may have been refused once meanwhile: an instance that saw it due just before it was done.
        assert shown(instances[0], stranger)["status"] != "stopped", "its password is another one"
