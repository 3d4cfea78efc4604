"""Deleting by itself: what is due goes, in batches, and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlmodel import col, select

from app.gateway import Gateway
from app.models import Connector, Event, Message, MessageBody, ServerMessage
from app.services.access.rules import Principal, PrincipalKind
from app.services.messages import deletion, retention, state
from app.states import MessageState, MoveState
from tests.support.stored_mail import connector, mail, store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEMBER = Principal(kind=PrincipalKind.USER, id="jana", groups=frozenset({"g"}))


@pytest.fixture
def tidy(gateway: Gateway) -> Connector:
    """A mailbox whose processed messages go after ten days."""
    return connector(gateway, groups=["g"], delete_processed_after_days=10)


def process(gateway: Gateway, *message_ids: str) -> None:
    for message_id in message_ids:
        with gateway.db.unit_of_work() as session:
            state.set_state(session, MEMBER, message_id, MessageState.PROCESSED)


def left(gateway: Gateway) -> list[str]:
    with gateway.db.reading() as session:
        return list(session.exec(select(col(Message.id)).order_by(col(Message.position))))


def delete_due_after(gateway: Gateway, time: timedelta) -> int:
    with time_machine.travel(NOON + time, tick=False):
        return retention.delete_due(gateway)


def test_processed_messages_go_after_the_days_set(gateway: Gateway, tidy: Connector) -> None:
    processed, untouched = store(gateway, tidy, mail(), mail())
    with time_machine.travel(NOON, tick=False):
        process(gateway, processed)
    assert delete_due_after(gateway, timedelta(days=10)) == 0
    assert delete_due_after(gateway, timedelta(days=10, microseconds=1)) == 1
    assert left(gateway) == [untouched]
    with gateway.db.reading() as session:
        deleted = session.exec(select(Event).where(col(Event.type).like("%message.deleted%"))).all()
        assert [event.data["message_id"] for event in deleted] == [processed]
        assert session.get(MessageBody, processed) is None


def test_the_days_count_from_the_last_time_it_was_processed(gateway: Gateway, tidy: Connector) -> None:
    [message_id] = store(gateway, tidy)
    with time_machine.travel(NOON, tick=False) as traveller:
        process(gateway, message_id)
        traveller.shift(timedelta(days=5))
        with gateway.db.unit_of_work() as session:
            state.set_state(session, MEMBER, message_id, MessageState.NEW)
        process(gateway, message_id)
    assert delete_due_after(gateway, timedelta(days=11)) == 0
    assert delete_due_after(gateway, timedelta(days=16)) == 1


def test_a_mailbox_without_the_setting_keeps_everything(gateway: Gateway) -> None:
    message_ids = store(gateway, connector(gateway, groups=["g"]))
    with time_machine.travel(NOON, tick=False):
        process(gateway, *message_ids)
    assert delete_due_after(gateway, timedelta(days=36500)) == 0
    assert left(gateway) == message_ids


def test_a_mail_that_is_not_moved_yet_stays_known(gateway: Gateway, tidy: Connector) -> None:
    message_ids = store(gateway, tidy, move_state=MoveState.PENDING)
    with time_machine.travel(NOON, tick=False):
        process(gateway, *message_ids)
    assert delete_due_after(gateway, timedelta(days=11)) == 1
    with gateway.db.reading() as session:
        [row] = session.exec(select(ServerMessage)).all()
        assert (row.message_id, row.move_state) == (None, "pending")


def test_everything_due_goes_in_one_run_of_several_batches(
    gateway: Gateway, tidy: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "DELETE_BATCH", 2)
    other = connector(gateway, groups=["g"], delete_processed_after_days=1)
    message_ids = [*store(gateway, tidy, *[mail()] * 5), *store(gateway, other, *[mail()] * 3)]
    with time_machine.travel(NOON, tick=False):
        process(gateway, *message_ids)
    assert delete_due_after(gateway, timedelta(days=11)) == 8
    assert left(gateway) == []


def test_when_the_time_is_over_it_stops_and_the_next_run_goes_on(
    gateway: Gateway, tidy: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "DELETE_BATCH", 2)
    monkeypatch.setattr(retention, "TIME_BUDGET_S", 0.000001)
    message_ids = store(gateway, tidy, *[mail()] * 5)
    with time_machine.travel(NOON, tick=False):
        process(gateway, *message_ids)
    with time_machine.travel(NOON + timedelta(days=11), tick=True):
        assert 0 <= retention.delete_due(gateway) < 5
    monkeypatch.undo()
    delete_due_after(gateway, timedelta(days=11))
    assert left(gateway) == []
