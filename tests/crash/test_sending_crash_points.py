"""Whatever effect a sending process is killed at, no mail is lost, and none is sent twice, unless it is `uncertain` and a
command sends it again."""

import contextlib
import os
import random
from collections.abc import Iterator

import pytest

from app.gateway import Gateway
from tests.crash.killed import Killer
from tests.crash.sending import MailServer, SendingMailbox
from tests.support.figures import FIGURES
from tests.support.settings import SettingsFactory
from tools.servers.dovecot import Dovecot

SEED = int(os.environ.get("CRASH_SEED", "1"))
PAIRS = int(os.environ.get("CRASH_PAIRS", "200"))
SAMPLE = 2
WORKLOADS = {"we-file": False, "the-provider-files": True}


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer() as made:
        yield made


@pytest.fixture(scope="module")
def mail_server(dovecot: Dovecot) -> Iterator[MailServer]:
    with MailServer(dovecot) as made:
        yield made


class Bench:
    """Sends, kills the process that sends, lets it come to rest, and compares."""

    def __init__(
        self,
        killer: Killer,
        gateway: Gateway,
        dovecot: Dovecot,
        mail_server: MailServer,
        settings: dict[str, object],
    ) -> None:
        self._killer, self._gateway, self._dovecot, self._server = killer, gateway, dovecot, mail_server
        self._settings = settings

    def effects(self, workload: str) -> int:
        """How many there are when nothing happens."""
        box = self._box(workload)
        count = self._killer.run(self._settings, "send", box.connector_id)
        assert count is not None
        self._compare(box, deaths=0)
        return count

    def die_at(self, workload: str, *effects: int) -> None:
        """Die at these effects, each in a process of its own, and compare the results."""
        box = self._box(workload)
        FIGURES["sending: crash points" if len(effects) == 1 else "sending: double crashes"] += 1
        for effect in effects:
            self._killer.run(self._settings, "send", box.connector_id, die_at=effect)
            self._server.wait_until_idle()
        self._compare(box, deaths=len(effects))

    def _box(self, workload: str) -> SendingMailbox:
        return SendingMailbox.made(
            self._gateway, self._dovecot, self._server, provider_files=WORKLOADS[workload]
        )

    def _compare(self, box: SendingMailbox, *, deaths: int) -> None:
        box.settle()
        box.compare(deaths=deaths)
        resent = box.resend_uncertain()
        FIGURES["sending: uncertain mails"] += len(resent)
        if resent:
            box.compare(deaths=deaths, resent=resent)


@pytest.fixture
def bench(
    killer: Killer, settings: SettingsFactory, dovecot: Dovecot, mail_server: MailServer
) -> Iterator[Bench]:
    made = settings()
    values: dict[str, object] = {
        "database_url": made.database_url,
        "secret_keys": ",".join(key.get_secret_value() for key in made.secret_keys),
        "allowed_private_networks": "127.0.0.0/8",
    }
    with contextlib.closing(Gateway.from_settings(made)) as gateway:
        yield Bench(killer, gateway, dovecot, mail_server, values)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_sample_of_the_points_to_die_at(bench: Bench, name: str) -> None:
    count = bench.effects(name)
    assert count > 50
    for point in random.Random(f"{SEED} {name}").sample(range(1, count), SAMPLE):
        print(f"{name}: dying at effect {point} of {count}, CRASH_SEED={SEED}")
        bench.die_at(name, point)


@pytest.mark.soak
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_point_to_die_at(bench: Bench, name: str) -> None:
    count = bench.effects(name)
    # The moment after an effect is that before the next one.
    for point in range(1, count + 1, 2):
        print(f"{name}: dying at effect {point} of {count}")
        bench.die_at(name, point)


@pytest.mark.soak
@pytest.mark.parametrize("name", WORKLOADS)
def test_dying_again_while_recovering(bench: Bench, name: str) -> None:
    count = bench.effects(name)
    dice = random.Random(f"{SEED} twice {name}")
    for turn in range(1, PAIRS + 1):
        first, second = dice.randint(1, count), dice.randint(1, count)
        print(f"{name}: pair {turn}, dying at effects {first} and {second}, CRASH_SEED={SEED}")
        bench.die_at(name, first, second)
