"""The promise, watched from outside while it is kept: nothing is moved whose bytes are not committed, and others who
use the same mailbox at the same time lose nothing either."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine

from app.gateway import Gateway
from app.services import fetch_cycle
from tests.commands import TAKES_MAIL_OUT, stored_source, uids_in
from tests.conftest import ROOT, SettingsFactory
from tests.fetched_mailbox import Mailbox, hashes, mailbox
from tests.servers.dovecot import Dovecot
from tests.servers.imap_proxy import Exchange, ImapProxy
from tests.servers.process import wait_until
from tests.stored_mail import mail

CAPABILITIES = {"MOVE": (), "UIDPLUS only": ("MOVE",), "neither": ("MOVE", "UIDPLUS")}
WAIT_S = 30.0


@pytest.fixture
def box(gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy) -> Mailbox:
    made = mailbox(gateway, dovecot, imap_port=imap_proxy.port, first_fetch="all", poll_interval_s=1)
    dovecot.deliver_all(made.user, [mail(f"mail {number}") for number in range(70)])
    return made


class Oracle:
    """Looks into the database by a connection of its own, before a command goes on to the server."""

    def __init__(self, database_url: str, reference: dict[int, bytes]) -> None:
        self._engine = create_engine(database_url)
        self._reference = reference
        self.violations: list[str] = []
        self.checked = 0

    def __call__(self, exchange: Exchange) -> list[bytes]:
        for uid in uids_in(exchange.command):
            self.checked += 1
            if stored_source(self._engine, uid) != self._reference[uid]:
                self.violations.append(f"UID {uid} in {exchange.command!r}")
        return exchange.pass_on()

    def close(self) -> None:
        self._engine.dispose()


@pytest.mark.parametrize("hidden", CAPABILITIES.values(), ids=CAPABILITIES.keys())
def test_no_move_leaves_for_a_mail_whose_exact_bytes_are_not_committed(
    box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy, hidden: tuple[str, ...]
) -> None:
    reference = {message.uid: message.raw for message in dovecot.messages(box.user)}
    oracle = Oracle(box.gateway.settings.database_url, reference)
    imap_proxy.hide(*hidden)
    imap_proxy.break_on(TAKES_MAIL_OUT, oracle, times=1000)
    assert box.fetch_well().moved == 70
    oracle.close()
    assert oracle.violations == []
    assert oracle.checked >= 70


@pytest.mark.parametrize("instances", [2, 4])
def test_several_instances_on_one_mailbox_double_nothing(
    box: Mailbox, settings: SettingsFactory, instances: int
) -> None:
    reference = box.raws("INBOX")
    with contextlib.ExitStack() as stack:
        gateways = [
            stack.enter_context(contextlib.closing(Gateway.from_settings(settings())))
            for _ in range(instances)
        ]
        threads = [
            threading.Thread(target=lambda each=each: fetch_cycle.run(each, box.connector_id))
            for each in gateways * 3
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    box.fetch_well()
    assert hashes(box.sources()) == hashes(reference)
    assert hashes(box.raws("Trash")) == hashes(reference)
    assert len(box.events("message.stored")) == len(reference)


def test_another_client_that_moves_and_deletes_at_the_same_time_disturbs_nothing(
    box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy
) -> None:
    reference = {message.uid: message.raw for message in dovecot.messages(box.user)}
    taken_by_other = {3, 4, 55, 56, 57}

    def interfere(exchange: Exchange) -> list[bytes]:
        with dovecot.client(box.user) as client:
            client.create_folder("Elsewhere") if not client.folder_exists("Elsewhere") else None
            client.select_folder("INBOX")
            present = [uid for uid in client.search("ALL") if uid in taken_by_other]
            if present:
                client.move(present, "Elsewhere")
        return exchange.pass_on()

    imap_proxy.break_on(r"UID FETCH .*BODY", interfere, times=1)
    box.fetch()
    cycle = box.fetch_well()
    assert cycle.found == 0
    expected = [raw for uid, raw in reference.items() if uid not in taken_by_other]
    assert hashes(box.sources()) == hashes(expected)
    assert hashes(box.raws("Trash")) == hashes(expected)
    assert hashes(box.raws("Elsewhere")) == hashes([reference[uid] for uid in taken_by_other])
    assert box.events("message.quarantined") == []


def test_a_mail_that_another_client_takes_between_commit_and_move_is_stored_and_settled(
    box: Mailbox, dovecot: Dovecot, imap_proxy: ImapProxy
) -> None:
    def interfere(exchange: Exchange) -> list[bytes]:
        with dovecot.client(box.user) as client:
            client.select_folder("INBOX")
            client.delete_messages([2])
            client.expunge([2])
        return exchange.pass_on()

    imap_proxy.break_on("UID MOVE", interfere)
    cycle = box.fetch_well()
    assert cycle.stored == 70
    assert cycle.moved == len(box.raws("Trash")) == 69
    assert [row.move_state for row in box.ledger() if row.uid == 2] == ["gone"]
    assert box.fetch_well().found == 0


STALLED = """
import json, sys
from app import logs
from app.config import Settings
from app.gateway import Gateway
from app.services import fetch_cycle
logs.configure(level=50)
wanted = json.loads(sys.argv[1])
cycle = fetch_cycle.run(Gateway.from_settings(Settings(**wanted["settings"])), wanted["connector_id"])
print(json.dumps(cycle.error_code if cycle else "none"), flush=True)
"""


@pytest.fixture
def stopped_before_move(
    box: Mailbox, imap_proxy: ImapProxy
) -> Iterator[tuple[subprocess.Popen[str], threading.Event]]:
    """Another instance, stopped (SIGSTOP) when it has fetched a batch and is about to commit and move it."""
    settings = {
        "database_url": box.gateway.settings.database_url,
        "secret_keys": box.gateway.settings.secret_keys[0].get_secret_value(),
        "allowed_private_networks": "127.0.0.0/8",
        "lease_s": 1,
        "command_timeout_s": 60,  # else it would only notice that its command took too long
        "fetch_threads": 1,
    }
    reached = threading.Event()

    def stop_process(exchange: Exchange) -> list[bytes]:
        # The last command before the commit: its answer reaches a process that stands still.
        os.kill(process.pid, signal.SIGSTOP)
        reached.set()
        return exchange.pass_on()

    imap_proxy.break_on("STATUS", stop_process)
    process = subprocess.Popen(
        [sys.executable, "-c", STALLED, json.dumps({"settings": settings, "connector_id": box.connector_id})],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process, reached
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
    process.wait(WAIT_S)
    assert process.stdout is not None
    process.stdout.close()


def test_an_instance_that_stood_still_until_its_lease_was_gone_moves_nothing(
    box: Mailbox,
    dovecot: Dovecot,
    settings: SettingsFactory,
    stopped_before_move: tuple[subprocess.Popen[str], threading.Event],
) -> None:
    process, reached = stopped_before_move
    reference = box.raws("INBOX")
    assert reached.wait(WAIT_S)
    with contextlib.closing(Gateway.from_settings(settings(lease_s=1, command_timeout_s=2))) as other:
        started = time.monotonic()
        wait_until(lambda: fetch_cycle.run(other, box.connector_id) is not None, WAIT_S, "the takeover")
        assert time.monotonic() - started > 1, (
            "taken over before the lease and a command's deadline were over"
        )
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == '"lease_lost"'
        for _ in range(2):
            fetch_cycle.run(other, box.connector_id)
    assert hashes(box.sources()) == hashes(reference)
    assert hashes(box.raws("Trash")) == hashes(reference)


def test_secrets_and_content_stay_out_of_the_log(
    box: Mailbox, dovecot: Dovecot, capfd: pytest.CaptureFixture[str]
) -> None:
    canary = hashlib.sha256(b"subject").hexdigest()
    dovecot.deliver(box.user, mail(canary, text=f"text-{canary}"))
    box.fetch_well()
    out, err = capfd.readouterr()
    assert "fetch_cycle" in out + err
    assert canary not in out + err
    assert dovecot.password not in out + err
