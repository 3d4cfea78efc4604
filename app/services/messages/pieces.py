"""Yields the content of a download in pieces, so that the memory of the gateway holds no whole mail for a slow client."""

import sqlite3
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from sqlalchemy import Integer, func, literal_column, select
from sqlmodel import Session, col

from app.adapters import compression
from app.errors import NotFound
from app.gateway import Gateway
from app.models import MessageBody

PIECE_OCTETS = 256 * 1024


def of_source(gateway: Gateway, message_id: str) -> Iterator[bytes]:
    """The bytes of a mail as received. A new session reads each piece of the stored frame.

    Raises:
        NotFound: the message was deleted meanwhile. The answer has already begun, so its connection is closed.
    """
    return compression.decompress_pieces(_Frame(gateway, message_id), PIECE_OCTETS)


def of_content(content: bytes) -> Iterator[bytes]:
    """Bytes that are in memory, in pieces. A large content is moved to an unnamed temporary file."""
    if len(content) <= PIECE_OCTETS:
        return iter([content])
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the iterator closes it
    file.write(content)
    file.seek(0)
    return _read_file(cast(BinaryIO, file))


def _read_file(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_OCTETS):
            yield piece


class _Frame:
    """A stored frame as a file to read from."""

    def __init__(self, gateway: Gateway, message_id: str) -> None:
        self._gateway, self._message_id = gateway, message_id
        self._position = 0

    def read(self, octets: int) -> bytes:
        """The next octets: as many as requested, or fewer at the end."""
        with self._gateway.db.reading() as session:
            read = self._read_sqlite if self._gateway.db.is_sqlite else self._read_postgresql
            piece = read(session, octets)
        if piece is None:
            raise NotFound
        self._position += len(piece)
        return piece

    def _read_postgresql(self, session: Session, octets: int) -> bytes | None:
        piece = func.substr(col(MessageBody.source_zstd), self._position + 1, octets)
        statement = select(piece).where(col(MessageBody.message_id) == self._message_id)
        found = session.execute(statement).scalar_one_or_none()
        return bytes(found) if found is not None else None

    def _read_sqlite(self, session: Session, octets: int) -> bytes | None:
        # `substr` would load the whole value for each piece.
        statement = select(literal_column("rowid", Integer)).where(
            col(MessageBody.message_id) == self._message_id
        )
        row_id = session.execute(statement).scalar_one_or_none()
        if row_id is None:
            return None
        connection = session.connection().connection.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        with connection.blobopen(
            str(MessageBody.__tablename__), "source_zstd", row_id, readonly=True
        ) as value:
            value.seek(self._position)
            return value.read(octets)
