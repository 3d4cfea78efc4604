"""How much a connector sends in a minute and a day, over all instances."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from fastapi.testclient import TestClient
from sqlmodel import col, func, select

from app import clock
from app.gateway import Gateway
from app.models import Connector, Submission
from app.services.sending import provider_limits
from app.services.sending.rates import rates_of
from app.services.sending.sender import Sender
from tests.support.callers import Callers
from tests.support.sending_mailbox import sending_connector, submit
from tests.support.settings import SettingsFactory
from tools.servers.smtp import SmtpServer


@pytest.fixture
def sender(gateway: Gateway) -> Iterator[Sender]:
    made = Sender(gateway)
    yield made
    made.stop()


def run(*senders: Sender) -> None:
    for each in senders:
        each.send_due()
    for each in senders:
        assert each.wait(60)


def present(gateway: Gateway, connector_id: str) -> Connector:
    with gateway.db.reading() as session:
        found = session.get(Connector, connector_id)
    assert found is not None
    return found


def sent(gateway: Gateway, connector_id: str) -> int:
    with gateway.db.reading() as session:
        statement = select(func.count()).where(
            col(Submission.connector_id) == connector_id, col(Submission.status) == "sent"
        )
        return session.exec(statement).one()


@pytest.mark.parametrize(
    ("limit", "span"),
    [
        ({"smtp_rate_per_minute": 3}, timedelta(minutes=1)),
        ({"smtp_rate_per_day": 3}, timedelta(days=1)),
    ],
)
def test_mail_over_a_limit_waits_until_there_is_room(
    gateway: Gateway, sender: Sender, smtp_server: SmtpServer, limit: dict[str, Any], span: timedelta
) -> None:
    at = sending_connector(gateway, smtp_server, smtp_file_sent="never", **limit)
    for _ in range(7):
        submit(gateway, at)
    begun = clock.utc_now()
    run(sender)
    run(sender)
    assert sent(gateway, at.id) == 3
    waiting = present(gateway, at.id)
    assert (waiting.sending_status, waiting.sending_error_code) == ("waiting", "sending_rate_reached")
    assert waiting.sending_next_attempt_at is not None
    assert begun + span <= waiting.sending_next_attempt_at <= clock.utc_now() + span
    assert sender.next_due() is not None
    with time_machine.travel(clock.utc_now() + span, tick=True):
        run(sender)
    assert sent(gateway, at.id) == 6
    with time_machine.travel(clock.utc_now() + 2 * span, tick=True):
        run(sender)
        assert sent(gateway, at.id) == 7
        assert present(gateway, at.id).sending_status == "active"


def test_what_waits_goes_on_when_the_limit_is_raised(
    client: TestClient, gateway: Gateway, sender: Sender, smtp_server: SmtpServer
) -> None:
    at = sending_connector(gateway, smtp_server, smtp_file_sent="never", smtp_rate_per_day=1)
    for _ in range(3):
        submit(gateway, at)
    run(sender)
    path = f"/connectors/{at.id}"
    jana = Callers.user("jana")
    sending = client.get(path, headers=jana).json()["sending"]
    assert (sending["status"], sending["last_error"]["code"]) == ("waiting", "sending_rate_reached")
    assert sending["next_attempt_at"] is not None
    client.post(f"{path}/resume", headers=jana)  # counts nothing anew
    run(sender)
    assert sent(gateway, at.id) == 1
    raised = client.patch(path, json={"smtp": {"rate_per_day": 2}}, headers=jana).json()
    assert raised["sending"]["status"] == "active"
    run(sender)
    assert sent(gateway, at.id) == 2


def test_another_mailbox_of_the_server_goes_on(
    gateway: Gateway, sender: Sender, smtp_server: SmtpServer
) -> None:
    full = sending_connector(gateway, smtp_server, smtp_file_sent="never", smtp_rate_per_minute=1)
    free = sending_connector(gateway, smtp_server, smtp_file_sent="never")
    for _ in range(5):
        submit(gateway, full)
        submit(gateway, free)
    run(sender)
    assert (sent(gateway, full.id), sent(gateway, free.id)) == (1, 5)


def test_the_mail_of_all_instances_counts(settings: SettingsFactory, smtp_server: SmtpServer) -> None:
    with closing(Gateway.from_settings(settings())) as one, closing(Gateway.from_settings(settings())) as two:
        at = sending_connector(one, smtp_server, smtp_file_sent="never", smtp_rate_per_minute=5)
        for _ in range(20):
            submit(one, at)
        senders = [Sender(one), Sender(two), Sender(one), Sender(two)]
        try:
            run(*senders)
            run(*senders)
            assert (sent(one, at.id), len(smtp_server.mails)) == (5, 5)
        finally:
            for each in senders:
                each.stop()


def test_a_server_that_is_not_reached_uses_up_nothing(
    gateway: Gateway, sender: Sender, smtp_server: SmtpServer
) -> None:
    at = sending_connector(gateway, smtp_server, smtp_port=1, smtp_rate_per_day=1)
    submit(gateway, at)
    submit(gateway, at)
    run(sender)
    assert present(gateway, at.id).sending_error_code is None
    with gateway.db.reading() as session:
        assert set(session.exec(select(Submission.attempted_at)).all()) == {None}


def test_a_mail_that_is_tried_twice_counts_once(
    gateway: Gateway, sender: Sender, smtp_server: SmtpServer
) -> None:
    at = sending_connector(gateway, smtp_server, smtp_file_sent="never", smtp_rate_per_day=2)
    smtp_server.behaviour.data_reply = "451 4.3.0 Later"
    submit(gateway, at)
    run(sender)
    smtp_server.reset()
    with time_machine.travel(clock.utc_now() + timedelta(minutes=5), tick=True):
        submit(gateway, at)
        run(sender)
    assert sent(gateway, at.id) == 2


@pytest.mark.parametrize(
    ("host", "username", "limits"),
    [
        ("smtp.gmail.com", "jana@gmail.com", (None, 500)),
        ("smtp.gmail.com", "info@firma.cz", (None, 2000)),
        ("smtp.office365.com", "info@firma.cz", (30, 10_000)),
        ("smtp.firma.cz", "info@firma.cz", (None, None)),
        ("smtp.firma.cz", None, (None, None)),
    ],
)
def test_known_providers_have_limits(
    host: str, username: str | None, limits: tuple[int | None, int | None]
) -> None:
    known = provider_limits.known(host, username)
    assert (known.per_minute, known.per_day) == limits


def test_a_setting_counts_more_than_the_provider(gateway: Gateway, smtp_server: SmtpServer) -> None:
    at = sending_connector(gateway, smtp_server, smtp_host="smtp.office365.com", smtp_rate_per_minute=100)
    assert rates_of(at) == provider_limits.Rates(per_minute=100, per_day=10_000)
