"""Reads stored mails again from their bytes: those that an older reader read, and those that no reader could read.

It replaces everything that a reader finds. Id, position in the feed, state, bytes and the defects that do not come from
the reader stay. Attachments keep their numbers, and no event is published. It runs beside the service, in short
transactions. Mails are parsed outside of them, and a row is written only if it still exists and nobody has read it again
meanwhile. So a run may be killed and started again, and two may run at once.

If the parser fails again, the old values stay. But the row gets the number of the new reader, so it no longer waits. Each run tries
a row with a fault of the reader once more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Text, cast, exists, func, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col

from app.adapters import compression
from app.adapters.parser import ParserPool
from app.db import Database
from app.errors import StoreUnavailable
from app.mime.model import PARSER_FAULTS, READER, SERVER_DEFECTS, DefectCode, ParsedMail
from app.models import Message, MessageBody
from app.services.events import outbox
from app.services.messages.arrivals import as_listed, body_columns, read_columns
from app.services.messages.conversations import Joined, Threaded, join_again
from app.services.messages.state import lock

log = structlog.get_logger(__name__)

BATCH_ROWS = 50
BATCH_OCTETS = 8 * 1024 * 1024

_REPLACED = frozenset(str(code) for code in set(DefectCode) - SERVER_DEFECTS)
_FAULTS = frozenset(str(code) for code in PARSER_FAULTS)
_WHOLE = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run so far, in messages."""

    read: int = 0
    failed: int = 0
    """The parser failed again, so these stay as they were."""
    passed: int = 0
    """These were deleted meanwhile, or another run read them."""

    @property
    def done(self) -> int:
        return self.read + self.failed + self.passed

    def __add__(self, other: "Progress") -> "Progress":
        return Progress(self.read + other.read, self.failed + other.failed, self.passed + other.passed)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A stored message and the result of a new reading."""

    row: Threaded
    reader: int
    """The reader in the row when the row was loaded."""
    kept_defects: list[dict[str, Any]]
    parsed: ParsedMail | None
    """None: the old values stay."""


def count_waiting(session: Session) -> int:
    """The number of messages that an older reader has read and that wait to be read again."""
    return _count(session, col(Message.reader) < READER)


def count_readable(session: Session) -> int:
    """The number of messages that a run reads again."""
    return _count(session, _is_to_be_read())


def tell_waiting(db: Database) -> None:
    """Log how many messages wait. Logs nothing if the database does not answer: the health check reports that."""
    try:
        with db.reading() as session:
            count = count_waiting(session)
    except (DBAPIError, StoreUnavailable):
        return
    if count:
        log.warning("messages_wait_to_be_read_again", count=count, command="imap-gateway reread")


def reread(db: Database, parsers: ParserPool) -> Iterator[Progress]:
    """Read all messages again that wait, or that have a fault of the reader. Yields the progress after each batch.

    Raises:
        ParserUnavailable: no parser process can be started. The rows written so far stay.
    """
    progress = Progress()
    after = ""
    while ids := _next_ids(db, after):
        after = ids[-1]
        for batch in _batches(db, parsers, ids):
            progress += _write(db, batch)
            yield progress


def _is_to_be_read() -> ColumnElement[bool]:
    defects = cast(col(MessageBody.defects), Text)
    has_fault = or_(*(defects.contains(f'"{code}"', autoescape=True) for code in sorted(_FAULTS)))
    with_fault = exists().where(col(MessageBody.message_id) == col(Message.id), has_fault)
    return or_(col(Message.reader) < READER, with_fault.correlate(Message))


def _count(session: Session, condition: ColumnElement[bool]) -> int:
    count: int = session.execute(select(func.count()).select_from(Message).where(condition)).scalar_one()
    return count


def _next_ids(db: Database, after: str) -> list[str]:
    statement = (
        select(col(Message.id))
        .where(col(Message.id) > after, _is_to_be_read())
        .order_by(col(Message.id))
        .limit(BATCH_ROWS)
    )
    with db.reading() as session:
        return list(session.execute(statement).scalars())


def _batches(db: Database, parsers: ParserPool, ids: Sequence[str]) -> Iterator[list[_Reading | None]]:
    """Read the mails, with one at a time in memory. None stands for a mail that need not be read any more."""
    batch: list[_Reading | None] = []
    octets = 0
    for message_id in ids:
        found = _load(db, message_id)
        batch.append(None if found is None else _read(parsers, *found))
        octets += 0 if found is None else found[0].size_octets
        if octets > BATCH_OCTETS:
            yield batch
            batch, octets = [], 0
    if batch:
        yield batch


def _load(db: Database, message_id: str) -> tuple[Message, MessageBody] | None:
    statement = (
        select(Message, MessageBody)
        .join(MessageBody, col(MessageBody.message_id) == col(Message.id))
        .where(col(Message.id) == message_id, _is_to_be_read())
    )
    with db.reading() as session:
        row = session.execute(statement).one_or_none()
    return None if row is None else (row[0], row[1])


def _read(parsers: ParserPool, message: Message, body: MessageBody) -> _Reading:
    parsed = parsers.parse(compression.decompress(body.source_zstd), as_listed(body.attachments))
    has_content = bool(body.text or body.html or body.attachments)
    before = _worth({each["code"] for each in body.defects}, has_content=has_content)
    now = _worth(
        {str(each.code) for each in parsed.defects},
        has_content=bool(parsed.text or parsed.html or parsed.attachments),
    )
    return _Reading(
        row=Threaded(
            id=message.id,
            connector_id=message.connector_id,
            conversation_id=message.conversation_id,
            message_id_header=message.message_id_header,
            in_reply_to=message.in_reply_to,
            references=tuple(message.references),
        ),
        reader=message.reader,
        kept_defects=[each for each in body.defects if each["code"] not in _REPLACED],
        parsed=parsed if now == _WHOLE or now > before else None,
    )


def _worth(defects: set[str], *, has_content: bool) -> int:
    """How much of a mail a reading covers: everything, everything but the HTML, or only the header."""
    if not defects & _FAULTS:
        return _WHOLE
    return int(has_content)


def _write(db: Database, batch: Sequence[_Reading | None]) -> Progress:
    readings = [each for each in batch if each is not None]
    together = [each for each in readings if each.parsed is None or each.row.is_named_by(each.parsed)]
    progress = Progress(passed=len(batch) - len(readings))
    if together:
        with db.unit_of_work() as session:
            present = _lock(session, together)
            for each in together:
                progress += _replace(session, present.get(each.row.id), each, None)
    for each in readings:
        if each not in together:
            progress += _rejoin(db, each)
    return progress


def _lock(session: Session, readings: Sequence[_Reading], also: Sequence[str] = ()) -> dict[str, Message]:
    """The messages that still exist and were not read again meanwhile, locked."""
    seen = {each.row.id: each.reader for each in readings}
    locked = lock(session, [*seen, *also])
    return {message.id: message for message in locked if message.reader == seen.get(message.id)}


def _rejoin(db: Database, reading: _Reading) -> Progress:
    """Replace the reading of a message whose Message-IDs have changed. It may now belong to another conversation, together
    with answers that were not in its conversation.

    Messages are locked before the feed, and no new message arrives while the feed is locked. So the search for answers
    runs before the locks and once more after them.
    """
    assert reading.parsed is not None
    with db.reading() as session:
        expected = join_again(session, reading.row, reading.parsed).answer_ids
    while True:
        with db.unit_of_work() as session:
            message = _lock(session, [reading], sorted(expected)).get(reading.row.id)
            outbox.lock(session)
            joined = join_again(session, reading.row, reading.parsed)
            if joined.answer_ids <= expected:
                return _replace(session, message, reading, joined)
        expected |= joined.answer_ids


def _replace(session: Session, message: Message | None, reading: _Reading, joined: Joined | None) -> Progress:
    """Write the new reading, only in the columns that the reader fills."""
    if message is None:
        return Progress(passed=1)
    message.reader = READER
    if reading.parsed is None:
        return Progress(failed=1)
    for name, value in read_columns(reading.parsed).items():
        setattr(message, name, value)
    columns = body_columns(reading.parsed)
    columns["defects"] += reading.kept_defects
    unsynchronised: dict[str, Any] = {"synchronize_session": False}
    session.execute(
        update(MessageBody).where(col(MessageBody.message_id) == message.id).values(columns),
        execution_options=unsynchronised,
    )
    if joined is not None:
        message.conversation_id = joined.conversation_id
        session.execute(
            update(Message)
            .where(col(Message.id).in_(joined.answer_ids))
            .values(conversation_id=joined.conversation_id),
            execution_options=unsynchronised,
        )
    session.flush()
    return Progress(read=1)
