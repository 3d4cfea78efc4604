"""Leases: one holder at a time, taken over only when the holder cannot act any more."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import update

from app import clock
from app.adapters import process
from app.errors import LeaseLost
from app.gateway import Gateway
from app.models import Connector, Lease
from app.services.fetching import leases
from tests.support.stored_mail import connector


@pytest.fixture
def box(gateway: Gateway) -> Connector:
    return connector(gateway)


def set_lease(gateway: Gateway, **values: object) -> None:
    with gateway.db.unit_of_work() as session:
        session.execute(update(Lease).values(**values))


def test_nobody_else_gets_it_while_it_is_held_and_anybody_when_it_is_given_back(
    gateway: Gateway, box: Connector
) -> None:
    with leases.held(gateway, box) as lease:
        assert lease is not None
        with leases.held(gateway, box) as second:
            assert second is None
        lease.require()
    with leases.held(gateway, box) as later:
        assert later is not None
        assert later.epoch == lease.epoch + 1


def test_two_connectors_of_one_folder_of_a_mailbox_share_it(gateway: Gateway) -> None:
    place = {"imap_host": "imap.firma.invalid", "imap_username": "info"}
    one = connector(gateway, **place, source_folder="INBOX")
    other = connector(gateway, **place, source_folder="Inbox")
    with leases.held(gateway, one) as first, leases.held(gateway, other) as second:
        assert first is not None
        assert second is None


def test_one_that_has_run_out_is_taken_over_only_after_a_commands_deadline_too(
    gateway: Gateway, box: Connector
) -> None:
    with leases.held(gateway, box) as lease:
        assert lease is not None
        elsewhere = "another-machine/1/1/x"
        set_lease(gateway, holder=elsewhere, expires_at=clock.utc_now() - timedelta(seconds=1))
        with leases.held(gateway, box) as early:
            assert early is None
        run_out = timedelta(seconds=gateway.settings.command_timeout_s + 1)
        set_lease(gateway, expires_at=clock.utc_now() - run_out)
        with leases.held(gateway, box) as late:
            assert late is not None


def test_whoever_has_lost_it_neither_commits_nor_moves(gateway: Gateway, box: Connector) -> None:
    with leases.held(gateway, box) as lease:
        assert lease is not None
        set_lease(gateway, epoch=lease.epoch + 1, holder="another")
        with pytest.raises(LeaseLost):
            lease.require()
        with pytest.raises(LeaseLost), gateway.db.unit_of_work() as session:
            lease.confirm(session)
        with pytest.raises(LeaseLost):
            lease.renew()


def test_whoever_has_let_it_run_out_does_not_move(gateway: Gateway, box: Connector) -> None:
    with leases.held(gateway, box) as lease:
        assert lease is not None
        set_lease(gateway, expires_at=clock.utc_now() - timedelta(seconds=1))
        with pytest.raises(LeaseLost):
            lease.require()
        lease.renew()
        lease.require()


def test_that_of_a_dead_process_of_this_machine_is_free_at_once(gateway: Gateway, box: Connector) -> None:
    code = "from app.adapters import process; print(process.identity(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        identity = child.stdout.readline().strip()
        assert not process.is_dead(identity)
        with leases.held(gateway, box):
            set_lease(gateway, holder=f"{identity}/a")
            with leases.held(gateway, box) as while_alive:
                assert while_alive is None
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            assert process.is_dead(identity)
            with leases.held(gateway, box) as after_death:
                assert after_death is not None


def test_a_process_of_another_machine_is_never_taken_for_dead() -> None:
    assert not process.is_dead("another-boot:pid:[1]/999999999/1")
    assert not process.is_dead("?/abc")
    assert not process.is_dead(process.identity())
