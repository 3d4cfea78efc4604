"""Binds stored passwords to their servers. An upgrade does this once, at the first start that has the keys.

In older versions a ciphertext was bound only to its row. Somebody who could write to the database could change the server in the row,
and the gateway sent the password there. Now a ciphertext is also bound to the servers. This module binds rows of the first form to
the servers that their connectors name at this moment. Then it records that the step is done, and from then on the gateway does not
read the first form any more.

Each batch is one short transaction that locks its connectors, so that the servers cannot change in between. A run that is
killed continues where it stopped. Rows that no key decrypts stay. While there are any, the step is not
recorded, so a later start with the missing key binds them.
"""

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col

from app import clock
from app.adapters.secretbox import UNBOUND, credential_place
from app.errors import SecretUnreadable, StoreUnavailable
from app.gateway import Gateway
from app.models import Connector, Credential, UpgradeStep
from app.services.mailboxes.credentials import BINDING, servers_of

log = structlog.get_logger(__name__)

BATCH_ROWS = 100


def bind_at_start(gateway: Gateway) -> None:
    """Like `bind`. If the database does not answer, which the health check reports, a later start does it."""
    try:
        bind(gateway)
    except (DBAPIError, StoreUnavailable) as exc:
        log.warning("secrets_not_bound", error=type(exc).__name__)


def bind(gateway: Gateway) -> None:
    """Bind all rows of the first form, and record that this is done. Does nothing if it was done before.

    Raises:
        StoreUnavailable
    """
    with gateway.db.reading() as session:
        if session.get(UpgradeStep, BINDING) is not None:
            return
    after: str | None = ""
    bound = unreadable = 0
    while after is not None:
        with gateway.db.unit_of_work() as session:
            after, done, failed = _bind_batch(session, gateway, after)
        bound, unreadable = bound + done, unreadable + failed
    if bound or unreadable:
        log.info("secrets_bound", bound=bound, unreadable=unreadable)
    if not unreadable:
        with gateway.db.unit_of_work() as session:
            session.merge(UpgradeStep(name=BINDING, done_at=clock.utc_now()))


def _bind_batch(session: Session, gateway: Gateway, after: str) -> tuple[str | None, int, int]:
    """Bind one batch. Returns the key of the last row (None: no row was left), the number of bound rows, and the number of
    rows that no key decrypts."""
    statement = (
        select(Connector, Credential)
        .join(Credential, col(Credential.connector_id) == col(Connector.id))
        .where(
            col(Credential.connector_id) > after,
            col(Credential.ciphertext).startswith(f"{UNBOUND}.", autoescape=True),
        )
        .order_by(col(Credential.connector_id))
        .limit(BATCH_ROWS)
        .with_for_update()
    )
    last: str | None = None
    bound = unreadable = 0
    for connector, credential in session.execute(statement).all():
        last = connector.id
        place = credential_place(connector.id)
        try:
            secret = gateway.secrets.decrypt(credential.ciphertext, place=place)
        except SecretUnreadable:
            unreadable += 1
            continue
        credential.ciphertext = gateway.secrets.encrypt(secret, place=place, use=servers_of(connector))
        bound += 1
    session.flush()
    return last, bound, unreadable
