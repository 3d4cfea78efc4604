"""A commit that brings work wakes the workers of each process on the database."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from app import clock
from app.db import Database
from app.gateway import Gateway
from app.models import Connector
from app.states import SendingStatus
from app.wakeups import Topic
from tests.support.stored_mail import connector, store
from tools.servers.process import wait_until

WAIT_S = 60.0


class Subscriber:
    """Counts its wake-ups."""

    def __init__(self, database: Database, topic: Topic) -> None:
        self._woken = threading.Event()
        database.wakeups.subscribe(topic, self._woken.set)

    def forget(self) -> None:
        self._woken.clear()

    @property
    def is_woken(self) -> bool:
        return self._woken.is_set()

    def wait(self) -> None:
        assert self._woken.wait(WAIT_S)


@pytest.fixture
def other(database_url: str) -> Iterator[Database]:
    """Another process on the same database, which listens."""
    with contextlib.closing(Database(database_url, pool_size=2)) as made:
        made.listen()
        wait_until(lambda: made.hears_others, WAIT_S, "listening")
        yield made


def set_due(gateway: Gateway, box: Connector, in_s: float) -> None:
    with gateway.db.unit_of_work() as session:
        row = session.get(Connector, box.id)
        assert row is not None
        row.next_fetch_at = clock.utc_now() + timedelta(seconds=in_s)


class TestInOneProcess:
    def test_each_kind_of_work_wakes_its_own_workers_after_the_commit(self, gateway: Gateway) -> None:
        box = connector(gateway)
        subscribers = {topic: Subscriber(gateway.db, topic) for topic in Topic}
        set_due(gateway, box, 0)
        assert [topic for topic, each in subscribers.items() if each.is_woken] == [Topic.FETCHING]
        store(gateway, box)
        assert subscribers[Topic.EVENTS].is_woken
        assert not subscribers[Topic.SENDING].is_woken

    def test_work_that_is_due_later_wakes_nobody(self, gateway: Gateway) -> None:
        box = connector(gateway)
        fetching = Subscriber(gateway.db, Topic.FETCHING)
        set_due(gateway, box, 60)
        assert not fetching.is_woken

    def test_work_that_was_rolled_back_wakes_nobody(self, gateway: Gateway) -> None:
        box = connector(gateway)
        fetching = Subscriber(gateway.db, Topic.FETCHING)
        with pytest.raises(ZeroDivisionError), gateway.db.unit_of_work() as session:
            row = session.get(Connector, box.id)
            assert row is not None
            row.next_fetch_at = clock.utc_now()
            session.flush()
            raise ZeroDivisionError
        assert not fetching.is_woken


class TestBetweenProcesses:
    def test_a_commit_of_one_process_wakes_another(self, gateway: Gateway, other: Database) -> None:
        box = connector(gateway)
        events = Subscriber(other, Topic.EVENTS)
        store(gateway, box)
        events.wait()

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_a_process_does_not_wake_itself_a_second_time(self, gateway: Gateway, other: Database) -> None:
        box = connector(gateway)
        gateway.db.listen()
        wait_until(lambda: gateway.db.hears_others, WAIT_S, "listening")
        own, others = Subscriber(gateway.db, Topic.EVENTS), Subscriber(other, Topic.EVENTS)
        store(gateway, box)
        assert own.is_woken
        own.forget()
        others.wait()
        with other.unit_of_work() as session:  # heard after what the process said itself
            row = session.get(Connector, box.id)
            assert row is not None
            row.sending_status = SendingStatus.STOPPED
        sending = Subscriber(gateway.db, Topic.SENDING)
        set_due(gateway, box, 0)
        with other.unit_of_work() as session:
            row = session.get(Connector, box.id)
            assert row is not None
            row.sending_status = SendingStatus.ACTIVE
        sending.wait()
        assert not own.is_woken

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_a_lost_connection_is_known_and_what_was_missed_is_heard_when_it_is_back(
        self, gateway: Gateway, other: Database
    ) -> None:
        events = Subscriber(other, Topic.EVENTS)
        with gateway.db.unit_of_work() as session:
            ended = session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
            ).all()
        assert len(ended) == 1
        wait_until(lambda: not other.hears_others, WAIT_S, "the loss to be noticed")
        events.wait()
        assert other.hears_others
