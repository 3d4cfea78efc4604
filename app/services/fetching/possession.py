"""Who has a mailbox's folder. Several connectors may name one; only one of them fetches from it.

A connector takes the folder in its first cycle that logs in: before it selects anything, and under the lease of the folder.
Only the mail server knows who may use a mailbox, so a connector that has not logged in keeps nobody out, and no answer to a
caller shows that it exists. Whoever logs in later gets `mailbox_taken`, moves nothing, and is stopped.

The folder is free again when its connector names another mailbox or folder, has no password any more, or is stopped because
its logins are refused, and when it is deleted. A partial unique index decides if two log in at the same moment.
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
"""For a cycle of a connector that had the folder until now: it ends at its next commit."""
LOOK_EVERY_S = 0.2


@contextlib.contextmanager
def of_folder(
    gateway: Gateway, connector: Connector, lease: HeldLease, stopping: Callable[[], bool]
) -> Iterator[tuple[Connector, HeldLease]]:
    """For a connector that has just logged in: within the block it has its source folder, and holds the lease of it. `lease`:
    the one under which it logged in.

    Raises:
        MailboxTaken: another connector has the folder.
        CycleRunning: nobody has it, but a cycle that has begun before is still running.
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
    """Refuse a mailbox's folder that another connector has. `among`: a condition on the others that count.

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
