"""Whether there is room for more mail: within the connector's quota, and on the disk of an SQLite database.

Where there is none, mail stays on the server, the connector says why, and fetching looks again every minute.
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
            # What was sent and is kept; its length as stored is known without reading it.
            sent = select(func.coalesce(func.sum(func.length(col(Submission.source_zstd))), 0)).where(
                col(Submission.connector_id) == connector_id
            )
            with gateway.db.reading() as session:
                self._left -= sum(int(session.execute(each).scalar_one()) for each in (received, sent))

    def require(self, octets: int) -> None:
        """Check for mails of this size, and count nothing: it is the server's word.

        Raises:
            QuotaReached, DiskNearlyFull: they are to stay on the server.
        """
        if self._folder is not None and shutil.disk_usage(self._folder).free - octets < self._floor:
            raise DiskNearlyFull
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
