"""The table of the key that encrypts cursors."""

from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary
from sqlmodel import Field, SQLModel

from app.models.columns import UtcDateTime


class CursorKey(SQLModel, table=True):
    """One row. The migration makes it, and nothing changes it."""

    __tablename__ = "cursor_keys"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    key: bytes = Field(sa_type=LargeBinary)
    made_at: datetime = Field(sa_type=UtcDateTime)
    last_plain_position: int = Field(sa_type=BigInteger)
    """The end of the feed at that time. No cursor of an older version, without encryption, is beyond it."""
