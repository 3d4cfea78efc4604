"""Planted secrets and contents are found nowhere where they must not be.

The gateway is served by its own command, with its jobs, on real servers: mail is fetched, sent and announced, and
much goes wrong meanwhile. Then the database's files and rows, the log, every answer to every caller and what the
webhook received are searched: passwords, keys and tokens are in none of them, contents only where messages are
kept and in what their readers were answered.
"""

import base64
import contextlib
import html
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import MetaData, create_engine, select, text

from tests.support.callers import JWT_SECRET, bearer, user_token
from tests.support.forked_command import ForkedCommand
from tests.support.stored_mail import with_attachment
from tools.servers.dovecot import Dovecot
from tools.servers.http_receiver import HttpReceiver
from tools.servers.process import end, free_port, wait_until
from tools.servers.smtp import SmtpServer

SECRET_KEY = "the-secret-key-of-the-canaries-is-long-enough"
MAX_MESSAGE_OCTETS = 20_000
GROUP = "sales"
MESSAGE_TABLES = {
    *("messages", "message_bodies", "quarantine"),
    *("submissions", "submission_bodies", "submission_recipients"),
}
READERS = {"member", "owner", "key"}


def canary(name: str) -> str:
    """A text that occurs nowhere else."""
    return f"{name}-{secrets.token_hex(8)}"


@dataclass
class Canaries:
    """The planted texts. Secrets must not be found anywhere; contents only where mail is kept and read."""

    secrets: dict[str, str]
    contents: dict[str, str]
    shown: dict[str, int] = field(default_factory=dict)
    """The one answer, by its number, that shows a new secret."""


@dataclass(frozen=True)
class Answered:
    """What a caller was answered."""

    who: str
    what: str
    text: str


class Served:
    """The served gateway, and all that it has answered."""

    def __init__(self, client: httpx.Client, log: Path) -> None:
        self._client = client
        self.log = log
        self.answers: list[Answered] = []
        self.headers: dict[str, dict[str, str]] = {
            "nobody": {},
            "administrator": bearer(user_token("administrator", admin=True)),
            "member": bearer(user_token("petr", groups=[GROUP])),
            "owner": bearer(user_token("jana")),
            "other": bearer(user_token("eva")),
        }

    def ask(self, who: str, method: str, path: str, *expected: int, **request: Any) -> Any:
        """Send a request and keep the answer. Returns its JSON, if it has one."""
        headers = {**self.headers[who], **request.pop("headers", {})}
        answer = self._client.request(method, path, headers=headers, **request)
        assert answer.status_code in (expected or (200,)), (who, method, path, answer.text)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.answers.append(Answered(who, f"{method} {path}", f"{head}\n\n{answer.text}"))
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text


