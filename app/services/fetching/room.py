"""Checks whether there is room for more mail: within the quota of the connector, and on the disk of an SQLite database.

If there is no room, mail stays on the server, the connector shows the reason, and the gateway looks again every minute.
"""

import shutil
from pathlib import Path

from sqlalchemy import func, make_url, select
from sqlmodel import col

from app.errors import DiskNearlyFull, QuotaReached
from app.gateway import Gateway
from app.models import Message, Submission


class Room:
    """The room for one connector, within one cycle."""

    def __init__(self, gateway: Gateway, connector_id: str) -> None:
        self._floor = gateway.settings.free_disk_octets
        self._folder: Path | None = None
        if gateway.db.is_sqlite and self._floor:
            self._folder = Path(make_url(gateway.db.url).database or "").absolute().parent
        self._left: int | None = gateway.settings.connector_quota_octets
        if self._left is not None:
            received = select(func.coalesce(func.sum(col(Message.size_octets)), 0)).where(
                col(Message.connector_id) == connector_id
            )
            # Sent mail that is kept, too. The database knows the stored length without reading the mail.
            sent = select(func.coalesce(func.sum(func.length(col(Submission.source_zstd))), 0)).where(
                col(Submission.connector_id) == connector_id
            )
            with gateway.db.reading() as session:
                self._left -= sum(int(session.execute(each).scalar_one()) for each in (received, sent))

    def require(self, octets: int) -> None:
        """Check whether there is room for mails of this size, without counting them, because the server may announce a wrong size.

        Raises:
            QuotaReached, DiskNearlyFull: there is no room, so they stay on the server.
        """
        if self._folder is not None and shutil.disk_usage(self._folder).free - octets < self._floor:
            raise DiskNearlyFull
        if self._left is not None and octets > self._left:
            raise QuotaReached

    def take(self, octets: int) -> None:
        """Count mails that were downloaded and will be stored.

        Raises:
            QuotaReached, DiskNearlyFull: there is no room, so they must not be stored.
        """
        self.require(octets)
        if self._left is not None:
            self._left -= octets
