"""The ledger: the mails on a server that the gateway has taken in, and whether they have been moved away.

The place of a mail is connector, folder, UIDVALIDITY and UID (RFC 9051 §2.3.1.1). A row whose place is no longer valid
(the UIDVALIDITY changed, or the connector now names another host) is *displaced*. If its move is still pending, the
gateway searches for the mail by its bytes, one row for one mail. It never uses the Message-ID.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlmodel import Session, col

from app.ids import new_id
from app.models import Message, ServerMessage
from app.states import MoveState

DISPLACED = -1
"""A UIDVALIDITY that no server uses. It means that the place of the row is unknown."""
CHUNK = 500
"""The largest number of values in one `IN (…)`."""


@dataclass(frozen=True, slots=True)
class NumberedFolder:
    """A folder with its present UIDVALIDITY. Together with a UID it is a place."""

    connector_id: str
    folder: str
    uidvalidity: int


@dataclass(frozen=True, slots=True)
class Target:
    """The folder that mails are moved to. `uidnext`: the lowest UID the server can give to mail arriving from now on."""

    folder: str
    uidvalidity: int | None
    uidnext: int | None


@dataclass(frozen=True, slots=True)
class MoveIntent:
    """What is recorded before a move, and shows afterwards whether it happened. `uidnext` is that of the source folder."""

    target: Target
    uidnext: int


def known_uids(session: Session, source: NumberedFolder, uids: Sequence[int]) -> set[int]:
    """The UIDs among these whose mails have been taken in."""
    known: set[int] = set()
    for start in range(0, len(uids), CHUNK):
        statement = select(col(ServerMessage.uid)).where(
            *_at(source), col(ServerMessage.uid).in_(uids[start : start + CHUNK])
        )
        known.update(session.execute(statement).scalars())
    return known


def settled_at(session: Session, source: NumberedFolder, uids: Sequence[int]) -> list[ServerMessage]:
    """The rows of these UIDs that say that the mail has left the folder."""
    found: list[ServerMessage] = []
    for start in range(0, len(uids), CHUNK):
        statement = select(ServerMessage).where(
            *_at(source),
            col(ServerMessage.uid).in_(uids[start : start + CHUNK]),
            col(ServerMessage.move_state) != MoveState.PENDING,
        )
        found += session.execute(statement).scalars()
    return found


def has_outdated(session: Session, source: NumberedFolder, *, is_unstable: bool) -> bool:
    """Whether the ledger holds places of the folder from an earlier numbering. `is_unstable`: the numbers of this server are
    valid for one session only."""
    statement = select(col(ServerMessage.id)).where(
        col(ServerMessage.connector_id) == source.connector_id,
        col(ServerMessage.folder) == source.folder,
        col(ServerMessage.uidvalidity) != DISPLACED,
    )
    if not is_unstable:
        statement = statement.where(col(ServerMessage.uidvalidity) != source.uidvalidity)
    return session.execute(statement.limit(1)).first() is not None


def pending_at(session: Session, source: NumberedFolder) -> list[ServerMessage]:
    """The rows whose move is not settled, by UID."""
    statement = (
        select(ServerMessage)
        .where(*_at(source), col(ServerMessage.move_state) == MoveState.PENDING)
        .order_by(col(ServerMessage.uid))
    )
    return list(session.execute(statement).scalars())


def peek(session: Session, row_ids: Sequence[str]) -> list[ServerMessage]:
    """The rows that still exist, without a lock."""
    return list(session.execute(select(ServerMessage).where(col(ServerMessage.id).in_(row_ids))).scalars())


def rows_of(session: Session, row_ids: Sequence[str]) -> list[ServerMessage]:
    """The rows that still exist, locked until the commit, by id."""
    statement = (
        select(ServerMessage)
        .where(col(ServerMessage.id).in_(row_ids))
        .order_by(col(ServerMessage.id))
        .with_for_update()
    )
    return list(session.execute(statement, execution_options={"populate_existing": True}).scalars())


def received_octets(session: Session, rows: Sequence[ServerMessage]) -> dict[str, int]:
    """The number of octets received of the mails of these rows, by row; without those whose message was deleted."""
    statement = (
        select(col(ServerMessage.id), col(Message.size_octets))
        .join(Message, col(Message.id) == col(ServerMessage.message_id))
        .where(col(ServerMessage.id).in_([row.id for row in rows]))
    )
    return {row.id: row.size_octets for row in session.execute(statement)}


def add(
    session: Session,
    source: NumberedFolder,
    *,
    uid: int,
    message_id: str,
    sha256: str,
    announced_octets: int | None,
    intent: MoveIntent,
) -> ServerMessage:
    """Record that a mail was taken in, with the intent to move it. `announced_octets`: the size that the server announced,
    if it was correct."""
    row = ServerMessage(
        id=new_id(),
        connector_id=source.connector_id,
        folder=source.folder,
        uidvalidity=source.uidvalidity,
        uid=uid,
        message_id=message_id,
        sha256=sha256,
        announced_octets=announced_octets,
        move_state=MoveState.PENDING,
    )
    record_intent(row, intent)
    session.add(row)
    return row


def record_intent(row: ServerMessage, intent: MoveIntent) -> None:
    """Before the move, record the values that show afterwards whether it happened."""
    row.move_state = MoveState.PENDING
    row.uidnext_at_move = intent.uidnext
    row.target_folder = intent.target.folder
    row.target_uidvalidity = intent.target.uidvalidity
    row.target_uidnext = intent.target.uidnext
    row.target_uid = None
    row.looks = 0


def replace_at(row: ServerMessage, source: NumberedFolder, uid: int) -> None:
    """Record that the mail of the row is at this place now."""
    row.folder = source.folder
    row.uidvalidity = source.uidvalidity
    row.uid = uid


def displace(
    session: Session, connector_id: str, *, folder: str | None = None, except_uidvalidity: int | None = None
) -> None:
    """The numbering changed, so the places from the old numbering are no longer valid.

    Rows of mails that had been moved away are removed: a mail that somebody puts back now looks the same as a second mail
    with these bytes. Mails whose move is pending will be recognised by their bytes.
    """
    old = [
        col(ServerMessage.connector_id) == connector_id,
        col(ServerMessage.uidvalidity) != DISPLACED,
    ]
    if folder is not None:
        old.append(col(ServerMessage.folder) == folder)
    if except_uidvalidity is not None:
        old.append(col(ServerMessage.uidvalidity) != except_uidvalidity)
    settled = col(ServerMessage.move_state) != MoveState.PENDING
    session.execute(
        delete(ServerMessage).where(*old, settled), execution_options={"synchronize_session": False}
    )
    rows = session.execute(select(ServerMessage).where(*old).order_by(col(ServerMessage.uid))).scalars().all()
    if not rows:
        return
    lowest = session.execute(
        select(func.min(col(ServerMessage.uid))).where(
            col(ServerMessage.connector_id) == connector_id, col(ServerMessage.uidvalidity) == DISPLACED
        )
    ).scalar_one()
    for number, row in enumerate(rows, 1):
        # Places are unique. If the place is unknown, the UID only keeps the rows distinct.
        row.uid = min(lowest or 0, 0) - number
        row.uidvalidity = DISPLACED
    session.flush()


def leave_places(session: Session, connector_id: str) -> None:
    """The connector now names another mailbox, or the same one by another name: `displace` in all folders."""
    displace(session, connector_id)


def displaced(session: Session, connector_id: str, folder: str) -> dict[str, list[str]]:
    """The ids of the displaced rows of a folder by the sha256 of the bytes, one for each mail."""
    statement = (
        select(col(ServerMessage.sha256), col(ServerMessage.id))
        .where(
            col(ServerMessage.connector_id) == connector_id,
            col(ServerMessage.folder) == folder,
            col(ServerMessage.uidvalidity) == DISPLACED,
        )
        .order_by(col(ServerMessage.id))
    )
    by_bytes: dict[str, list[str]] = defaultdict(list)
    for sha256, row_id in session.execute(statement):
        by_bytes[sha256].append(row_id)
    return dict(by_bytes)


def displaced_rows(session: Session, connector_id: str, folder: str) -> list[ServerMessage]:
    """The displaced rows of a folder."""
    statement = select(ServerMessage).where(
        col(ServerMessage.connector_id) == connector_id,
        col(ServerMessage.folder) == folder,
        col(ServerMessage.uidvalidity) == DISPLACED,
    )
    return list(session.execute(statement).scalars())


def returned(session: Session, source: NumberedFolder, mails: Iterable[tuple[int, str]]) -> dict[int, str]:
    """The mails (UID, sha256) among these that have come back: maps the UID to the row of the mail that was moved away.

    A mail has come back if it has the bytes of a moved mail, and its UID is not below the folder's UIDNEXT after that move.
    With a lower UID it is a second mail with the same bytes, which was there before. One row stands for one mail.
    """
    by_bytes: dict[str, list[int]] = defaultdict(list)
    for uid, sha256 in mails:
        by_bytes[sha256].append(uid)
    hashes = list(by_bytes)
    found: dict[int, str] = {}
    for start in range(0, len(hashes), CHUNK):
        statement = (
            select(ServerMessage)
            .where(
                *_at(source),
                col(ServerMessage.sha256).in_(hashes[start : start + CHUNK]),
                col(ServerMessage.move_state) != MoveState.PENDING,
                col(ServerMessage.message_id).is_not(None),
                col(ServerMessage.uidnext_at_move).is_not(None),
            )
            .order_by(col(ServerMessage.uidnext_at_move), col(ServerMessage.uid))
        )
        for row in session.execute(statement).scalars():
            came_after = [
                uid
                for uid in sorted(by_bytes[row.sha256])
                if uid not in found and row.uidnext_at_move is not None and uid >= row.uidnext_at_move
            ]
            if came_after:
                found[came_after[0]] = row.id
    return found


def settle(
    session: Session, row: ServerMessage, state: MoveState, *, uidnext: int, target_uid: int | None
) -> None:
    """Record that the mail has left the source folder. If the message of the row is deleted, or its place is no longer
    valid, the row is not needed any more and is removed."""
    if row.message_id is None or row.uidvalidity == DISPLACED:
        session.delete(row)
        return
    row.move_state = state
    row.uidnext_at_move = uidnext
    row.target_uid = target_uid


def taken_target_uids(
    session: Session, target: Target, connector_id: str, *, except_rows: Set[str] = frozenset()
) -> set[int]:
    """The known UIDs in a processed folder that belong to mails of ours, without those of these rows."""
    statement = select(col(ServerMessage.id), col(ServerMessage.target_uid)).where(
        col(ServerMessage.connector_id) == connector_id,
        col(ServerMessage.target_folder) == target.folder,
        or_(
            col(ServerMessage.target_uidvalidity) == target.uidvalidity,
            col(ServerMessage.target_uidvalidity).is_(None),
        ),
        col(ServerMessage.target_uid) >= (target.uidnext or 0),
    )
    return {
        uid for row_id, uid in session.execute(statement) if uid is not None and row_id not in except_rows
    }


def _at(source: NumberedFolder) -> tuple[ColumnElement[bool], ...]:
    return (
        col(ServerMessage.connector_id) == source.connector_id,
        col(ServerMessage.folder) == source.folder,
        col(ServerMessage.uidvalidity) == source.uidvalidity,
    )
