"""Delivery to a real HTTP receiver, on both databases."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlmodel import col
from standardwebhooks import Webhook as Verifier

from app import clock
from app.gateway import Gateway
from app.models import Connector, Event, Webhook, WebhookDelivery
from app.schemas.events import WebhookCreate, WebhookUpdate
from app.services.access import api_keys
from app.services.access.rules import Principal, PrincipalKind
from app.services.events import attempts, deliveries, feed, queueing, webhooks
from app.services.messages import deletion
from tests.support.stored_mail import TESTER, connector, mail, store
from tools.servers.http_receiver import Answer, HttpReceiver, ReceivedRequest

ADMIN = Principal(PrincipalKind.USER, "administrator", is_admin=True)


@pytest.fixture
def box(gateway: Gateway) -> Connector:
    return connector(gateway, groups=["orders"])


@pytest.fixture
def second_receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


def webhook(gateway: Gateway, receiver: HttpReceiver, by: Principal = ADMIN, **body: Any) -> webhooks.Created:
    return webhooks.create(gateway, by, WebhookCreate(url=f"{receiver.url}/hook", **body))


def deliver(gateway: Gateway, *made: webhooks.Created) -> None:
    """One turn of each webhook, to its end."""
    for each in made:
        deliveries.serve(gateway, each.row.id, threading.Event())


def queue(gateway: Gateway, made: webhooks.Created) -> None:
    """Give the events until now their delivery rows."""
    with gateway.db.unit_of_work() as session:
        row = session.get(Webhook, made.row.id)
        assert row is not None
        while queueing.queue_batch(session, row):
            pass


def make_due(gateway: Gateway) -> None:
    """Let all waiting times have passed."""
    now = clock.utc_now()
    with gateway.db.unit_of_work() as session:
        session.execute(update(Webhook).values(resting_until=None))
        session.execute(
            update(WebhookDelivery)
            .where(col(WebhookDelivery.status) == "pending")
            .values(next_attempt_at=now)
        )


def rows(gateway: Gateway) -> list[WebhookDelivery]:
    with gateway.db.reading() as session:
        statement = select(WebhookDelivery).order_by(col(WebhookDelivery.event_position))
        return list(session.execute(statement).scalars())


def subjects(requests: list[ReceivedRequest]) -> list[str]:
    return [json.loads(request.body)["subject"] for request in requests]


class TestDelivery:
    def test_events_are_delivered_signed_in_order_and_once(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver)
        ids = store(gateway, box, *[mail(str(number)) for number in range(3)])
        deliver(gateway, made)
        deliver(gateway, made)
        requests = http_receiver.requests
        assert subjects(requests) == [f"messages/{each}" for each in ids]
        for request in requests:
            event = Verifier(made.secret).verify(request.body, request.headers)
            assert request.headers["webhook-id"] == event["id"]
            assert request.headers["content-type"] == "application/cloudevents+json"
        assert [row.status for row in rows(gateway)] == ["delivered"] * 3

    def test_a_webhook_gets_only_the_requested_events(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        other = connector(gateway)
        made = webhook(gateway, http_receiver, types=["message.deleted"], connector_ids=[box.id])
        store(gateway, other)
        store(gateway, box)
        deletion.delete_of_connector(gateway, TESTER, other.id)
        deletion.delete_of_connector(gateway, TESTER, box.id)
        deliver(gateway, made)
        sent = [json.loads(request.body) for request in http_receiver.requests]
        assert [(event["type"], event["data"]["connector_id"]) for event in sent] == [
            ("com.aymine.imap.message.deleted.v1", box.id)
        ]

    def test_a_webhook_gets_events_from_its_creation_on(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        store(gateway, box)
        made = webhook(gateway, http_receiver)
        deliver(gateway, made)
        assert http_receiver.requests == []

    def test_a_webhook_of_a_key_gets_what_the_key_may_see(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        with gateway.db.unit_of_work() as session:
            key = api_keys.issue(
                session, name="crm", scopes=["webhooks:write"], connector_ids=[box.id], by=TESTER
            ).row
        by = Principal(
            PrincipalKind.KEY,
            key.id,
            scopes=frozenset({"webhooks:write"}),
            connector_limit=frozenset({box.id}),
        )
        made = webhook(gateway, http_receiver, by)
        store(gateway, connector(gateway))
        store(gateway, connector(gateway, owner="jana"))
        [mine] = store(gateway, box)
        deliver(gateway, made)
        assert subjects(http_receiver.requests) == [f"messages/{mine}"]
        with gateway.db.unit_of_work() as session:
            api_keys.revoke(session, ADMIN, key.id)
        store(gateway, box)
        deliver(gateway, made)
        assert len(http_receiver.requests) == 1


class TestAFailure:
    def test_a_failed_delivery_is_tried_again_with_the_same_id(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        http_receiver.answer_with(500, 204)
        made = webhook(gateway, http_receiver)
        store(gateway, box)
        deliver(gateway, made)
        row = rows(gateway)[0]
        assert (row.status, row.attempts, row.response_status) == ("pending", 1, 500)
        assert row.next_attempt_at is not None
        assert row.next_attempt_at > clock.utc_now()
        deliver(gateway, made)
        assert len(http_receiver.requests) == 1
        make_due(gateway)
        deliver(gateway, made)
        first, second = http_receiver.requests
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert rows(gateway)[0].status == "delivered"

    def test_a_failed_event_does_not_hold_up_the_others(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        http_receiver.answer_with(400, 204)
        made = webhook(gateway, http_receiver)
        refused, accepted = store(gateway, box, mail("1"), mail("2"))
        deliver(gateway, made)
        assert subjects(http_receiver.requests) == [f"messages/{refused}", f"messages/{accepted}"]
        assert [row.status for row in rows(gateway)] == ["pending", "delivered"]

    def test_again_and_again_is_given_up_after_days(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        http_receiver.answer_with(500)
        made = webhook(gateway, http_receiver)
        store(gateway, box)
        for _ in range(len(attempts.RETRIES.delays_s) + 1):
            deliver(gateway, made)
            make_due(gateway)
        assert rows(gateway)[0].status == "failed"
        assert sum(attempts.RETRIES.delays_s) > timedelta(days=2).total_seconds()
        deliver(gateway, made)
        assert len(http_receiver.requests) == len(attempts.RETRIES.delays_s) + 1

    def test_a_410_ends_the_webhook_until_it_is_active_again(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        http_receiver.answer_with(410, 204)
        made = webhook(gateway, http_receiver)
        store(gateway, box)
        deliver(gateway, made)
        store(gateway, box)
        make_due(gateway)
        deliver(gateway, made)
        assert len(http_receiver.requests) == 1
        changed = webhooks.change(gateway, ADMIN, made.row.id, WebhookUpdate(active=True))
        assert changed.active
        make_due(gateway)
        deliver(gateway, made)
        types = [json.loads(request.body)["type"] for request in http_receiver.requests[1:]]
        assert [each.split(".", 3)[3] for each in types] == [
            "message.stored.v1",
            "webhook.disabled.v1",
            "message.stored.v1",
        ]

    def test_a_redirect_of_a_receiver_is_not_followed(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver, second_receiver: HttpReceiver
    ) -> None:
        http_receiver.redirect_to(f"{second_receiver.url}/elsewhere")
        made = webhook(gateway, http_receiver)
        store(gateway, box)
        deliver(gateway, made)
        assert rows(gateway)[0].error_code == "redirect_refused"
        assert second_receiver.requests == []


class TestForWhom:
    """A key with `webhooks:write` takes a webhook of an administrator's over, or the other way round."""

    @pytest.fixture
    def hers(self, gateway: Gateway) -> Connector:
        """A personal mailbox whose events no key may see."""
        return connector(gateway, owner="jana")

    @pytest.fixture
    def key(self, gateway: Gateway) -> Principal:
        with gateway.db.unit_of_work() as session:
            issued = api_keys.issue(
                session,
                name="k",
                scopes=["webhooks:write", "events:read"],
                connector_ids=[],
                expires_at=None,
                by=ADMIN,
            )
        return Principal(PrincipalKind.KEY, issued.row.id, scopes=frozenset(issued.row.scopes))

    def test_events_that_wait_for_an_administrator_never_go_to_a_key(
        self, gateway: Gateway, box: Connector, hers: Connector, key: Principal, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver, active=False)
        store(gateway, hers)
        [shared] = store(gateway, box)
        webhooks.change(
            gateway, key, made.row.id, WebhookUpdate(url=f"{http_receiver.url}/mine", active=True)
        )
        deliver(gateway, made)
        assert subjects(http_receiver.requests) == [f"messages/{shared}"]

    def test_events_that_were_queued_before_never_go_to_a_key(
        self, gateway: Gateway, box: Connector, hers: Connector, key: Principal, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver)
        store(gateway, hers)
        [shared] = store(gateway, box)
        queue(gateway, made)
        webhooks.change(gateway, key, made.row.id, WebhookUpdate(url=f"{http_receiver.url}/mine"))
        deliver(gateway, made)
        assert subjects(http_receiver.requests) == [f"messages/{shared}"]
        assert [(row.status, row.error_code) for row in rows(gateway)] == [
            ("failed", "not_allowed"),
            ("delivered", None),
        ]

    def test_an_administrator_gets_no_more_of_a_keys_past_than_the_key_saw(
        self, gateway: Gateway, box: Connector, hers: Connector, key: Principal, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver, by=key)
        store(gateway, hers)
        webhooks.change(gateway, ADMIN, made.row.id, WebhookUpdate(url=f"{http_receiver.url}/ours"))
        [later] = store(gateway, hers)
        deliver(gateway, made)
        assert subjects(http_receiver.requests) == [f"messages/{later}"]

    def test_a_revoked_keys_webhook_delivers_nothing_that_waited(
        self, gateway: Gateway, box: Connector, key: Principal, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver, by=key)
        store(gateway, box)
        queue(gateway, made)
        with gateway.db.unit_of_work() as session:
            row = api_keys.find_by_id_or_prefix(session, key.id)
            assert row is not None
            api_keys.end(session, row, by=ADMIN)
        deliver(gateway, made)
        assert http_receiver.requests == []


