"""Decides which connector has a folder of a mailbox. Several connectors may name one folder, but only one fetches from it.

A connector takes the folder in its first cycle that logs in: before it selects a folder, and under the lease of the folder. Only the
mail server knows who may use a mailbox. So a connector that has not logged in blocks no other, and no answer to a caller shows that
it exists. A connector that logs in later gets `mailbox_taken`, moves nothing, and is stopped.

The folder becomes free when its connector is deleted, names another mailbox or folder, has no password any more, or is stopped
because its logins are refused. If two connectors log in at the same moment, a partial unique index decides.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from app import clock
from app.errors import CycleRunning, MailboxTaken, SettingsChanged
from app.gateway import Gateway
from app.models import Connector
from app.services.fetching import leases
from app.services.fetching.leases import HeldLease
from app.services.mailboxes import folders

WAIT_S = 10.0
"""How long to wait for a cycle of the connector that had the folder before. It ends at its next commit."""
LOOK_EVERY_S = 0.2


@contextlib.contextmanager
def of_folder(
    gateway: Gateway, connector: Connector, lease: HeldLease, stopping: Callable[[], bool]
) -> Iterator[tuple[Connector, HeldLease]]:
    """A block in which a connector that has just logged in has its source folder, and holds the lease of the folder. `lease`: the
    lease under which it logged in.

    Raises:
        MailboxTaken: another connector has the folder.
        CycleRunning: no connector has the folder, but an earlier cycle is still running.
        SettingsChanged, LeaseLost
    """
    if connector.logged_in_at is not None:
        yield connector, lease
        return
    until = time.monotonic() + WAIT_S
    while True:
        with gateway.db.reading() as session:
            require_free(session, connector)
        with leases.held(gateway, connector) as of_folder:
            if of_folder is not None:
                yield _take(gateway, connector, of_folder), of_folder
                return
        if stopping() or time.monotonic() >= until:
            raise CycleRunning
        time.sleep(LOOK_EVERY_S)


def require_free(session: Session, connector: Connector, *, among: ColumnElement[bool] | None = None) -> None:
    """Refuse a folder of a mailbox that another connector has. `among`: a condition on `Connector`; only these count.

    Raises:
        MailboxTaken
    """
    statement = select(col(Connector.source_folder)).where(
        col(Connector.imap_host) == connector.imap_host,
        col(Connector.imap_port) == connector.imap_port,
        col(Connector.imap_username) == connector.imap_username,
        col(Connector.logged_in_at).is_not(None),
        col(Connector.id) != connector.id,
    )
    if among is not None:
        statement = statement.where(among)
    wanted = folders.comparable(connector.source_folder)
    if any(folders.comparable(name) == wanted for name in session.execute(statement).scalars()):
        raise MailboxTaken


def _take(gateway: Gateway, connector: Connector, lease: HeldLease) -> Connector:
    with gateway.db.unit_of_work() as session:
        lease.confirm(session)
        row = session.get(Connector, connector.id, with_for_update=True)
        if row is None or row.updated_at != connector.updated_at:
            raise SettingsChanged
        require_free(session, row)
        row.logged_in_at = clock.utc_now()
        try:
            session.flush()
        except IntegrityError as exc:
            raise MailboxTaken from exc
        return row
