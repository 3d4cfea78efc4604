"""The lease of a mailbox's folder: who holds it may fetch from it, and nobody else may.

UID MOVE excludes nobody: two clients that move the same mails at once leave both copies of many of them, and both
are told OK (Dovecot 2.3: 28 to 39 of 300). So one cycle at a time, on any number of instances: each acquisition has
an epoch of its own, checked in the transaction that stores mails and again right before each MOVE or COPY.

A lease is renewed while its cycle runs. It is taken over once it has run out and a command that its holder may
have sent in the last moment has met its deadline too; at once where the holder gave it back or is dead for certain.
On PostgreSQL the database's clock counts: those of the instances may differ.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select
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
    """Mails that were being taken in when their process died."""

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
    """What the holder before was taking in, if it never gave the lease back."""

    def confirm(self, session: Session) -> Lease:
        """Make sure within a transaction that nobody takes the lease over before its commit; the lease's row.

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
        """Make sure that a command sent now, and ended by its deadline, meets no other instance's.

        Raises:
            LeaseLost: taken over, or run out.
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
        """Note what is going to be taken in, and renew the lease.

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
        """Let anybody have it at once."""
        with contextlib.suppress(LeaseLost), self.db.unit_of_work() as session:
            row = self.confirm(session)
            row.holder = None
            row.in_hand_uidvalidity, row.in_hand_uids = None, []


@contextlib.contextmanager
def held(gateway: Gateway, connector: Connector) -> Iterator[HeldLease | None]:
    """Hold the lease of the connector's source folder within the block, renewing it; None where another does."""
    lease = _acquire(gateway, mailbox_key(connector))
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
        # Where this fails the lease runs out by itself.
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


def _acquire(gateway: Gateway, key: str) -> HeldLease | None:
    lease_s = float(gateway.settings.lease_s)
    # One process runs several cycles; two of them must not take each other's lease for their own.
    holder = f"{process.identity()}/{new_id()}"
    try:
        with gateway.db.unit_of_work() as session:
            now = _now(session, gateway.db)
            # An instance that stands still in the middle of a transaction must not make this one stand still too.
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
    except IntegrityError:  # another instance has made the row meanwhile
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
            return  # the cycle notices at its next commit or move
        except (SQLAlchemyError, StoreUnavailable) as exc:
            log.warning("lease_not_renewed", error=type(exc).__name__)


def _now(session: Session, db: Database) -> datetime:
    if db.is_sqlite:
        return clock.utc_now()
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now
