"""What the commands that take mail out of a folder name, and whether the database holds it."""

import re

from sqlalchemy import Engine, text

from app.adapters import compression

TAKES_MAIL_OUT = r"UID (MOVE|COPY|STORE|EXPUNGE)"


def uids_in(command: bytes) -> set[int]:
    """The UIDs that a command names."""
    found = re.match(rb"UID \w+ (\S+)", command)
    assert found is not None
    uids: set[int] = set()
    for part in found[1].decode().split(","):
        first, _, last = part.partition(":")
        uids.update(range(int(first), int(last or first) + 1))
    return uids


def stored_source(engine: Engine, uid: int) -> bytes | None:
    """The bytes that are committed for the mail with this UID, in a database of one mailbox."""
    query = text(
        "SELECT b.source_zstd FROM server_messages l JOIN message_bodies b ON b.message_id = l.message_id"
        " WHERE l.uid = :uid"
    )
    with engine.connect() as connection:
        stored = connection.execute(query, {"uid": uid}).scalar_one_or_none()
    return None if stored is None else compression.decompress(bytes(stored))