@contextlib.contextmanager
def served(database_url: str, folder: Path) -> Iterator[Served]:
    """`imap-gateway serve` with its jobs, in a process of its own."""
    port = free_port()
    environment = {
        **os.environ,
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_SECRET_KEYS": SECRET_KEY,
        "GATEWAY_JWT_SECRET": JWT_SECRET,
        "GATEWAY_ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
        "GATEWAY_MAX_MESSAGE_OCTETS": str(MAX_MESSAGE_OCTETS),
    }
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = ForkedCommand(
            ["serve", "--port", str(port)],
            folder=folder,  # a developer's .env is not for tests
            environment=environment,
            output=output,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            wait_until(lambda: _is_live(client), 60, "the gateway")
            yield Served(client, log)
    finally:
        end(process, grace_s=10)


def _is_live(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/health/live").status_code == 200
    return False


@pytest.fixture
def canaries(dovecot: Dovecot) -> Canaries:
    wrong = {f"wrong password {number}": canary("wrong-password") for number in range(4)}
    return Canaries(
        secrets={
            "password": dovecot.password,
            **wrong,
            "JWT secret": JWT_SECRET,
            "secret key": SECRET_KEY,
            "refused token": canary("gwk-token"),
        },
        contents={
            name: canary(name.replace(" ", "-"))
            for name in (
                "subject",
                "text",
                "file",
                "sender",
                "large",
                "sent subject",
                "sent text",
                "addressee",
            )
        },
    )


def test_secrets_are_found_nowhere_and_contents_only_with_their_readers(
    database_url: str, tmp_path: Path, dovecot: Dovecot, http_receiver: HttpReceiver, canaries: Canaries
) -> None:
    user = dovecot.new_user()
    with (
        SmtpServer(user=user, password=dovecot.password, auth_required=True) as smtp,
        served(database_url, tmp_path) as gateway,
    ):
        for name, headers in gateway.headers.items():
            if headers:
                canaries.secrets[f"token of {name}"] = headers["Authorization"].rsplit(".", 1)[1]
        connector_id = _connect(gateway, canaries, dovecot, smtp, user, http_receiver)
        _receive(gateway, canaries, dovecot, user, connector_id)
        _send(gateway, canaries, smtp, connector_id)
        _let_the_owner_in(gateway, canaries, dovecot)
        _let_the_owner_in_by_a_link(gateway, canaries, dovecot)
        _log_in_wrongly(gateway, canaries, connector_id)
        _send_what_is_refused(gateway, canaries, connector_id)
        _break_something(gateway, canaries, database_url, connector_id)
        _look_around(gateway, connector_id)
        http_receiver.wait_for(5, timeout_s=60)
        rows = _dump(database_url)
        files = _files(database_url)
        log = gateway.log.read_text(encoding="utf-8")
    received = [f"{request.headers} {request.body.decode()}" for request in http_receiver.requests]

    # Make sure that the run covered everything: otherwise it would prove nothing that nothing was found.
    assert all(f'"event": "{event}"' in log for event in ("request", "unexpected_error", "mail_server_error"))
    assert any(canaries.contents["subject"] in row for row in rows["messages"])
    assert any(canaries.contents["large"] in row for row in rows["quarantine"])
    assert any("credential" in row for row in rows["audit_records"])
    assert any(canaries.contents["sent text"].encode() in mail.raw for mail in smtp.mails)
    assert any(canaries.contents["text"] in answer.text for answer in gateway.answers)

    places: dict[str, str | bytes] = {
        "the log": log,
        **{f"the file {name}": content for name, content in files.items()},
        **{f"the table {table}": "\n".join(found) for table, found in rows.items()},
        **{f"delivery {number}": each for number, each in enumerate(received)},
        **{
            f"answer {number} to {answer.who}: {answer.what}": answer.text
            for number, answer in enumerate(gateway.answers)
        },
    }
    shown = {(name, f"answer {number} ") for name, number in canaries.shown.items()}
    assert [
        (name, place)
        for place, content in places.items()
        for name, secret in canaries.secrets.items()
        if _holds(content, *_forms(secret))
        and not any(place.startswith(at) for by, at in shown if by == name)
    ] == []
    readable = {f"the table {table}" for table in MESSAGE_TABLES} | {f"the file {name}" for name in files}
    readable |= {
        f"answer {number} to {answer.who}: {answer.what}"
        for number, answer in enumerate(gateway.answers)
        if answer.who in READERS
    }
    assert [
        (name, place)
        for place, content in places.items()
        if place not in readable
        for name, planted in canaries.contents.items()
        if _holds(content, *_forms(planted))
    ] == []


@pytest.mark.parametrize("before", ["", "\0", "\0jana\0", "password="])
def test_a_secret_is_recognised_inside_base64(before: str) -> None:
    secret = canary("secret")
    encoded = base64.b64encode(f"{before}{secret} and more".encode())
    assert _holds(encoded, *_forms(secret))
    assert not _holds(base64.b64encode(f"{before}{canary('secret')}".encode()), *_forms(secret))


def _connect(
    gateway: Served,
    canaries: Canaries,
    dovecot: Dovecot,
    smtp: SmtpServer,
    user: str,
    receiver: HttpReceiver,
) -> str:
    """A shared mailbox with a group, a webhook and API keys."""
    hook = gateway.ask("administrator", "POST", "/webhooks", 201, json={"url": f"{receiver.url}/hook"})
    canaries.secrets["webhook secret"] = hook["secret"].removeprefix("whsec_")
    canaries.shown["webhook secret"] = len(gateway.answers) - 1
    for name, scopes in (
        ("key", ["connectors:read", "messages:read", "events:read"]),
        ("key for events", ["events:read", "connectors:read"]),
    ):
        made = gateway.ask("administrator", "POST", "/api-keys", 201, json={"name": name, "scopes": scopes})
        canaries.secrets[name] = made["key"].split("_", 2)[2]
        canaries.shown[name] = len(gateway.answers) - 1
        gateway.headers[name] = bearer(made["key"])
    servers = {"security": "none", "username": user}
    made = gateway.ask(
        "administrator",
        "POST",
        "/connectors",
        201,
        json={
            "name": "Orders",
            "kind": "shared",
            "email_address": "orders@firma.cz",
            "imap": {"host": dovecot.host, "port": dovecot.port, **servers},
            "smtp": {"host": smtp.host, "port": smtp.port, **servers},
            "credentials": _password(dovecot.password),
            "poll_interval_s": 86400,
        },
    )
    body = {"connector_id": made["id"], "group": GROUP}
    gateway.ask("administrator", "POST", "/group-bindings", 201, json=body)
    return str(made["id"])


def _receive(gateway: Served, canaries: Canaries, dovecot: Dovecot, user: str, connector_id: str) -> None:
    """Two mails, of which one is too large; read by those who may, tried by those who may not."""
    planted = canaries.contents
    raw = with_attachment(f'attachment; filename="{planted["file"]}.pdf"')
    raw = raw.replace(b"Subject: File", f"Subject: {planted['subject']}".encode())
    raw = raw.replace(b"jana@example.com", f"{planted['sender']}@example.com".encode())
    raw = raw.replace(b"see there", planted["text"].encode())
    large = f"Subject: {planted['large']}\r\n\r\n".encode() + b"x" * MAX_MESSAGE_OCTETS
    dovecot.deliver_all(user, [raw, large])
    gateway.ask("administrator", "POST", f"/connectors/{connector_id}/fetch")
    [message] = gateway.ask("member", "GET", f"/messages?q={planted['subject']}")["data"]
    at = f"/messages/{message['id']}"
    for reader in ("member", "key"):
        for path in ("/messages", at, f"{at}/source", f"{at}/attachments/1", "/quarantine"):
            gateway.ask(reader, "GET", path)
    gateway.ask("member", "GET", f"/messages?q={planted['text']}&state=bad", 422)
    for who in ("administrator", "other", "owner"):
        for path in (at, f"{at}/source", f"{at}/attachments/1"):
            gateway.ask(who, "GET", path, 404)
        for path in ("/messages", f"/messages?q={planted['text']}", "/quarantine", "/submissions"):
            assert gateway.ask(who, "GET", path)["data"] == []
    gateway.ask("key for events", "GET", at, 403)


def _send(gateway: Served, canaries: Canaries, smtp: SmtpServer, connector_id: str) -> None:
    """A mail is sent."""
    planted = canaries.contents
    made = gateway.ask(
        "member",
        "POST",
        "/submissions",
        201,
        json={
            "connector_id": connector_id,
            "to": [f"{planted['addressee']}@example.com"],
            "subject": planted["sent subject"],
            "text": planted["sent text"],
        },
    )
    smtp.wait_for(1, timeout_s=30)
    path = f"/submissions/{made['id']}"
    wait_until(lambda: gateway.ask("member", "GET", path)["status"] == "sent", 30, "the submission")
    gateway.ask("administrator", "GET", path, 404)


def _let_the_owner_in(gateway: Served, canaries: Canaries, dovecot: Dovecot) -> None:
    """A personal mailbox, whose owner enters the password."""
    path = _personal(gateway, dovecot)
    gateway.ask("owner", "PUT", f"{path}/credentials", json=_password(dovecot.password))
    gateway.ask("owner", "POST", f"{path}/test")
    gateway.ask("owner", "GET", f"{path}/folders")
    refused = _password(canaries.secrets["wrong password 0"])
    gateway.ask("administrator", "PUT", f"{path}/credentials", 403, json=refused)
    gateway.ask("administrator", "PATCH", path, 403, json={"credentials": refused})
    gateway.ask("administrator", "POST", f"{path}/fetch")


def _let_the_owner_in_by_a_link(gateway: Served, canaries: Canaries, dovecot: Dovecot) -> None:
    """Another one, whose owner has a link."""
    path = _personal(gateway, dovecot)
    link = gateway.ask("administrator", "POST", f"{path}/credential-links", 201)["url"]
    token = link.rpartition("/")[2]
    canaries.secrets["link"] = token
    canaries.shown["link"] = len(gateway.answers) - 1
    page = f"/credential-links/{token}"
    seen = _hidden("seen", gateway.ask("nobody", "GET", page))
    for password, status in ((canaries.secrets["wrong password 3"], 422), (dovecot.password, 200)):
        form = {"step": "check", "seen": seen, "password": password}
        answer = gateway.ask("nobody", "POST", page, status, data=form)
    form = {"step": "connect", "seen": seen, "sealed": _hidden("sealed", answer)}
    gateway.ask("nobody", "POST", page, data=form)
    gateway.ask("nobody", "GET", page)  # what has become of it
    assert gateway.ask("owner", "GET", path)["has_credentials"]


def _hidden(name: str, page: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return html.unescape(found[1])


def _personal(gateway: Served, dovecot: Dovecot) -> str:
    """The path of a new personal connector, made by an administrator."""
    user = dovecot.new_user()
    body = {
        "name": "Jana",
        "kind": "personal",
        "owner": "jana",
        "email_address": "jana@firma.cz",
        "imap": {"host": dovecot.host, "port": dovecot.port, "security": "none", "username": user},
        "poll_interval_s": 86400,
    }
    return f"/connectors/{gateway.ask('administrator', 'POST', '/connectors', 201, json=body)['id']}"


def _log_in_wrongly(gateway: Served, canaries: Canaries, connector_id: str) -> None:
    """Wrong passwords, until the connector is stopped."""
    path = f"/connectors/{connector_id}"
    settings = gateway.ask("administrator", "GET", path)
    wrong = _password(canaries.secrets["wrong password 1"])
    tried = {"imap": settings["imap"], "smtp": settings["smtp"], "credentials": wrong}
    report = gateway.ask("other", "POST", "/connectors/test", json=tried)
    assert (report["imap"]["code"], report["smtp"]) == ("login_refused", None)
    gateway.ask("administrator", "PATCH", path, json={"credentials": wrong})
    gateway.ask("administrator", "GET", f"{path}/folders", 502)
    while (now := gateway.ask("administrator", "GET", path))["status"] != "stopped":
        gateway.ask("administrator", "POST", f"{path}/fetch", 200, 409)
    assert now["last_error"]["code"] == "login_refused"


def _send_what_is_refused(gateway: Served, canaries: Canaries, connector_id: str) -> None:
    """Input that is not valid and holds what must not come back."""
    secret = canaries.secrets["wrong password 2"]
    path = f"/connectors/{connector_id}"
    for method, at, body in (
        ("PUT", f"{path}/credentials", {"type": "password", "password": secret, "hint": secret}),
        ("PUT", f"{path}/credentials", {"type": secret, "password": secret}),
        ("PUT", f"{path}/credentials", {"type": "password", "password": [secret]}),
        ("PUT", f"{path}/credentials", {"type": "password", "password": secret * 100}),
        ("PUT", f"{path}/credentials", secret),
        ("PATCH", path, {"credentials": secret}),
        ("PATCH", path, {"imap": {"port": secret, "username": f"{secret}\r\n"}}),
        ("POST", "/connectors", {"name": "x", "kind": secret, "credentials": _password(secret)}),
        ("POST", "/connectors/test", {"imap": {"host": f"a b{secret}"}, "credentials": _password(secret)}),
        ("POST", "/webhooks", {"url": f"https://user:{secret}@crm.firma.invalid/"}),
        ("POST", "/api-keys", {"name": "x", "scopes": [secret], "expires_at": secret}),
        ("POST", "/messages/delete", {"q": [secret], "ids": [f"{secret}/"]}),
    ):
        gateway.ask("administrator", method, at, 422, json=body)
    for content in (f'{{"password": "{secret}"', f'\xff{{"password": "{secret}"}}', f"password={secret}"):
        for encoding in ("utf-8", "latin-1"):
            refused = content.encode(encoding)
            gateway.ask("administrator", "PUT", f"{path}/credentials", 422, content=refused)
    for at, status in ((f"/{secret}", 404), (f"/messages/{secret}", 404), (f"/events?after={secret}", 422)):
        gateway.ask("member", "GET", at, status)
    token = canaries.secrets["refused token"]
    for header in (bearer(token), {"Authorization": f"Basic {token}"}, bearer(f"gwk_abcdefgh_{token}")):
        gateway.ask("nobody", "GET", "/connectors", 401, headers=header)
    gateway.ask("nobody", "GET", f"/connectors?token={token}", 401)


def _break_something(gateway: Served, canaries: Canaries, database_url: str, connector_id: str) -> None:
    """An error nobody has foreseen: a table is gone in the middle of a statement that holds contents."""
    body = {
        "connector_id": connector_id,
        "to": [f"{canaries.contents['addressee']}@example.com"],
        "subject": canaries.contents["sent subject"],
        "text": canaries.contents["sent text"],
    }
    gateway.ask("member", "POST", "/submissions", 201, json=body)
    engine = create_engine(database_url)
    try:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE submission_recipients RENAME TO set_aside"))
        gateway.ask("member", "POST", "/submissions", 500, json=body)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE set_aside RENAME TO submission_recipients"))
    finally:
        engine.dispose()


def _look_around(gateway: Served, connector_id: str) -> None:
    """All that administrators and others are shown beside."""
    path = f"/connectors/{connector_id}"
    hooks = gateway.ask("administrator", "GET", "/webhooks")["data"]
    for at in (
        "/connectors",
        path,
        f"{path}/cycles",
        "/group-bindings",
        "/events?limit=200",
        "/api-keys",
        "/audit?limit=200",
        *(f"/webhooks/{hook['id']}/deliveries" for hook in hooks),
    ):
        gateway.ask("administrator", "GET", at)
    for who in ("other", "key for events", "member"):
        gateway.ask(who, "GET", "/events")
        gateway.ask(who, "GET", "/connectors")
    for at in ("/metrics", "/openapi.json", "/docs", "/health/ready"):
        gateway.ask("nobody", "GET", at)


def _password(secret: str) -> dict[str, str]:
    return {"type": "password", "password": secret}


def _dump(database_url: str) -> dict[str, list[str]]:
    """Every column of every row, as text."""
    engine = create_engine(database_url)
    try:
        tables = MetaData()
        tables.reflect(engine)
        with engine.connect() as connection:
            return {
                table.name: [_as_text(row._mapping) for row in connection.execute(select(table))]
                for table in tables.sorted_tables
            }
    finally:
        engine.dispose()


def _as_text(row: Mapping[Any, Any]) -> str:
    return " ".join(
        value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in row.values()
    )


def _files(database_url: str) -> dict[str, bytes]:
    """SQLite's file and the files beside it, including the write-ahead log."""
    if not database_url.startswith("sqlite:///"):
        return {}
    path = Path(database_url.removeprefix("sqlite:///"))
    files = {each.name: each.read_bytes() for each in path.parent.glob(path.name + "*")}
    assert {path.name, path.name + "-wal"} <= set(files)
    return files


def _forms(secret: str) -> list[str]:
    """The secret as it is, as a URL has it, and as it looks within base64, wherever it begins there (as in the
    answer to AUTH PLAIN)."""
    octets = secret.encode()
    forms = [secret, quote(secret, safe="")]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + octets).decode()
        forms.append(encoded[-(-before * 8 // 6) : (before + len(octets)) * 8 // 6])
    return forms


def _holds(content: str | bytes, *forms: str) -> bool:
    if isinstance(content, bytes):
        return any(form.encode() in content for form in forms)
    return any(form in content for form in forms)
