"""The lease of a mailbox's folder: only its holder may fetch from the folder.

A connector that has not proved that it may use the mailbox does not get this lease, and logs in under a lease of its own. So
somebody who only enters the name of a mailbox can neither block its fetching, nor find out when it is fetched.

UID MOVE does not exclude other clients. If two clients move the same mails at once, two copies of many of them remain, and both clients
get OK (Dovecot 2.3: 28 to 39 of 300). So only one cycle runs at a time, on any number of instances. Each acquisition has
its own epoch. The epoch is checked in the transaction that stores mails, and again directly before each MOVE or COPY.

A lease is renewed while its cycle runs. Another instance may take it over when it has expired, and when the time limit has
also passed for a command that its holder may have sent in the last moment. It may take it over at once if the holder gave
it back or is certainly dead. On PostgreSQL the clock of the database counts, because the clocks of instances may differ.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlmodel import Session, col

from app import clock
from app.adapters import process
from app.db import Database
from app.errors import LeaseLost, StoreUnavailable
from app.gateway import Gateway
from app.ids import new_id
from app.models import Connector, Lease
from app.services.mailboxes import folders

log = structlog.get_logger(__name__)

RENEWALS_PER_LEASE = 3


@dataclass(frozen=True, slots=True)
class InHand:
    """The mails that a process was taking in when it died."""

    uidvalidity: int
    uids: list[int]


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease that this instance holds, or held."""

    db: Database
    mailbox_key: str
    epoch: int
    holder: str
    lease_s: float
    left_in_hand: InHand | None = None
    """The mails that the previous holder was taking in, if it never gave the lease back."""

    def confirm(self, session: Session) -> Lease:
        """Within a transaction, make sure that nobody takes the lease over before the commit. Returns the row of the lease.

        Raises:
            LeaseLost
        """
        statement = select(Lease).where(col(Lease.mailbox_key) == self.mailbox_key).with_for_update()
        row: Lease | None = session.execute(
            statement, execution_options={"populate_existing": True}
        ).scalar_one_or_none()
        if row is None or row.epoch != self.epoch or row.holder != self.holder:
            raise LeaseLost
        return row

    def require(self) -> None:
        """Make sure that a command that is sent now and ends within its time limit cannot meet a command of another instance.

        Raises:
            LeaseLost: another instance took it over, or it has expired.
        """
        with self.db.reading() as session:
            row = session.get(Lease, self.mailbox_key)
            if row is None or row.epoch != self.epoch or row.holder != self.holder:
                raise LeaseLost
            if row.expires_at <= _now(session, self.db):
                raise LeaseLost

    def renew(self) -> None:
        """Hold it for another `LEASE_S` from now.

        Raises:
            LeaseLost
        """
        with self.db.unit_of_work() as session:
            self._renew(session)

    def take_in_hand(self, uidvalidity: int, uids: list[int]) -> None:
        """Record which mails are about to be taken in, and renew the lease.

        Raises:
            LeaseLost
        """
        with self.db.unit_of_work() as session:
            row = self._renew(session)
            row.in_hand_uidvalidity, row.in_hand_uids = uidvalidity, uids

    def _renew(self, session: Session) -> Lease:
        row = self.confirm(session)
        row.expires_at = _now(session, self.db) + timedelta(seconds=self.lease_s)
        return row

    def give_back(self) -> None:
        """Give the lease back, so that another instance can take it at once."""
        with contextlib.suppress(LeaseLost), self.db.unit_of_work() as session:
            row = self.confirm(session)
            row.holder = None
            row.in_hand_uidvalidity, row.in_hand_uids = None, []


def held(gateway: Gateway, connector: Connector) -> contextlib.AbstractContextManager[HeldLease | None]:
    """Hold the lease of the connector's source folder while the block runs, and renew it. None: another cycle holds it."""
    return _held(gateway, mailbox_key(connector))


def held_for_login(
    gateway: Gateway, connector: Connector
) -> contextlib.AbstractContextManager[HeldLease | None]:
    """Like `held`. A connector that does not have its folder gets its own lease instead, which blocks nobody else."""
    return _held(gateway, key_for_login(connector))


@contextlib.contextmanager
def _held(gateway: Gateway, key: str) -> Iterator[HeldLease | None]:
    lease = _acquire(gateway, key)
    if lease is None:
        yield None
        return
    done = threading.Event()
    renewing = threading.Thread(target=_keep, args=(lease, done), name="lease", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        done.set()
        renewing.join()
        # If this fails, the lease expires by itself.
        with contextlib.suppress(SQLAlchemyError, StoreUnavailable):
            lease.give_back()


def mailbox_key(connector: Connector) -> str:
    """Two connectors of one folder of one mailbox share the key."""
    place = (
        connector.imap_host.lower(),
        str(connector.imap_port),
        connector.imap_username,
        folders.comparable(connector.source_folder),
    )
    return hashlib.sha256("\0".join(place).encode()).hexdigest()


def key_for_login(connector: Connector) -> str:
    """The key of the lease under which a connector logs in: that of the folder, if it has the folder."""
    return mailbox_key(connector) if connector.logged_in_at is not None else _own_key(connector.id)


def forget(session: Session, connector_id: str) -> None:
    """Delete the lease that only this connector can hold. It is being deleted."""
    session.execute(delete(Lease).where(col(Lease.mailbox_key) == _own_key(connector_id)))


def _own_key(connector_id: str) -> str:
    return hashlib.sha256(f"connector\0{connector_id}".encode()).hexdigest()


def _acquire(gateway: Gateway, key: str) -> HeldLease | None:
    lease_s = float(gateway.settings.lease_s)
    # One process runs several cycles. No cycle may take the lease of another cycle for its own.
    holder = f"{process.identity()}/{new_id()}"
    try:
        with gateway.db.unit_of_work() as session:
            now = _now(session, gateway.db)
            # If another instance has stopped inside a transaction, this one must not stop too.
            if session.get(Lease, key) is None:
                session.add(Lease(mailbox_key=key, epoch=0, holder=None, expires_at=now))
                session.flush()
            statement = select(Lease).where(col(Lease.mailbox_key) == key).with_for_update(skip_locked=True)
            row = session.execute(
                statement, execution_options={"populate_existing": True}
            ).scalar_one_or_none()
            if row is None or not _is_free(row, now, gateway.settings.command_timeout_s):
                return None
            left = None
            if row.in_hand_uidvalidity is not None and row.in_hand_uids:
                left = InHand(row.in_hand_uidvalidity, row.in_hand_uids)
            row.epoch += 1
            row.holder = holder
            row.expires_at = now + timedelta(seconds=lease_s)
            row.in_hand_uidvalidity, row.in_hand_uids = None, []
            return HeldLease(gateway.db, key, row.epoch, holder, lease_s, left)
    except IntegrityError:  # another instance has created the row meanwhile
        return None


def _is_free(row: Lease, now: datetime, command_timeout_s: float) -> bool:
    if row.holder is None or row.expires_at + timedelta(seconds=command_timeout_s) <= now:
        return True
    return process.is_dead(row.holder.rpartition("/")[0])


def _keep(lease: HeldLease, done: threading.Event) -> None:
    while not done.wait(lease.lease_s / RENEWALS_PER_LEASE):
        try:
            lease.renew()
        except LeaseLost:
            return  # the cycle finds out at its next commit or move
        except (SQLAlchemyError, StoreUnavailable) as exc:
            log.warning("lease_not_renewed", error=type(exc).__name__)


def _now(session: Session, db: Database) -> datetime:
    if db.is_sqlite:
        return clock.utc_now()
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now
