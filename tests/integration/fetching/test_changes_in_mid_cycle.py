"""What people do to a connector while its cycle runs, and a gateway that is told to stop: no mail is moved that is not
stored, and the next cycle goes by the new settings."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.gateway import Gateway
from app.services.fetching import fetch_cycle, leases
from tests.support.callers import Callers
from tests.support.fetched_mailbox import Mailbox, hashes, mailbox
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import Exchange, Fault, ImapProxy

ADMIN = Callers.user("administrator", admin=True)
LAST_BEFORE_THE_COMMIT = "STATUS"


@pytest.fixture
def box(gateway: Gateway, dovecot: Dovecot, imap_proxy: ImapProxy) -> Mailbox:
    made = mailbox(gateway, dovecot, imap_port=imap_proxy.port)
    dovecot.deliver_all(made.user, [mail("one"), mail("twin"), mail("twin")])
    return made


def meanwhile(act: Callable[[], Any]) -> Fault:
    """Do something before the command goes on to the server."""

    def fault(exchange: Exchange) -> list[bytes]:
        act()
        return exchange.pass_on()

    return fault


def delete(client: TestClient, box: Mailbox) -> Callable[[], None]:
    def act() -> None:
        answer = client.delete(f"/connectors/{box.connector_id}?messages=delete", headers=ADMIN)
        assert answer.status_code == 204, answer.text

    return act


def test_a_connector_deleted_before_the_commit_has_nothing_stored_or_moved(
    box: Mailbox, client: TestClient, imap_proxy: ImapProxy
) -> None:
    imap_proxy.break_on(LAST_BEFORE_THE_COMMIT, meanwhile(delete(client, box)))
    cycle = fetch_cycle.run(box.gateway, box.connector_id)
    assert cycle is not None
    assert (cycle.error_code, cycle.stored) == ("settings_changed", 0)
    assert imap_proxy.sent("UID MOVE") == []
    assert len(box.raws("INBOX")) == 3
    assert box.messages() == []
    assert box.ledger() == []


def test_a_connector_deleted_at_the_move_leaves_nothing_half_done(
    box: Mailbox, client: TestClient, imap_proxy: ImapProxy
) -> None:
    imap_proxy.break_on("UID MOVE", meanwhile(delete(client, box)))
    assert fetch_cycle.run(box.gateway, box.connector_id) is not None
    assert len(box.raws("Trash")) == 3
    assert box.messages() == []
    assert box.ledger() == []
    assert fetch_cycle.run(box.gateway, box.connector_id) is None


def test_settings_changed_before_the_commit_hold_from_the_next_cycle_on(
    box: Mailbox, client: TestClient, dovecot: Dovecot, imap_proxy: ImapProxy
) -> None:
    with dovecot.client(box.user) as other:
        other.create_folder("Done")

    def change() -> None:
        answer = client.patch(
            f"/connectors/{box.connector_id}", json={"processed_folder": "Done"}, headers=ADMIN
        )
        assert answer.status_code == 200, answer.text

    imap_proxy.break_on(LAST_BEFORE_THE_COMMIT, meanwhile(change))
    seen = box.raws("INBOX")
    cycle = box.fetch()
    assert (cycle.error_code, cycle.stored) == ("settings_changed", 0)
    assert box.raws("INBOX") == seen
    assert box.connector.status == "active"
    box.fetch_well()
    assert hashes(box.raws("Done")) == hashes(box.sources()) == hashes(seen)


def test_a_gateway_that_stops_ends_after_the_batch_in_hand_and_gives_the_lease_back(
    gateway: Gateway, dovecot: Dovecot
) -> None:
    box = mailbox(gateway, dovecot, first_fetch="all")
    dovecot.deliver_all(box.user, [mail(str(number)) for number in range(70)])
    seen = box.raws("INBOX")
    cycle = fetch_cycle.run(gateway, box.connector_id, stopping=lambda: True)
    assert cycle is not None
    assert (cycle.error_code, cycle.stored, cycle.moved, cycle.left) == (None, 50, 50, 20)
    with leases.held(gateway, box.connector) as lease:
        assert lease is not None
    box.fetch_well()
    assert hashes(box.sources()) == hashes(box.raws("Trash")) == hashes(seen)
