"""Whatever effect a process is killed at, or stands still at until its lease is gone, the next cycles leave every mail
stored once, announced once, and in the processed folder once."""

import contextlib
import os
import random
import time
from collections.abc import Iterator

import pytest
from sqlalchemy.exc import OperationalError

from app.errors import StoreUnavailable
from app.gateway import Gateway
from app.services.fetching import fetch_cycle
from tests.crash.killed import Killer
from tests.crash.workloads import LIMIT_OCTETS, WORKLOADS, Workload
from tests.support.fetched_mailbox import Mailbox, hashes
from tests.support.figures import FIGURES
from tests.support.settings import SettingsFactory
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import ImapProxy

SEED = int(os.environ.get("CRASH_SEED", "1"))
PAIRS = int(os.environ.get("CRASH_PAIRS", "200"))
SAMPLE = int(os.environ.get("CRASH_SAMPLE", "2"))
"""Of the points of each workload, where not all of them are tried."""
SETTLING_CYCLES = 3
TAKEOVER_S = 5.0
"""Longer than the lease and a command's deadline in these tests."""
STANDING_STILL = ("move", "uidplus-only")
"""Without UIDPLUS the mails stay in the folder, and a COPY that was already sent doubles them: a documented exception."""


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
        count = self._killer.run(self._settings, "fetch", box.connector_id)
        assert count is not None
        self.settle_and_compare(workload, box)
        return count

    def die_at(self, workload: Workload, *effects: int) -> None:
        """Die at these effects, each in a process of its own, and compare the results."""
        box = workload.fill(self._gateway, self._dovecot, self._proxy)
        FIGURES["crash points" if len(effects) == 1 else "double crashes"] += 1
        for effect in effects:
            self._killer.run(self._settings, "fetch", box.connector_id, die_at=effect)
        workload.between(box)
        self.settle_and_compare(workload, box)

    def stand_still_at(self, workload: Workload, effect: int) -> None:
        """Stand still at this effect until another instance has taken the lease over and fetched, then go on."""
        box = workload.fill(self._gateway, self._dovecot, self._proxy)
        FIGURES["points of standing still"] += 1
        if self._killer.stop(self._settings, "fetch", box.connector_id, at=effect):
            # Standing still in a transaction, it holds a lock that another instance cannot pass.
            self._take_over(box)
            self._killer.go_on()
        self.settle_and_compare(workload, box)

    def _take_over(self, box: Mailbox) -> None:
        until = time.monotonic() + TAKEOVER_S
        while time.monotonic() < until:
            with contextlib.suppress(StoreUnavailable, OperationalError):
                if fetch_cycle.run(self._gateway, box.connector_id) is not None:
                    FIGURES["leases taken over"] += 1
                    return

    def settle_and_compare(self, workload: Workload, box: Mailbox) -> None:
        for _ in range(SETTLING_CYCLES):
            cycle = box.fetch_well(patience_s=TAKEOVER_S)
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


def bench_with(
    killer: Killer, settings: SettingsFactory, dovecot: Dovecot, proxy: ImapProxy, **overrides: float
) -> Iterator[Bench]:
    made = settings(max_message_octets=LIMIT_OCTETS, **overrides)
    values: dict[str, object] = {
        "database_url": made.database_url,
        "secret_keys": ",".join(key.get_secret_value() for key in made.secret_keys),
        "allowed_private_networks": "127.0.0.0/8",
        "max_message_octets": LIMIT_OCTETS,
        "fetch_threads": 1,
        **overrides,
    }
    with contextlib.closing(Gateway.from_settings(made)) as gateway:
        yield Bench(killer, gateway, dovecot, proxy, values)


@pytest.fixture
def bench(
    killer: Killer, settings: SettingsFactory, dovecot: Dovecot, imap_proxy: ImapProxy
) -> Iterator[Bench]:
    yield from bench_with(killer, settings, dovecot, imap_proxy, command_timeout_s=10, lease_s=10)


@pytest.fixture
def hasty_bench(
    killer: Killer, settings: SettingsFactory, dovecot: Dovecot, imap_proxy: ImapProxy
) -> Iterator[Bench]:
    """With leases that are soon gone."""
    yield from bench_with(killer, settings, dovecot, imap_proxy, command_timeout_s=1, lease_s=1)


def sampled(seed: str, count: int) -> list[int]:
    """Points out of so many, in random order."""
    return random.Random(seed).sample(range(1, count + 1), min(SAMPLE, count))


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_sample_of_the_points_to_die_at(bench: Bench, name: str) -> None:
    workload = WORKLOADS[name]
    count = bench.effects(workload)
    assert count > 50
    points = sampled(f"{SEED} {name}", count)
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
    for turn in range(1, PAIRS + 1):
        first, second = dice.randint(1, count), dice.randint(1, count)
        print(f"{name}: pair {turn}, dying at effects {first} and {second}, CRASH_SEED={SEED}")
        bench.die_at(workload, first, second)


@pytest.mark.parametrize("name", STANDING_STILL)
def test_a_sample_of_the_points_to_stand_still_at(hasty_bench: Bench, name: str) -> None:
    workload = WORKLOADS[name]
    count = hasty_bench.effects(workload)
    for point in sampled(f"{SEED} still {name}", count):
        print(f"{name}: standing still at effect {point} of {count}, CRASH_SEED={SEED}")
        hasty_bench.stand_still_at(workload, point)


@pytest.mark.soak
@pytest.mark.parametrize("name", STANDING_STILL)
def test_every_point_to_stand_still_at(hasty_bench: Bench, name: str) -> None:
    workload = WORKLOADS[name]
    count = hasty_bench.effects(workload)
    for point in range(1, count + 1):
        print(f"{name}: standing still at effect {point} of {count}")
        hasty_bench.stand_still_at(workload, point)
    assert FIGURES["leases taken over"] > count / 4
