"""A power cut at any moment leaves no mail moved that is not in the database: what was committed was synced."""

import contextlib
import random
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from app.gateway import Gateway
from tests.crash.power import Cut, cuts, traced
from tests.servers.fixtures import started_or_skipped
from tests.support.commands import stored_source, uids_in
from tests.support.fetched_mailbox import Mailbox, hashes, mailbox
from tests.support.figures import FIGURES
from tests.support.instance import Instance
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import ImapProxy

# A PostgreSQL that is asked for synchronous commits syncs by itself.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MAILS = 60
MAIL_OCTETS = 40_000
SOON = "wal_autocheckpoint = 40"
"""The WAL is copied into the database and started again, several times."""


class Bench:
    """A mailbox, fetched from by an instance whose power is cut."""

    def __init__(self, box: Mailbox, database: Path, folder: Path) -> None:
        self.box = box
        self._database, self._folder = database, folder
        self.reference = {message.uid: message.raw for message in box.server.messages(box.user)}
        self.before = b""

    def cuts(self, *pragmas: str) -> list[Cut]:
        """Fetch; what a power cut at each command would have left."""
        # Its last connection closed, the database is one file.
        self.box.gateway.db.close()
        self.before = self._database.read_bytes()
        trace = self._folder / "trace"
        with Instance(
            self._folder / "told",
            self.box.gateway.settings,
            self.box.connector_id,
            pragmas=pragmas,
            under=started_or_skipped(lambda: traced(trace)),
        ) as instance:
            instance.tell("once")
        assert instance.cycles() == [{"error": None, "found": MAILS, "stored": MAILS}]
        return list(cuts(trace, self._database, self.before))

    def url_of(self, cut: Cut, name: str) -> str:
        """The database that a cut left."""
        folder = self._folder / name
        cut.lay_out(folder)
        return f"sqlite:///{folder / self._database.name}"

    def lost(self, found: list[Cut]) -> set[int]:
        """The UIDs that a command named before the mail's bytes were safe."""
        lost = set()
        for number, cut in enumerate(found):
            FIGURES["power cuts"] += 1
            engine = create_engine(self.url_of(cut, f"cut-{number}"))
            lost |= {uid for uid in uids_in(cut.command) if stored_source(engine, uid) != self.reference[uid]}
            engine.dispose()
        return lost


@pytest.fixture
def bench(settings: SettingsFactory, dovecot: Dovecot, imap_proxy: ImapProxy, tmp_path: Path) -> Bench:
    made = settings(lease_s=60, command_timeout_s=60)
    database = make_url(made.database_url).database
    assert database is not None
    box = mailbox(Gateway.from_settings(made), dovecot, imap_port=imap_proxy.port)
    dice = random.Random(1)
    dovecot.deliver_all(
        box.user, [mail(str(number), text=dice.randbytes(MAIL_OCTETS // 2).hex()) for number in range(MAILS)]
    )
    return Bench(box, Path(database), tmp_path)


@pytest.mark.parametrize("hidden", [(), ("MOVE",)], ids=["MOVE", "UIDPLUS only"])
def test_what_a_command_takes_out_of_the_folder_is_on_the_disk(
    bench: Bench, imap_proxy: ImapProxy, settings: SettingsFactory, hidden: tuple[str, ...]
) -> None:
    imap_proxy.hide(*hidden)
    found = bench.cuts(SOON)
    assert {uid for cut in found for uid in uids_in(cut.command)} == set(bench.reference)
    assert bench.lost(found) == set()
    assert any(cut.files["gateway.db"] != bench.before for cut in found), "no checkpoint was cut"
    with contextlib.closing(
        Gateway.from_settings(settings(database_url=bench.url_of(found[-1], "after")))
    ) as gateway:
        box = Mailbox(gateway, bench.box.server, bench.box.user, bench.box.connector_id)
        box.fetch_well()
        assert hashes(box.sources()) == hashes(box.raws("Trash")) == hashes(list(bench.reference.values()))
        assert {row.move_state for row in box.ledger()} == {"moved"}


def test_before_the_first_checkpoint_it_is_on_the_disk_too(bench: Bench) -> None:
    assert bench.lost(bench.cuts()) == set()


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_a_database_that_does_not_sync_its_commits_is_found_out(bench: Bench, synchronous: str) -> None:
    assert bench.lost(bench.cuts(f"synchronous = {synchronous}")) == set(bench.reference)
