"""Tables of fetching: leases, fetch cycles, the ledger of mails, and the mails that could not be taken in."""

from datetime import datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    false,
)
from sqlmodel import Field, SQLModel

from app.models.columns import UtcDateTime, cascade_column, enum_column
from app.states import (
    CycleOutcome,
    MoveState,
    QuarantineState,
)


class Lease(SQLModel, table=True):
    """Who may run a fetch cycle on a mailbox's folder now. One row for each folder of a mailbox; it is never deleted."""

    __tablename__ = "leases"

    mailbox_key: str = Field(primary_key=True)
    """Hash of host, port, username and folder: two connectors of one folder share a lease."""
    epoch: int = Field(sa_type=BigInteger)
    """Grows by one at each acquisition. A holder with an older epoch has lost the lease."""
    holder: str | None = None
    expires_at: datetime = Field(sa_type=UtcDateTime)
    in_hand_uidvalidity: int | None = Field(default=None, sa_type=BigInteger)
    in_hand_uids: list[int] = Field(default_factory=list, sa_type=JSON)
    """The mails that the holder is taking in. They are written before it begins, so that the next holder knows at which
    mails a dead process died."""


class Cycle(SQLModel, table=True):
    """One run of the fetch cycle for one connector."""

    __tablename__ = "cycles"

    id: str = Field(primary_key=True)
    connector_id: str = cascade_column("connectors.id", index=True)
    started_at: datetime = Field(sa_type=UtcDateTime, index=True)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: CycleOutcome | None = enum_column(CycleOutcome, default=None)
    error_code: str | None = None
    error_detail: str | None = None
    found: int = 0
    stored: int = 0
    known: int = 0
    returned: int = 0
    moved: int = 0
    quarantined: int = 0
    left: int = 0


class ServerMessage(SQLModel, table=True):
    """The ledger: a mail that the gateway has stored, with its place on the server. The row outlives its message while the
    move on the server is not settled, so that a deleted mail is not downloaded again."""

    __tablename__ = "server_messages"
    __table_args__ = (
        UniqueConstraint("connector_id", "folder", "uidvalidity", "uid"),
        Index("ix_server_messages_unsettled", "connector_id", "move_state"),
        Index("ix_server_messages_connector_id_sha256", "connector_id", "sha256"),
    )

    id: str = Field(primary_key=True)
    connector_id: str = cascade_column("connectors.id")
    folder: str
    uidvalidity: int = Field(sa_type=BigInteger)
    uid: int = Field(sa_type=BigInteger)
    message_id: str | None = Field(
        default=None, sa_column_args=[ForeignKey("messages.id", ondelete="SET NULL")], index=True
    )
    sha256: str
    announced_octets: int | None = Field(default=None, sa_type=BigInteger)
    """The size that the server announced for the mail when it was fetched. Null if it is unknown, or differs from the
    number of octets received."""
    move_state: MoveState = enum_column(MoveState)
    uidnext_at_move: int | None = Field(default=None, sa_type=BigInteger)
    """UIDNEXT of the source folder before the move. A mail with the same bytes and this UID or a higher one has come
    back."""
    target_folder: str | None = None
    target_uidvalidity: int | None = Field(default=None, sa_type=BigInteger)
    target_uidnext: int | None = Field(default=None, sa_type=BigInteger)
    """UIDNEXT of the processed folder before a copy. An earlier copy of ours has this UID or a higher one."""
    target_uid: int | None = Field(default=None, sa_type=BigInteger)
    """The UID of our copy. While the move is pending, it means: a copy was seen, and the mail had not left the source
    folder (0: the UID of the copy is unknown). If this happens again, the server does not allow mail to be moved."""
    looks: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """The number of searches for a copy, in a row, that could not be completed."""


class Quarantined(SQLModel, table=True):
    """A mail that could not be taken in; the mail itself stays on the server."""

    __tablename__ = "quarantine"
    __table_args__ = (UniqueConstraint("connector_id", "folder", "uidvalidity", "uid"),)

    id: str = Field(primary_key=True)
    connector_id: str = cascade_column("connectors.id")
    folder: str
    uidvalidity: int = Field(sa_type=BigInteger)
    uid: int = Field(sa_type=BigInteger)
    state: QuarantineState = enum_column(QuarantineState)
    """`suspect` while the gateway still tries it again, `quarantined` after three failures or at once."""
    reason: str
    attempts: int = 0
    is_unproved: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """The connection broke while only this mail was requested. This counts as a failure of the mail only after another
    mail has come."""
    size_octets: int | None = Field(default=None, sa_type=BigInteger)
    from_address: str | None = Field(default=None, sa_type=Text)
    subject: str | None = Field(default=None, sa_type=Text)
    internal_date: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
