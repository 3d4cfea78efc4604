"""`imap-gateway apply` and `imap-gateway connectors …`, as commands, against the served gateway and a real Dovecot."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.callers import Callers
from tests.support.forked_command import HeardCommand
from tests.support.served_gateway import served_gateway
from tools.servers.dovecot import Dovecot
from tools.servers.process import free_port

ADMIN = Callers.user("administrator", admin=True)


@pytest.fixture(scope="module")
def client(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("apply")
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder, RUN_JOBS="false") as made:
        yield made


@pytest.fixture(scope="module")
def key(client: httpx.Client) -> str:
    body = {"name": "set-up", "scopes": ["connectors:read", "connectors:write"]}
    answer = client.post("/api-keys", json=body, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


class Shell:
    def __init__(self, client: httpx.Client, key: str, folder: Path, password: str) -> None:
        self.url, self.folder = str(client.base_url), folder
        self.environment = {**os.environ, "GATEWAY_API_KEY": key, "THE_PASSWORD": password}

    def run(self, *arguments: str, url: str | None = None, **environment: str) -> tuple[int, str, str]:
        command = HeardCommand(
            [*arguments, "--url", url or self.url],
            folder=self.folder,
            environment={**self.environment, **environment},
        )
        output, errors = command.ended(300)
        return int(command.returncode or 0), output, errors

    def file(self, text: str) -> str:
        (self.folder / "connectors.yaml").write_text(text, encoding="utf-8")
        return "connectors.yaml"


@pytest.fixture
def shell(client: httpx.Client, key: str, tmp_path: Path, dovecot: Dovecot) -> Shell:
    return Shell(client, key, tmp_path, dovecot.password)


def entry(external_id: str, dovecot: Dovecot, user: str, **changes: Any) -> str:
    values = {
        "external_id": external_id,
        "kind": "shared",
        "name": "Orders",
        "email_address": user,
        "imap": f"{{host: 127.0.0.1, port: {dovecot.port}, security: none, username: {user}}}",
        "first_fetch": "all",
        "credentials": "{type: password, password: {env: THE_PASSWORD}}",
        **changes,
    }
    return "  - " + "\n    ".join(f"{name}: {value}" for name, value in values.items()) + "\n"


def test_from_a_file_to_fetched_mail_and_the_second_time_nothing(
    shell: Shell, client: httpx.Client, dovecot: Dovecot
) -> None:
    user = dovecot.new_user()
    dovecot.deliver(user, b"Subject: An order\r\n\r\nTwo of them\r\n")
    file = shell.file("connectors:\n" + entry("apply-1", dovecot, user, groups="[orders]"))
    assert shell.run("apply", file, "--dry-run") == (0, "line 2: apply-1: would be created\n", "")
    assert client.get("/connectors/by-external-id/apply-1", headers=ADMIN).status_code == 404
    assert shell.run("apply", file) == (0, "line 2: apply-1: created\n", "")
    assert shell.run("apply", file) == (0, "line 2: apply-1: unchanged\n", "")
    code, said, _ = shell.run("connectors", "test", "apply-1")
    assert (code, "imap: ok" in said, "waiting messages: 1" in said) == (0, True, True)
    code, said, _ = shell.run("connectors", "fetch", "apply-1")
    assert code == 0
    assert "1 stored" in said
    mail = client.get("/messages", headers=Callers.user("petr", groups=["orders"])).json()["data"]
    assert [each["subject"] for each in mail] == ["An order"]
    code, said, _ = shell.run("connectors", "list")
    assert code == 0
    assert any(line.split() == ["apply-1", "active", user] for line in said.splitlines())


def test_differences_are_shown_and_a_bad_entry_stops_no_other(shell: Shell, dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    file = shell.file("connectors:\n" + entry("apply-2", dovecot, user))
    assert shell.run("apply", file)[0] == 0
    file = shell.file(
        "connectors:\n"
        + entry("apply-bad", dovecot, user, kind="shard")
        + "  - 7\n"
        + entry("apply-2", dovecot, user, name="Renamed")
    )
    code, said, errors = shell.run("apply", file)
    assert code == 1
    assert said.splitlines() == ["line 10: apply-2: changed: name: Orders → Renamed"]
    first, second = errors.splitlines()
    assert first.startswith("line 2: apply-bad: failed: /kind ")
    assert second == "line 9: failed: is not a connector"
    assert dovecot.password not in said + errors


def test_a_connector_that_fails_ends_with_1_and_the_reason(shell: Shell, dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    shell.run("apply", shell.file("connectors:\n" + entry("apply-3", dovecot, user)), THE_PASSWORD="wrong")
    code, said, _ = shell.run("connectors", "test", "apply-3")
    assert code == 1
    assert "imap: login_refused" in said
    code, _, errors = shell.run("connectors", "fetch", "nothing-of-this-name")
    assert code == 1
    assert "not_found" in errors


def test_without_a_gateway_a_key_or_a_file_it_says_what_is_missing(shell: Shell, dovecot: Dovecot) -> None:
    file = shell.file("connectors: []\n")
    assert shell.run("apply", file, GATEWAY_API_KEY="")[0] == 2
    assert "GATEWAY_API_KEY" in shell.run("apply", file, GATEWAY_API_KEY="")[2]
    assert shell.run("apply", "nothing.yaml")[0] == 2
    assert shell.run("apply", shell.file("a: b"))[0] == 2
    file = shell.file("connectors:\n" + entry("apply-4", dovecot, "nobody@firma.test"))
    code, _, errors = shell.run("apply", file, url=f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert "cannot be reached" in errors
    code, _, errors = shell.run("apply", file, GATEWAY_API_KEY="gwk_wrong")
    assert code == 1
    assert "apply-4" in errors
