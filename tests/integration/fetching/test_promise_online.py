"""The promise, watched from outside while it is kept: nothing is moved whose bytes are not committed, and others who
use the same mailbox at the same time lose nothing either."""

import contextlib
import hashlib
import itertools
import operator
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from sqlalchemy import create_engine, update

from app import clock
from app.config import Settings
from app.gateway import Gateway
from app.models import Lease
from app.services.fetching import fetch_cycle
from tests.support.commands import TAKES_MAIL_OUT, stored_source, uids_in
from tests.support.fetched_mailbox import Mailbox, hashes, mailbox
from tests.support.figures import FIGURES
from tests.support.instance import Instance
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import Exchange, ImapProxy
from tools.servers.process import ServerFailed, wait_until

CAPABILITIES = {"MOVE": (), "UIDPLUS only": ("MOVE",), "neither": ("MOVE", "UIDPLUS")}
WAIT_S = 240.0
"""Several instances, each in a process of its own: on a machine busy with 20 others, 60 s were too few for three of them."""
HOLD_S = 3.0


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
    FIGURES["mails held until they were seen committed"] += oracle.checked
    assert oracle.violations == []
    assert oracle.checked >= 70


class Fleet:
    """Instances in processes of their own that fetch from one mailbox as fast as they can."""

    def __init__(self, box: Mailbox, settings: Settings, instances: int, folder: Path) -> None:
        self._box = box
        self._lock = threading.Lock()
        self._held = 0
        self._gate = threading.Event()
        self._instances = [
            Instance(folder / f"instance-{number}", settings, box.connector_id) for number in range(instances)
        ]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for instance in self._instances:
                stack.enter_context(instance)
                instance.tell("on")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def hold(self, exchange: Exchange) -> list[bytes]:
        """Let a command go to the server only when each of the other instances has tried a cycle meanwhile, or has
        come as far as this itself: without the lease they would all send it now, at the same moment."""
        before = [instance.octets_told for instance in self._instances]
        with self._lock:
            self._held += 1
            gate = self._gate

        def may_go() -> bool:
            now = [instance.octets_told for instance in self._instances]
            with self._lock:
                if self._held + sum(map(operator.gt, now, before)) >= len(before):
                    gate.set()
            return gate.is_set()

        with contextlib.suppress(ServerFailed):
            wait_until(may_go, HOLD_S, "the others")
        with self._lock:
            self._held -= 1
            self._gate = threading.Event()
        return exchange.pass_on()

    def is_done(self) -> bool:
        """Whether the source folder is empty."""
        with self._box.server.client(self._box.user) as client:
            return int(client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"]) == 0

    def all_have_stored(self) -> bool:
        """Whether each instance has had the mailbox for itself at some time."""
        return all(instance.stored for instance in self._instances)

    def errors(self) -> set[str | None]:
        """How the cycles have ended, of all instances."""
        cycles = [cycle for instance in self._instances for cycle in instance.cycles()]
        return {cycle["error"] for cycle in cycles if cycle is not None}


def fetch_by_several(
    box: Mailbox,
    proxy: ImapProxy,
    settings: Settings,
    folder: Path,
    *,
    instances: int,
    rounds: int,
    mails: int,
) -> None:
    """Deliver mails round after round, until each instance has stored some of them; and compare."""
    assert isinstance(box.server, Dovecot)
    delivered = box.raws("INBOX")
    with Fleet(box, settings, instances, folder) as fleet:
        proxy.break_on("UID MOVE", fleet.hold, times=10_000)
        for number in itertools.count():
            wait_until(fleet.is_done, WAIT_S, "an empty source folder")
            if number >= rounds and fleet.all_have_stored():
                break
            assert number < 10 * rounds, "one of the instances never gets the mailbox"
            raws = [mail(f"{number}/{each}") for each in range(mails)]
            box.server.deliver_all(box.user, raws)
            delivered += raws
    FIGURES["mails fetched by several instances"] += len(delivered)
    assert fleet.errors() == {None}
    assert box.fetch_well().found == 0
    assert hashes(box.raws("Trash")) == hashes(delivered)
    assert hashes(box.sources()) == hashes(delivered)
    announced = {event.data["message_id"] for event in box.events("message.stored")}
    assert len(box.events("message.stored")) == len(announced) == len(delivered)


@pytest.mark.parametrize("instances", [3])
def test_several_instances_on_one_mailbox_double_nothing(
    box: Mailbox, imap_proxy: ImapProxy, settings: SettingsFactory, tmp_path: Path, instances: int
) -> None:
    fetch_by_several(box, imap_proxy, settings(lease_s=30), tmp_path, instances=instances, rounds=4, mails=30)


@pytest.mark.soak
@pytest.mark.parametrize("instances", [2, 4, 8])
def test_many_instances_on_one_mailbox_double_nothing_in_many_rounds(
    box: Mailbox, imap_proxy: ImapProxy, settings: SettingsFactory, tmp_path: Path, instances: int
) -> None:
    fetch_by_several(
        box, imap_proxy, settings(lease_s=30), tmp_path, instances=instances, rounds=20, mails=300
    )


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


@pytest.fixture
def stopped_before_move(
    box: Mailbox, imap_proxy: ImapProxy, settings: SettingsFactory, tmp_path: Path
) -> Iterator[Instance]:
    """Another instance, stopped (SIGSTOP) when it has fetched a batch and is about to commit and move it."""
    reached = threading.Event()

    def stop_process(exchange: Exchange) -> list[bytes]:
        # The last command before the commit: its answer reaches a stopped process.
        os.kill(instance.process.pid, signal.SIGSTOP)
        reached.set()
        return exchange.pass_on()

    imap_proxy.break_on("STATUS", stop_process)
    # With a short deadline it would only notice that its command took too long; with a short lease it might be
    # stopped while it renews that, with the database's write lock in its hand.
    patient = settings(lease_s=60, command_timeout_s=60)
    with Instance(tmp_path / "stopped", patient, box.connector_id) as instance:
        instance.tell("once")
        assert reached.wait(WAIT_S)
        yield instance
        with contextlib.suppress(ProcessLookupError):
            os.kill(instance.process.pid, signal.SIGCONT)


def test_an_instance_that_stood_still_until_its_lease_was_gone_moves_nothing(
    box: Mailbox, settings: SettingsFactory, stopped_before_move: Instance
) -> None:
    reference = box.raws("INBOX")
    with box.gateway.db.unit_of_work() as session:
        session.execute(update(Lease).values(expires_at=clock.utc_now()))
    with contextlib.closing(Gateway.from_settings(settings(lease_s=5, command_timeout_s=2))) as other:
        started = time.monotonic()
        wait_until(lambda: fetch_cycle.run(other, box.connector_id) is not None, WAIT_S, "the takeover")
        assert time.monotonic() - started > 1, "taken over before a command's deadline was over, too"
        os.kill(stopped_before_move.process.pid, signal.SIGCONT)
        wait_until(lambda: bool(stopped_before_move.cycles()), WAIT_S, "the cycle's end")
        assert stopped_before_move.cycles() == [{"error": "lease_lost", "found": 70, "stored": 0}]
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