class TestAReplay:
    def test_a_replay_delivers_delivered_and_earlier_events_again(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        since = clock.utc_now() - timedelta(minutes=1)
        [before] = store(gateway, box)
        made = webhook(gateway, http_receiver)
        [after] = store(gateway, box)
        deliver(gateway, made)
        assert webhooks.replay(gateway, ADMIN, made.row.id, since) == 2
        deliver(gateway, made)
        assert subjects(http_receiver.requests) == [
            f"messages/{after}",
            f"messages/{before}",
            f"messages/{after}",
        ]


class TestTheJob:
    def test_one_slow_receiver_holds_no_other(
        self,
        gateway: Gateway,
        box: Connector,
        http_receiver: HttpReceiver,
        second_receiver: HttpReceiver,
    ) -> None:
        second_receiver.answer_with(Answer(delay_s=15))
        webhook(gateway, second_receiver)
        webhook(gateway, http_receiver)
        store(gateway, box)
        deliverer = deliveries.Deliverer(gateway)
        deliverer.deliver_due()
        assert len(http_receiver.wait_for(1, timeout_s=5)) == 1
        second_receiver.stop()
        deliverer.stop()

    def test_two_instances_deliver_each_event_once(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver)
        store(gateway, box, *[mail(str(number)) for number in range(20)])
        run: Callable[[], None] = lambda: deliver(gateway, made)  # noqa: E731
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        deliver(gateway, made)
        sent = [request.headers["webhook-id"] for request in http_receiver.requests]
        assert len(sent) == len(set(sent)) == 20

    def test_retention_of_events_takes_their_deliveries_and_breaks_nothing(
        self, gateway: Gateway, box: Connector, http_receiver: HttpReceiver
    ) -> None:
        made = webhook(gateway, http_receiver)
        store(gateway, box)
        deliver(gateway, made)
        with gateway.db.unit_of_work() as session:
            session.execute(update(Event).values(time=clock.utc_now() - timedelta(days=31)))
        assert feed.delete_old(gateway) == 1
        assert rows(gateway) == []
        store(gateway, box)
        deliver(gateway, made)
        assert len(http_receiver.requests) == 2
