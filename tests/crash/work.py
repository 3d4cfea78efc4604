"""What a crashing process is busy with, by name. The same functions bring the work to its end after a crash."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import time_machine

from app import clock
from app.gateway import Gateway
from app.models import Connector
from app.services.events.deliveries import Deliverer
from app.services.fetching import fetch_cycle
from app.services.sending.sender import Sender
from app.worker_pool import WorkerPool
from tests.support.sending_mailbox import submit

REFUSED = "nobody@example.com"
BUSY = "busy@example.com"
"""Refused for the time being when it is first named."""
ORDERS: tuple[tuple[list[str], list[str]], ...] = (
    (["karel@example.com"], ["tajny@example.com"]),
    ([REFUSED], []),
    ([BUSY, "petra@example.com"], []),
    (["eva@example.com"], []),
)
"""The mails that a process is asked to send: whom they go to, openly and in Bcc."""
PATIENCE_S = 60.0
MAX_LOOKS = 200
"""More than any work here takes."""
A_MOMENT = timedelta(milliseconds=1)


def fetch(gateway: Gateway, connector_id: str) -> None:
    """Run a cycle of a connector."""
    fetch_cycle.run(gateway, connector_id)


def send(gateway: Gateway, connector_id: str) -> None:
    """Ask for mails from a connector, and send them."""
    ask_for_mails(gateway, connector_id)
    send_until_rest(gateway)


def ask_for_mails(gateway: Gateway, connector_id: str) -> list[str]:
    """Ask for each of the mails, or, with its key, for one that was asked for already. Returns the ids of the submissions."""
    with gateway.db.reading() as session:
        connector = session.get(Connector, connector_id)
    assert connector is not None
    ids = []
    for number, (to, bcc) in enumerate(ORDERS):
        made = submit(gateway, connector, *to, bcc=bcc, key=f"{connector_id} {number}")
        ids.append(made.submission.id)
    return ids


def send_until_rest(gateway: Gateway) -> None:
    """Send whatever waits, however long it waits."""
    sender = Sender(gateway)
    with _stopping(sender.pool):
        _until_rest(sender.pool, sender.send_due, sender.next_due)


def deliver(gateway: Gateway, _webhook_id: str = "") -> None:
    """Deliver whatever waits for a webhook, however long it waits."""
    deliverer = Deliverer(gateway)
    with _stopping(deliverer.pool):
        _until_rest(deliverer.pool, deliverer.deliver_due, deliverer.next_due)


WORK: dict[str, Callable[[Gateway, str], None]] = {"fetch": fetch, "send": send, "deliver": deliver}


@contextmanager
def _stopping(pool: WorkerPool) -> Iterator[None]:
    try:
        yield
    finally:
        pool.stop()


def _until_rest(
    pool: WorkerPool, start_due: Callable[[], bool], next_due: Callable[[], datetime | None]
) -> None:
    """Start what is due, again and again; whenever nothing is, the clock jumps to what is due next."""
    ended: list[None] = []
    pool.when_ended(lambda: ended.append(None))
    with time_machine.travel(clock.utc_now(), tick=True) as traveller:
        for _ in range(MAX_LOOKS):
            ended.clear()
            is_held_back = start_due()
            assert pool.wait(PATIENCE_S)
            if ended:  # on a slow machine a turn ends before all is done
                continue
            times = [each for each in (next_due(), pool.next_rest_end()) if each is not None]
            if times:
                traveller.move_to(min(times) + A_MOMENT)
            elif not is_held_back:
                return
    raise AssertionError("it does not come to rest")
