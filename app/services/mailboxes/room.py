"""Checks whether there is room for more mail: within the quota of the connector, and on the disk of an SQLite database.

If there is no room, mail stays on the server, the connector shows the reason, and the gateway looks again every minute. Mail
to send is kept, too: it is refused if the disk is nearly full, or if sent mail alone fills the quota.
"""

import shutil
from pathlib import Path

from sqlalchemy import func, make_url, select
from sqlmodel import Session, col

from app.errors import DiskNearlyFull, QuotaReached
from app.gateway import Gateway
from app.models import Message, Submission


class Room:
    """The room for one connector, within one cycle."""

    def __init__(self, gateway: Gateway, connector_id: str) -> None:
        self._gateway = gateway
        self._left: int | None = gateway.settings.connector_quota_octets
        if self._left is not None:
            received = select(func.coalesce(func.sum(col(Message.size_octets)), 0)).where(
                col(Message.connector_id) == connector_id
            )
            with gateway.db.reading() as session:
                self._left -= int(session.execute(received).scalar_one()) + _sent(session, connector_id)

    def require(self, octets: int) -> None:
        """Check for mails of this size, and count nothing: it is the server's word.

        Raises:
            QuotaReached, DiskNearlyFull: they are to stay on the server.
        """
        _require_disk(self._gateway, octets)
        if self._left is not None and octets > self._left:
            raise QuotaReached

    def take(self, octets: int) -> None:
        """Count mails that have come and are going to be kept.

        Raises:
            QuotaReached, DiskNearlyFull: they are not to be kept.
        """
        self.require(octets)
        if self._left is not None:
            self._left -= octets


def require_for_sending(gateway: Gateway, connector_id: str, octets: int) -> None:
    """Check for a mail that is to be sent and kept. What was received does not count: answers go out also when a mailbox
    has reached its quota.

    Raises:
        QuotaReached, DiskNearlyFull
    """
    _require_disk(gateway, octets)
    quota = gateway.settings.connector_quota_octets
    if quota is not None:
        with gateway.db.reading() as session:
            if _sent(session, connector_id) + octets > quota:
                raise QuotaReached


def _sent(session: Session, connector_id: str) -> int:
    """What was sent and is kept, or waits, as it is stored: its length is known without reading it."""
    statement = select(func.coalesce(func.sum(func.length(col(Submission.source_zstd))), 0)).where(
        col(Submission.connector_id) == connector_id
    )
    return int(session.execute(statement).scalar_one())


def _require_disk(gateway: Gateway, octets: int) -> None:
    floor = gateway.settings.free_disk_octets
    if not (gateway.db.is_sqlite and floor):
        return
    folder = Path(make_url(gateway.db.url).database or "").absolute().parent
    if shutil.disk_usage(folder).free - octets < floor:
        raise DiskNearlyFull
