"""The programs in `examples/` do what they say, with the served gateway. The page there is tested in `tests/browser`."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.callers import Callers, user_token
from tests.support.served_mailbox import ServedMailbox
from tests.support.settings import ROOT
from tools.clients.install import NODE
from tools.servers.dovecot import Dovecot
from tools.servers.process import free_port, wait_until
from tools.servers.smtp import SmtpServer

EXAMPLES = ROOT / "examples"
ADMINISTRATOR = Callers.user("root", admin=True)
PATIENCE_S = 60.0


def test_each_example_can_be_read_at_a_glance() -> None:
    files = [path for path in EXAMPLES.iterdir() if path.is_file()]
    assert len(files) > 3
    for path in files:
        assert len(path.read_text().splitlines()) < 40, path.name


@contextlib.contextmanager
def running(*command: str | Path, folder: Path, **environment: str) -> Iterator[Path]:
    """The program, until the block ends; the file into which it prints."""
    printed = folder / "printed.txt"
    with printed.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        yield printed
        assert process.poll() is None, printed.read_text()
    finally:
        process.kill()
        process.wait()


def has_printed(printed: Path, text: str) -> bool:
    return text in printed.read_text()


@pytest.mark.parametrize("language", ["python", "node"])
def test_a_receiver_takes_events_and_refuses_what_is_not_signed(
    served: httpx.Client, request: pytest.FixtureRequest, tmp_path: Path, language: str
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    hook = served.post("/webhooks", json={"url": url}, headers=ADMINISTRATOR).raise_for_status().json()
    command: tuple[str | Path, ...] = (sys.executable, EXAMPLES / "receiver.py")
    if language == "node":
        program = tmp_path / "receiver.mjs"
        program.write_bytes((EXAMPLES / "receiver.mjs").read_bytes())
        packages: Path = request.getfixturevalue("node_packages")
        (tmp_path / "node_modules").symlink_to(packages / "node_modules")
        command = (NODE, program)
    with running(*command, str(port), folder=tmp_path, WEBHOOK_SECRET=hook["secret"]) as printed:
        wait_until(lambda: _status_of_a_forgery(url) == 401, PATIENCE_S, "the receiver")
        connector = served.post("/connectors", json=_connector(language), headers=ADMINISTRATOR)
        subject = f"connectors/{connector.raise_for_status().json()['id']}"
        wait_until(
            lambda: has_printed(printed, f"com.aymine.imap.connector.credentials_required.v1 {subject}"),
            PATIENCE_S,
            "the event",
        )
        served.post(
            f"/webhooks/{hook['id']}/replay", json={"since": hook["created_at"]}, headers=ADMINISTRATOR
        ).raise_for_status()
        wait_until(lambda: _deliveries(served, hook["id"]) >= {"delivered"}, PATIENCE_S, "the replay")
        assert printed.read_text().count(subject) == 1
        assert "forged" not in printed.read_text()
    served.delete(f"/webhooks/{hook['id']}", headers=ADMINISTRATOR).raise_for_status()


def _connector(language: str) -> dict[str, Any]:
    """A mailbox without a password: its event comes at once."""
    imap = {"host": f"{language}.firma.invalid", "username": language}
    return {"name": language, "kind": "shared", "email_address": f"{language}@firma.cz", "imap": imap}


def _status_of_a_forgery(url: str) -> int | None:
    with contextlib.suppress(httpx.TransportError):
        event = {"id": "forged", "type": "forged", "subject": "forged"}
        headers = {
            "webhook-id": "forged",
            "webhook-timestamp": str(int(time.time())),
            "webhook-signature": "v1,Zm9yZ2Vk",
        }
        return httpx.post(url, json=event, headers=headers, trust_env=False, timeout=PATIENCE_S).status_code
    return None


def _deliveries(served: httpx.Client, webhook_id: str) -> set[str]:
    """The states of the webhook's deliveries; empty while one is open."""
    answer = served.get(f"/webhooks/{webhook_id}/deliveries?limit=200", headers=ADMINISTRATOR)
    states = {each["status"] for each in answer.raise_for_status().json()["data"]}
    return states if states <= {"delivered"} else set()


def test_the_poller_tells_each_message_and_after_a_restart_only_what_is_new(
    served: httpx.Client, dovecot: Dovecot, smtp_server: SmtpServer, tmp_path: Path
) -> None:
    mailbox = ServedMailbox.made(served, dovecot, smtp_server, group="pollers")
    [first] = mailbox.receive(b"From: eva@firma.cz\r\nSubject: First\r\n\r\nx\r\n")
    environment = {
        "IMAP_GATEWAY": str(served.base_url),
        "TOKEN": user_token("petr", groups=["pollers"]),
        "NO_PROXY": "127.0.0.1",
    }
    poller = (sys.executable, EXAMPLES / "poller.py")
    with running(*poller, folder=tmp_path, **environment) as printed:
        wait_until((tmp_path / "place.txt").exists, PATIENCE_S, "the first page")
        assert has_printed(printed, f"{first['id']} eva@firma.cz First\n")
    printed.unlink()
    with running(*poller, folder=tmp_path, **environment) as printed:
        [second] = mailbox.receive(b"From: eva@firma.cz\r\nSubject: Second\r\n\r\nx\r\n")
        wait_until(lambda: has_printed(printed, f"{second['id']} eva@firma.cz Second\n"), PATIENCE_S, "it")
        assert "First" not in printed.read_text()
