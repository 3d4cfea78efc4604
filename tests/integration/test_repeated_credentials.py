"""A mail server that repeats the password, in whatever form and place, puts it neither into the database nor into the
log: `imap-gateway serve` with its jobs, its files searched while it runs and after it has ended."""

import base64
import html
import itertools
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from tests.support.callers import Callers
from tests.support.served_gateway import served_gateway
from tools.servers.process import wait_until
from tools.servers.scripted_imap import ScriptedImap, Session, says
from tools.servers.speaker import Speak, speaking

USER, PASSWORD = "jana.nováková@firma.cz", 'Tajné "heslo" 7\\%<&x'
NUMBERS = itertools.count()
MARK = "Zmije"
"""Stands beside the password, and must be found: or else nothing that the server said was kept."""


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FORMS = {
    "plain": PASSWORD,
    "in capitals": PASSWORD.upper(),
    "quoted": PASSWORD.replace("\\", "\\\\").replace('"', '\\"'),
    "base64": base64_of(PASSWORD),
    "SASL PLAIN": base64_of(f"\0{USER}\0{PASSWORD}"),
    "SASL PLAIN with an authority": base64_of(f"{USER}\0{USER}\0{PASSWORD}"),
    "percent": quote(PASSWORD, safe=""),
    "form": quote_plus(PASSWORD),
    "HTML": html.escape(PASSWORD),
    "JSON": json.dumps(PASSWORD)[1:-1],
    "hex": PASSWORD.encode().hex(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repeated")


@pytest.fixture(scope="module")
def client(sqlite_template: Path, folder: Path) -> Iterator[httpx.Client]:
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    limits = {"POLL_INTERVAL_S": "3600", "LOG_LEVEL": "debug"}
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder, **limits) as made:
        yield made


def administrator() -> dict[str, str]:
    return Callers.user(f"administrator-{next(NUMBERS)}", groups=["info"], admin=True)


def connected(client: httpx.Client, imap: ScriptedImap, smtp_port: int | None) -> str:
    smtp = {"host": "127.0.0.1", "port": smtp_port, "security": "none", "username": USER}
    body = {
        "name": "repeated",
        "kind": "shared",
        "email_address": "info@firma.cz",
        "imap": {"host": imap.host, "port": imap.port, "security": "none", "username": USER},
        "smtp": smtp if smtp_port else None,
        "processed_folder": "Trash",
        "credentials": {"type": "password", "password": PASSWORD},
        "first_fetch": "all",
    }
    answer = client.post("/connectors", json=body, headers=administrator())
    assert answer.status_code == 201, answer.text
    connector_id = str(answer.json()["id"])
    bound = {"connector_id": connector_id, "group": "info"}
    assert client.post("/group-bindings", json=bound, headers=administrator()).status_code == 201
    wait_until(lambda: shown(client, connector_id)["last_success_at"], 60, "a first cycle")
    return connector_id


def shown(client: httpx.Client, connector_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/connectors/{connector_id}", headers=administrator()).json()
    return found


def assert_is_nowhere(folder: Path, form: str) -> None:
    """Not in the database, its WAL or the log, in any case."""
    files = [each for each in folder.iterdir() if each.is_file()]
    assert {"gateway.db", "gateway.log"} <= {each.name for each in files}
    kept = {each.name: each.read_bytes() for each in files}
    needles = {form.encode(), form.encode().lower(), json.dumps(form)[1:-1].encode()}
    found = [
        name for name, octets in kept.items() for each in needles if each in octets or each in octets.lower()
    ]
    assert found == []
    assert any(MARK.encode() in octets for name, octets in kept.items() if name.startswith("gateway.db"))
    assert MARK.encode() in kept["gateway.log"]


def in_untagged(kind: bytes, octets: bytes, tagged: bytes) -> Callable[[Session, bytes, bytes], bool]:
    def script(session: Session, tag: bytes, _command: bytes) -> bool:
        session.send(b"* " + kind + b" " + octets + b"\r\n" + tag + b" " + tagged + b"\r\n")
        return not kind.startswith(b"BYE")

    return script


@pytest.mark.parametrize("form", FORMS)
def test_over_imap(client: httpx.Client, folder: Path, form: str) -> None:
    said = f"{MARK} {FORMS[form]} {MARK}".encode()
    with ScriptedImap() as imap:
        connector_id = connected(client, imap, None)

        def fetch() -> str | None:
            answer = client.post(f"/connectors/{connector_id}/fetch", headers=administrator())
            error = answer.json()["error"]
            return error["code"] if error else None

        imap.once(rb"LOGIN|AUTHENTICATE", in_untagged(b"OK [ALERT]", said, b"OK " + said))
        imap.once(rb"SELECT", says(b"NO " + said))
        assert fetch() == "folder_not_selectable"
        assert MARK in shown(client, connector_id)["alert"]["text"]
        assert MARK in shown(client, connector_id)["last_error"]["server_text"]
        imap.once(rb"LOGIN|AUTHENTICATE", in_untagged(b"NO", said, b"NO [UNAVAILABLE] " + said))
        assert fetch() == "mail_server_unavailable"
        imap.once(rb"UID SEARCH", in_untagged(b"BYE", said, b"NO [" + said.replace(b"]", b"") + b"] x"))
        assert fetch() == "connection_lost"
        imap.once(rb"UID SEARCH", says(b"NO [" + said.replace(b"]", b"") + b"] x"))
        assert fetch() == "command_refused"
    assert_is_nowhere(folder, FORMS[form])


def smtp_that_says(said: bytes, *, at: bytes) -> Speak:
    """An SMTP server that refuses one command with these words, in several lines."""

    def speak(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        for line in connection.makefile("rb"):
            verb = line.split()[0].upper()
            if verb == at:
                code = b"454" if at == b"AUTH" else b"550"
                connection.sendall(b"".join(code + each + said + b"\r\n" for each in (b"-", b" ")))
            elif verb == b"EHLO":
                connection.sendall(b"250-ready\r\n250 AUTH PLAIN\r\n")
            else:
                connection.sendall(b"235 in\r\n" if verb == b"AUTH" else b"250 fine\r\n")

    return speak


@pytest.mark.parametrize("at", [b"AUTH", b"MAIL", b"RCPT"])
@pytest.mark.parametrize("form", ["plain", "quoted", "SASL PLAIN", "percent"])
def test_over_smtp(client: httpx.Client, folder: Path, form: str, at: bytes) -> None:
    said = f"{MARK} {FORMS[form]} {MARK}".encode()
    with ScriptedImap() as imap, speaking(smtp_that_says(said, at=at)) as port:
        connector_id = connected(client, imap, port)
        body = {"connector_id": connector_id, "to": ["eva@example.net"], "subject": "x", "text": "x"}
        answer = client.post("/submissions", json=body, headers=administrator())
        assert answer.status_code == 201, answer.text
        path = f"/submissions/{answer.json()['id']}"

        def is_over() -> bool:
            attempts: int = client.get(path, headers=administrator()).json()["attempts"]
            status = client.get(path, headers=administrator()).json()["status"]
            return attempts > 0 and status != "sending"

        wait_until(is_over, 60, "an attempt")
        report = client.post(f"/connectors/{connector_id}/test", headers=administrator()).json()
        assert report["smtp"]["ok"] is (at != b"AUTH")
    assert_is_nowhere(folder, FORMS[form])
