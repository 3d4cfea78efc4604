"""Whatever effect a delivering process is killed at, a webhook gets every event, fresh ones in order, and those of the batch
that was under way at most once more for each death, with the same ids."""

import contextlib
import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy import select
from sqlmodel import col

from app.gateway import Gateway
from app.models import Event, WebhookDelivery
from app.schemas.events import WebhookCreate
from app.services.access.rules import Principal, PrincipalKind
from app.services.events import webhooks
from tests.crash import work
from tests.crash.killed import Killer
from tests.support.figures import FIGURES
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import connector, mail, store
from tools.servers.http_receiver import HttpReceiver, ReceivedRequest

SEED = int(os.environ.get("CRASH_SEED", "1"))
PAIRS = int(os.environ.get("CRASH_PAIRS", "200"))
SAMPLE = 3
ANSWERS = (204, 422, 204, 503, 204)
"""In turn; after these the receiver accepts everything."""
MAILS = 5
ADMIN = Principal(PrincipalKind.USER, "administrator", is_admin=True)


@dataclass(frozen=True)
class Feed:
    """A webhook, and the ids of the events that are for it, in commit order."""

    webhook_id: str
    path: str
    """Its own: a request of an earlier process that was killed may arrive late."""
    event_ids: Sequence[str]


class Bench:
    """Delivers, kills the process that delivers, lets it come to rest, and compares."""

    def __init__(
        self, killer: Killer, gateway: Gateway, receiver: HttpReceiver, settings: dict[str, object]
    ) -> None:
        self._killer, self._gateway, self._receiver = killer, gateway, receiver
        self._settings = settings

    def effects(self) -> int:
        """How many there are when nothing happens."""
        feed = self._feed()
        count = self._killer.run(self._settings, "deliver", feed.webhook_id)
        assert count is not None
        self._compare(feed, deaths=0)
        return count

    def die_at(self, *effects: int) -> None:
        """Die at these effects, each in a process of its own, and compare the results."""
        feed = self._feed()
        FIGURES["delivering: crash points" if len(effects) == 1 else "delivering: double crashes"] += 1
        for effect in effects:
            self._killer.run(self._settings, "deliver", feed.webhook_id, die_at=effect)
        self._compare(feed, deaths=len(effects))

    def _feed(self) -> Feed:
        self._receiver.reset()
        self._receiver.answer_with(*ANSWERS)
        box = connector(self._gateway, groups=["orders"])
        path = f"/hook/{box.id}"
        body = WebhookCreate(url=self._receiver.url + path, connector_ids=[box.id])
        made = webhooks.create(self._gateway, ADMIN, body)
        store(self._gateway, box, *[mail(str(number)) for number in range(MAILS)])
        statement = select(col(Event.id)).where(col(Event.connector_id) == box.id)
        with self._gateway.db.reading() as session:
            ids = session.execute(statement.order_by(col(Event.position))).scalars().all()
        return Feed(made.row.id, path, ids)

    def _compare(self, feed: Feed, *, deaths: int) -> None:
        work.deliver(self._gateway)
        requests = [request for request in self._receiver.requests if request.path == feed.path]
        ids = [_id_in(request) for request in requests]
        accepted = Counter(_id_in(request) for request in requests if request.answered == 204)
        assert set(accepted) == set(feed.event_ids), "an event is lost, or somebody else's"
        assert max(accepted.values()) <= 1 + deaths, "an event comes too often"
        assert list(dict.fromkeys(ids)) == list(feed.event_ids), "fresh events are out of order"
        assert len({request.body for request in requests}) == len(feed.event_ids), (
            "an event came again, and was another one"
        )
        FIGURES["delivering: events delivered again"] += sum(accepted.values()) - len(accepted)
        statement = select(col(WebhookDelivery.status)).where(
            col(WebhookDelivery.webhook_id) == feed.webhook_id
        )
        with self._gateway.db.reading() as session:
            states = session.execute(statement).scalars().all()
        assert states == ["delivered"] * len(feed.event_ids)


def _id_in(request: ReceivedRequest) -> str:
    event_id: str = json.loads(request.body)["id"]
    assert event_id == request.headers["webhook-id"]
    return event_id


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer() as made:
        yield made


@pytest.fixture
def bench(killer: Killer, settings: SettingsFactory, http_receiver: HttpReceiver) -> Iterator[Bench]:
    made = settings()
    values: dict[str, object] = {
        "database_url": made.database_url,
        "secret_keys": ",".join(key.get_secret_value() for key in made.secret_keys),
        "allowed_private_networks": "127.0.0.0/8",
    }
    with contextlib.closing(Gateway.from_settings(made)) as gateway:
        yield Bench(killer, gateway, http_receiver, values)


def test_a_sample_of_the_points_to_die_at(bench: Bench) -> None:
    count = bench.effects()
    assert count > 50
    for point in random.Random(f"{SEED} deliver").sample(range(1, count), SAMPLE):
        print(f"dying at effect {point} of {count}, CRASH_SEED={SEED}")
        bench.die_at(point)


@pytest.mark.soak
def test_every_point_to_die_at(bench: Bench) -> None:
    count = bench.effects()
    # The moment after an effect is that before the next one.
    for point in range(1, count + 1, 2):
        print(f"dying at effect {point} of {count}")
        bench.die_at(point)


@pytest.mark.soak
def test_dying_again_while_recovering(bench: Bench) -> None:
    count = bench.effects()
    dice = random.Random(f"{SEED} twice deliver")
    for turn in range(1, PAIRS + 1):
        first, second = dice.randint(1, count), dice.randint(1, count)
        print(f"pair {turn}, dying at effects {first} and {second}, CRASH_SEED={SEED}")
        bench.die_at(first, second)
