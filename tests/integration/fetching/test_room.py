"""Fetching stops where there is no room, says so, leaves mail on the server, and goes on by itself."""

import base64
import contextlib
import secrets
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import delete
from sqlmodel import col

from app import clock
from app.errors import DiskNearlyFull, QuotaReached
from app.gateway import Gateway
from app.models import Connector, Submission
from app.services.access.rules import Principal, PrincipalKind
from app.services.messages import deletion
from tests.support.fetched_mailbox import Mailbox, mailbox
from tests.support.sending_mailbox import sending_connector, submit
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import TESTER, mail, store
from tools.servers.dovecot import Dovecot
from tools.servers.smtp import SmtpServer

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LARGE = mail("Large", text="x" * 5000)


@pytest.fixture
def limited(settings: SettingsFactory) -> Iterator[Gateway]:
    with contextlib.closing(Gateway.from_settings(settings(connector_quota_octets=12_000))) as made:
        yield made


def require_stopped(box: Mailbox, code: str) -> None:
    row = box.connector
    assert (row.status, row.last_error_code) == ("failing", code)
    assert row.last_error_detail is not None
    assert row.next_fetch_at is not None
    assert row.next_fetch_at <= clock.utc_now() + timedelta(seconds=61)


def test_a_connector_keeps_no_more_than_its_quota_and_goes_on_when_there_is_room(
    limited: Gateway, dovecot: Dovecot
) -> None:
    box = mailbox(limited, dovecot, first_fetch="all")
    dovecot.deliver_all(box.user, [LARGE, LARGE])
    box.fetch_well()
    dovecot.deliver(box.user, LARGE)
    assert box.fetch().error_code == "quota_reached"
    require_stopped(box, "quota_reached")
    assert len(box.raws("INBOX")) == 1
    assert len(box.messages()) == 2
    # Another connector has a quota of its own.
    other = mailbox(limited, dovecot, first_fetch="all")
    dovecot.deliver(other.user, LARGE)
    other.fetch_well()
    deletion.delete_of_connector(limited, TESTER, box.connector_id)
    box.fetch_well()
    assert (box.connector.status, len(box.messages()), box.raws("INBOX")) == ("active", 1, [])


def test_what_was_sent_and_is_kept_takes_room_too(limited: Gateway, dovecot: Dovecot) -> None:
    box = mailbox(limited, dovecot, first_fetch="all")
    noise = base64.b64encode(secrets.token_bytes(8000)).decode()
    by = Principal(kind=PrincipalKind.KEY, id="sender", scopes=frozenset({"submissions:write"}))
    for smtp_host in ("smtp.firma.invalid", None):  # the password of this mailbox is for one without SMTP
        with limited.db.unit_of_work() as session:
            connector = session.get(Connector, box.connector_id)
            assert connector is not None
            connector.smtp_host = smtp_host
        if smtp_host is not None:
            submit(limited, box.connector, by=by, text=noise)
    dovecot.deliver(box.user, LARGE)
    assert box.fetch().error_code == "quota_reached"
    require_stopped(box, "quota_reached")
    with limited.db.unit_of_work() as session:
        session.execute(delete(Submission).where(col(Submission.connector_id) == box.connector_id))
    box.fetch_well()
    assert len(box.messages()) == 1


def test_below_the_free_space_nothing_is_fetched(
    gateway: Gateway, settings: SettingsFactory, dovecot: Dovecot
) -> None:
    box = mailbox(gateway, dovecot, first_fetch="all")
    dovecot.deliver(box.user, LARGE)
    with contextlib.closing(Gateway.from_settings(settings(free_disk_octets=2**60))) as full:
        assert Mailbox(full, dovecot, box.user, box.connector_id).fetch().error_code == "disk_nearly_full"
    require_stopped(box, "disk_nearly_full")
    assert len(box.raws("INBOX")) == 1
    box.fetch_well()
    assert len(box.messages()) == 1


def test_below_the_free_space_nothing_new_is_taken_to_be_sent(
    gateway: Gateway, settings: SettingsFactory, smtp_server: SmtpServer
) -> None:
    at = sending_connector(gateway, smtp_server)
    full = Gateway.from_settings(settings(free_disk_octets=2**60))
    with contextlib.closing(full), pytest.raises(DiskNearlyFull):
        submit(full, at)
    submit(gateway, at)


def test_a_caller_does_not_fill_the_disk_by_mail_that_waits_to_be_sent(
    limited: Gateway, smtp_server: SmtpServer
) -> None:
    at, other = sending_connector(limited, smtp_server), sending_connector(limited, smtp_server)
    noise = base64.b64encode(secrets.token_bytes(6000)).decode()
    later = clock.utc_now() + timedelta(days=300)
    submit(limited, at, text=noise, send_at=later)
    with pytest.raises(QuotaReached):
        submit(limited, at, text=noise, send_at=later)
    submit(limited, other, text=noise)


def test_answers_go_out_of_a_mailbox_that_has_reached_its_quota(
    limited: Gateway, smtp_server: SmtpServer
) -> None:
    at = sending_connector(limited, smtp_server)
    store(limited, at, mail("x", text="y" * 20_000))
    submit(limited, at)
