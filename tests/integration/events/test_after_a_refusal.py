"""What waits after a receiver has said no, on both databases: exactly that one thing."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlmodel import col

from app import clock
from app.adapters import process
from app.adapters.webhook_client import Outcome
from app.gateway import Gateway
from app.models import AuditRecord, Connector, Event, Webhook
from app.schemas.events import WebhookCreate, WebhookUpdate
from app.services.events import attempts, deliveries, queueing, webhooks
from app.states import DeliveryStatus, DisabledReason
from tests.integration.events.test_webhooks import ADMIN, deliver, rows, subjects, webhook
from tests.support.stored_mail import connector, mail, store
from tools.servers.http_receiver import Answer, HttpReceiver
from tools.servers.process import free_port, wait_until

WAIT_S = 60.0


@pytest.fixture
def box(gateway: Gateway) -> Connector:
    return connector(gateway, groups=["orders"])


def read(gateway: Gateway, made: webhooks.Created) -> Webhook:
    with gateway.db.reading() as session:
        row = session.get(Webhook, made.row.id)
    assert row is not None
    return row


def change(gateway: Gateway, made: webhooks.Created, **values: object) -> None:
    with gateway.db.unit_of_work() as session:
        session.execute(update(Webhook).values(**values))


def as_messages(ids: list[str]) -> list[str]:
    return [f"messages/{each}" for each in ids]


class TestARefusedEvent:
    def test_refused_events_hold_up_neither_those_after_them_nor_new_ones(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        http_receiver.answer_with(*[422] * 12, 204)
        made = webhook(gateway, http_receiver)
        store(gateway, box, *[mail(str(number)) for number in range(12)])
        deliver(gateway, made)
        assert read(gateway, made).resting_until is None
        [fresh] = store(gateway, box)
        deliver(gateway, made)
        assert len(http_receiver.requests) == 13
        assert subjects(http_receiver.requests)[-1] == f"messages/{fresh}"
        assert [row.put_aside for row in rows(gateway)] == [1] * 12 + [0]

    def test_a_refusal_that_is_recorded_late_does_not_reopen_what_was_delivered(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver)
        store(gateway, box)
        deliver(gateway, made)
        [delivered] = rows(gateway)
        late = attempts.Attempt(delivered.id, "an event", b"")
        with gateway.db.unit_of_work() as session:
            row = session.get(Webhook, made.row.id)
            assert row is not None
            attempts.record(session, row, late, Outcome(status=422, error_code="refused"))
        [after] = rows(gateway)
        assert (after.status, after.attempts) == (DeliveryStatus.DELIVERED, 1)
        assert read(gateway, made).failing_since is None

    def test_events_that_were_put_aside_come_along_with_a_busy_feed(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        http_receiver.answer_with(422, 204)
        made = webhook(gateway, http_receiver)
        [refused] = store(gateway, box)
        deliver(gateway, made)
        webhooks.change(gateway, ADMIN, made.row.id, WebhookUpdate(active=True))
        fresh = store(gateway, box, *[mail(str(number)) for number in range(deliveries.BATCH + 5)])
        deliver(gateway, made)
        arrived = subjects(http_receiver.requests)[1:]
        assert arrived.index(f"messages/{refused}") <= 1
        assert [each for each in arrived if each != f"messages/{refused}"] == as_messages(fresh)

    def test_events_that_were_put_aside_come_first_in_some_of_the_batches(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        """Those are all that a receiver gets of them which takes longer for one answer than a batch lasts."""
        http_receiver.answer_with(422, 204)
        made = webhook(gateway, http_receiver)
        store(gateway, box)
        deliver(gateway, made)
        webhooks.change(gateway, ADMIN, made.row.id, WebhookUpdate(active=True))
        store(gateway, box, mail("1"), mail("2"))
        first: set[int] = set()
        with gateway.db.unit_of_work() as session:
            row = session.get(Webhook, made.row.id)
            assert row is not None
            queueing.queue_batch(session, row)
            for _ in range(400):
                first.add(deliveries._pending(session, row)[0][0].put_aside)
        assert first == {0, 1}

    def test_a_receiver_that_asks_for_a_pause_gets_it(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        http_receiver.answer_with(Answer(503, headers=(("Retry-After", "120"),)))
        made = webhook(gateway, http_receiver)
        store(gateway, box, mail("1"), mail("2"))
        deliver(gateway, made)
        assert len(http_receiver.requests) == 1
        resting = read(gateway, made).resting_until
        assert resting is not None
        assert timedelta(seconds=60) < resting - clock.utc_now() <= timedelta(seconds=120)


class TestNoAnswer:
    def test_events_for_a_receiver_that_is_down_keep_their_order(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        made = webhooks.create(gateway, ADMIN, WebhookCreate(url=f"http://127.0.0.1:{free_port()}/"))
        sent = store(gateway, box, *[mail(str(number)) for number in range(3)])
        deliver(gateway, made)
        assert [(row.attempts, row.put_aside) for row in rows(gateway)] == [(1, 0), (0, 0), (0, 0)]
        resting = read(gateway, made).resting_until
        assert resting is not None
        assert resting - clock.utc_now() < timedelta(seconds=5)
        change(gateway, made, url=f"{http_receiver.url}/hook", resting_until=None)
        deliver(gateway, made)
        assert subjects(http_receiver.requests) == as_messages(sent)

    def test_an_event_that_gets_no_answer_is_put_aside_and_the_webhook_rests_briefly(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        http_receiver.answer_with(Answer(drop=True), 204)
        made = webhook(gateway, http_receiver)
        deadly, fine = store(gateway, box, mail("1"), mail("2"))
        deliver(gateway, made)
        assert subjects(http_receiver.requests) == as_messages([deadly])
        assert read(gateway, made).resting_until is not None
        change(gateway, made, resting_until=None)
        deliver(gateway, made)
        assert subjects(http_receiver.requests) == as_messages([deadly, fine])

    def test_a_change_or_an_accepted_test_lets_a_webhook_go_on_at_once(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver)
        for command in ("change", "test"):
            http_receiver.answer_with(Answer(drop=True), 204)
            [event] = store(gateway, box)
            deliver(gateway, made)
            deliver(gateway, made)
            assert subjects(http_receiver.requests)[-1] == f"messages/{event}"
            before = len(http_receiver.requests)
            if command == "change":
                webhooks.change(gateway, ADMIN, made.row.id, WebhookUpdate(active=True))
            else:
                assert deliveries.send_test(gateway, ADMIN, made.row.id).is_delivered
            deliver(gateway, made)
            assert subjects(http_receiver.requests[before:])[-1] == f"messages/{event}"
        assert {row.status for row in rows(gateway)} == {"delivered"}


class TestAClaim:
    def claim(self, gateway: Gateway, holder: str) -> None:
        busy = clock.utc_now() + timedelta(seconds=deliveries.CLAIM_S)
        with gateway.db.unit_of_work() as session:
            session.execute(update(Webhook).values(claimed_by=f"{holder}/x", busy_until=busy))

    def test_the_claim_of_a_killed_process_is_taken_over_at_once_and_that_of_another_is_not(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        code = "from app.adapters import process; print(process.identity(), flush=True); input()"
        made = webhook(gateway, http_receiver)
        store(gateway, box)
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            self.claim(gateway, other.stdout.readline().strip())
            deliver(gateway, made)
            assert http_receiver.requests == []
            other.kill()
        deliver(gateway, made)
        assert len(http_receiver.requests) == 1

    def test_a_claim_from_another_machine_expires(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver)
        store(gateway, box)
        self.claim(gateway, process.identity().replace(str(os.getpid()), "1", 1).replace("-", "+", 1))
        deliver(gateway, made)
        assert http_receiver.requests == []
        change(gateway, made, busy_until=clock.utc_now())
        deliver(gateway, made)
        assert len(http_receiver.requests) == 1


class TestSwitchedOff:
    @pytest.mark.parametrize("reason", list(DisabledReason))
    def test_a_webhook_that_is_switched_off_says_why_and_its_events_wait(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver, reason: DisabledReason
    ) -> None:
        http_receiver.answer_with(410 if reason == DisabledReason.GONE else 500)
        made = webhook(gateway, http_receiver)
        [event] = store(gateway, box)
        change(gateway, made, failing_since=clock.utc_now() - attempts.GIVE_UP_AFTER)
        deliver(gateway, made)
        row = read(gateway, made)
        assert (row.active, row.disabled_reason, row.disabled_at is not None) == (False, reason, True)
        with gateway.db.reading() as session:
            told = session.execute(select(Event).order_by(col(Event.position).desc()).limit(1)).scalar_one()
            audited = session.execute(
                select(AuditRecord).where(col(AuditRecord.action) == "webhook.disabled")
            ).scalar_one()
        assert (told.type, told.subject) == ("com.aymine.imap.webhook.disabled.v1", f"webhooks/{row.id}")
        assert told.data["reason"] == reason
        assert (audited.actor, audited.changes["disabled_reason"]) == ("delivery", [None, reason])
        http_receiver.answer_with(204)
        webhooks.change(gateway, ADMIN, row.id, WebhookUpdate(active=True))
        assert read(gateway, made).disabled_reason is None
        deliver(gateway, made)
        assert f"messages/{event}" in subjects(http_receiver.requests[1:])


def test_many_receivers_that_hang_do_not_hold_up_one_that_answers(
    gateway: Gateway, box: Connector, http_receiver: HttpReceiver
) -> None:
    hanging = [HttpReceiver().start() for _ in range(10)]
    deliverer = deliveries.Deliverer(gateway)
    try:
        for each in hanging:
            each.answer_with(Answer(delay_s=15))
            webhook(gateway, each)
        webhook(gateway, http_receiver)
        store(gateway, box)
        deliverer.deliver_due()
        http_receiver.wait_for(1, WAIT_S)
        assert len(deliverer.pool.running()) >= 10  # they hang as yet
        wait_until(lambda: len(deliverer.pool.running()) == 10, WAIT_S, "the end of its turn")
        store(gateway, box)
        deliverer.deliver_due()
        http_receiver.wait_for(2, WAIT_S)
    finally:
        for each in hanging:
            each.stop()
        deliverer.stop()


def test_a_body_in_json_is_only_another_media_type(
    gateway: Gateway, box: Connector, http_receiver: HttpReceiver
) -> None:
    webhook_in_json = webhook(gateway, http_receiver, body="json")
    store(gateway, box)
    deliver(gateway, webhook_in_json)
    [request] = http_receiver.requests
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body)["specversion"] == "1.0"
