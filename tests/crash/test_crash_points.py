"""Whatever effect a process is killed at, the next cycles leave every mail stored once, announced once, and in the
processed folder once."""

import itertools
import os
import random
from collections.abc import Iterator

import pytest

from app.gateway import Gateway
from tests.conftest import SettingsFactory
from tests.crash.killed import Killer
from tests.crash.workloads import LIMIT_OCTETS, WORKLOADS, Workload
from tests.fetched_mailbox import Mailbox, hashes
from tests.figures import FIGURES
from tests.servers.dovecot import Dovecot
from tests.servers.imap_proxy import ImapProxy

SEED = int(os.environ.get("CRASH_SEED", "1"))
SAMPLE = 5
SETTLING_CYCLES = 3


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer() as made:
        yield made


class Bench:
    """Runs a workload, kills it, lets it settle, and compares."""

    def __init__(
        self,
        killer: Killer,
        gateway: Gateway,
        dovecot: Dovecot,
        proxy: ImapProxy,
        settings: dict[str, object],
    ) -> None:
        self._killer, self._gateway, self._dovecot, self._proxy = killer, gateway, dovecot, proxy
        self._settings = settings

    def effects(self, workload: Workload) -> int:
        """How many there are when nothing happens."""
        box = workload.fill(self._gateway, self._dovecot, self._proxy)
        count = self._killer.run(self._settings, box.connector_id)
        assert count is not None
        self.settle_and_compare(workload, box)
        return count

    def die_at(self, workload: Workload, *effects: int) -> None:
        """Die at these effects, each in a process of its own, and compare what becomes of it."""
        box = workload.fill(self._gateway, self._dovecot, self._proxy)
        FIGURES["crash points" if len(effects) == 1 else "double crashes"] += 1
        for effect in effects:
            self._killer.run(self._settings, box.connector_id, die_at=effect)
        workload.between(box)
        self.settle_and_compare(workload, box)

    def settle_and_compare(self, workload: Workload, box: Mailbox) -> None:
        for _ in range(SETTLING_CYCLES):
            cycle = box.fetch_well()
        assert (cycle.found, cycle.moved) == (workload.left, 0), "it does not come to rest"
        processed = hashes(box.raws("Trash"))
        assert hashes(box.sources()) == processed, "stored and processed differ"
        expected = len(workload.raws) - workload.left + (1 if workload is WORKLOADS[RETURNED] else 0)
        assert len(processed) == expected, "a mail is lost or doubled"
        ids = {message.id for message in box.messages()}
        announced = [event.data["message_id"] for event in box.events("message.stored")]
        assert sorted(announced) == sorted(ids), "stored and announced differ"
        remaining = self._dovecot.messages(box.user)
        if workload.keeps_flagged:
            assert {message.flags for message in remaining} <= {frozenset({"\\Deleted"})}
        else:
            assert len(remaining) == workload.left
        assert all(row.move_state in {"moved", "gone"} for row in box.ledger())
        assert len(box.events("message.quarantined")) == workload.left
        returned = [event.data["message_id"] for event in box.events("message.returned")]
        assert len(returned) == (1 if workload is WORKLOADS[RETURNED] else 0)


RETURNED = "twins-and-a-returned-mail"


@pytest.fixture
def bench(
    killer: Killer,
    settings: SettingsFactory,
    dovecot: Dovecot,
    imap_proxy: ImapProxy,
) -> Iterator[Bench]:
    made = settings(max_message_octets=LIMIT_OCTETS)
    gateway = Gateway.from_settings(made)
    values: dict[str, object] = {
        "database_url": made.database_url,
        "secret_keys": ",".join(key.get_secret_value() for key in made.secret_keys),
        "allowed_private_networks": "127.0.0.0/8",
        "max_message_octets": LIMIT_OCTETS,
        "command_timeout_s": 10,
        "lease_s": 10,
        "fetch_threads": 1,
    }
    yield Bench(killer, gateway, dovecot, imap_proxy, values)
    gateway.close()


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_sample_of_the_points_to_die_at(bench: Bench, name: str) -> None:
    workload = WORKLOADS[name]
    count = bench.effects(workload)
    assert count > 50
    points = random.Random(f"{SEED} {name}").sample(range(1, count), SAMPLE)
    for point in points:
        print(f"{name}: dying at effect {point} of {count}, CRASH_SEED={SEED}")
        bench.die_at(workload, point)


@pytest.mark.soak
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_point_to_die_at(bench: Bench, name: str) -> None:
    workload = WORKLOADS[name]
    count = bench.effects(workload)
    for point in range(1, count + 1):
        print(f"{name}: dying at effect {point} of {count}")
        bench.die_at(workload, point)


@pytest.mark.soak
@pytest.mark.parametrize("name", WORKLOADS)
def test_dying_again_while_recovering(bench: Bench, name: str) -> None:
    workload = WORKLOADS[name]
    count = bench.effects(workload)
    dice = random.Random(f"{SEED} twice {name}")
    for turn in itertools.count(1):
        first, second = dice.randint(1, count), dice.randint(1, count)
        print(f"{name}: pair {turn}, dying at effects {first} and {second}, CRASH_SEED={SEED}")
        bench.die_at(workload, first, second)
        if turn == 200:
            return
