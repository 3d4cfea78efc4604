"""Records the mails that could not be taken in: what is known of each, and the reason. The mail stays on the server.

A mail is `suspect` while each cycle tries it again. It is `quarantined` after `MAX_ATTEMPTS` failures, or at once if
another attempt would end in the same way. A quarantined mail is not touched until somebody asks for a retry.
"""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlmodel import Session, col

from app import clock
from app.audit_actions import AuditAction
from app.errors import NotFound
from app.events import NewEvent, quarantined_event
from app.ids import new_id
from app.mime.text import clean_line
from app.models import Connector, Quarantined
from app.schemas.messages import QuarantineQuery, QuarantineRetry
from app.services import pages
from app.services.access import audit, rules
from app.services.access.rules import Action, Principal
from app.services.fetching.ledger import NumberedFolder
from app.services.pages import Slice
from app.states import ConnectorStatus, QuarantineState

MAX_ATTEMPTS = 3
LONG = timedelta(hours=1)
"""If several mails do not come for this time, but one of the processed folder does, it is not an outage of the server."""
PROCESS_DIED = "process_died"
HEADER_MAX_CHARS = 500

DETAILS = {
    "too_large": "The mail is larger than this gateway accepts.",
    "unreadable": "The mail server sent the mail in a form that could not be read.",
    "vanished": "The mail server lists the mail but does not send its content.",
    "size_mismatch": "The mail server sent another number of octets than it announced.",
    "connection_lost": "The connection to the mail server broke each time at this mail.",
    "timeout": "The mail server did not send the mail in time.",
    "command_refused": "The mail server refused to send the mail.",
    "store_failed": "The mail could not be stored.",
    PROCESS_DIED: "The gateway's process ended while it was taking the mail in.",
}
"""The meaning of each reason, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The known values of a mail that was not taken in."""

    size_octets: int | None = None
    from_address: str | None = None
    subject: str | None = None
    internal_date: datetime | None = None


def detail_of(reason: str) -> str:
    """The sentence of a reason."""
    return DETAILS.get(reason, "The mail could not be taken in.")


@dataclass(frozen=True, slots=True)
class FailedUids:
    """The UIDs of a folder that failed before."""

    left_alone: frozenset[int]
    """Quarantined, so do not try them."""
    suspects: frozenset[int]
    """Try these one by one, after all others."""
    cut_over: frozenset[int]
    """The suspects at which the connection broke last time. They come last of all."""
    deadly: frozenset[int]
    """The suspects over which the process has died so often that they are not parsed any more."""
    of_earlier_numbering: bool

    def only(self, uids: Iterable[int]) -> "FailedUids":
        """The same, limited to these UIDs."""
        these = frozenset(uids)
        return replace(
            self,
            left_alone=self.left_alone & these,
            suspects=self.suspects & these,
            cut_over=self.cut_over & these,
            deadly=self.deadly & these,
        )

    def has_absent(self, present: Iterable[int]) -> bool:
        """Whether some of these mails are no longer in the folder."""
        return self.of_earlier_numbering or not (self.left_alone | self.suspects).issubset(present)


def failed_uids(session: Session, source: NumberedFolder) -> FailedUids:
    """The UIDs of a folder that failed before."""
    statement = select(Quarantined).where(
        col(Quarantined.connector_id) == source.connector_id, col(Quarantined.folder) == source.folder
    )
    rows = list(session.execute(statement).scalars())
    current = [row for row in rows if row.uidvalidity == source.uidvalidity]
    suspects = [row for row in current if row.state == QuarantineState.SUSPECT]
    return FailedUids(
        left_alone=frozenset(row.uid for row in current if row.state == QuarantineState.QUARANTINED),
        suspects=frozenset(row.uid for row in suspects),
        cut_over=frozenset(row.uid for row in suspects if row.is_unproved),
        deadly=frozenset(
            row.uid for row in suspects if row.reason == PROCESS_DIED and row.attempts >= MAX_ATTEMPTS
        ),
        of_earlier_numbering=len(current) < len(rows),
    )


def record_failure(
    session: Session,
    source: NumberedFolder,
    uid: int,
    *,
    reason: str,
    at_once: bool = False,
    known: Known | None = None,
) -> NewEvent | None:
    """Record that a mail was not taken in. Returns the event to append, if the mail is now quarantined."""
    row = _row(session, source, uid, reason)
    before = row.state
    row.reason = reason
    row.attempts += 1
    row.is_unproved = False
    _learn(row, known or Known())
    if at_once or row.attempts >= MAX_ATTEMPTS:
        row.state = QuarantineState.QUARANTINED
    session.flush()
    if row.state == QuarantineState.QUARANTINED and before != QuarantineState.QUARANTINED:
        return quarantined_event(connector_id=source.connector_id, quarantine_id=row.id, reason=reason)
    return None


def record_cut(
    session: Session, source: NumberedFolder, uid: int, *, reason: str, known: Known | None = None
) -> None:
    """Record that the connection broke while only this mail was requested. It does not count as a failure yet: see
    `prove`."""
    row = _row(session, source, uid, reason)
    if row.reason != PROCESS_DIED:
        row.reason = reason
    row.is_unproved = True
    _learn(row, known or Known())
    session.flush()


def prove(session: Session, source: NumberedFolder, uid: int) -> NewEvent | None:
    """Other mails have come since the connection broke at this one, so count the failure. Returns the event to append, if
    the mail is now quarantined."""
    row = _row(session, source, uid, "connection_lost")
    return record_failure(session, source, uid, reason=row.reason) if row.is_unproved else None


def suspect(session: Session, source: NumberedFolder, uids: Sequence[int], *, reason: str) -> None:
    """One of these mails made its batch fail, so try each alone. This does not count as an attempt for any of them."""
    known = select(col(Quarantined.uid)).where(*_at(source), col(Quarantined.uid).in_(uids))
    recorded = set(session.execute(known).scalars())
    now = clock.utc_now()
    session.add_all(_suspect(source, uid, reason, now) for uid in uids if uid not in recorded)
    session.flush()


def are_long_suspect(session: Session, source: NumberedFolder, uids: Sequence[int]) -> bool:
    """Whether there are records of all of these mails from before `LONG`."""
    statement = select(func.count()).where(
        *_at(source), col(Quarantined.uid).in_(uids), col(Quarantined.created_at) <= clock.utc_now() - LONG
    )
    return bool(session.execute(statement).scalar_one() == len(set(uids)))


def record_deaths(session: Session, source: NumberedFolder, uids: Sequence[int]) -> None:
    """The process died while it was taking these mails in. They are tried one by one. After `MAX_ATTEMPTS` deaths they are
    stored without being parsed."""
    suspect(session, source, uids, reason=PROCESS_DIED)
    session.execute(
        update(Quarantined)
        .where(
            *_at(source), col(Quarantined.uid).in_(uids), col(Quarantined.state) == QuarantineState.SUSPECT
        )
        .values(reason=PROCESS_DIED, is_unproved=False, attempts=col(Quarantined.attempts) + 1),
        execution_options={"synchronize_session": False},
    )


def forget_absent(session: Session, source: NumberedFolder, present: Set[int]) -> None:
    """Remove the records of mails that are no longer in the folder, and those of an earlier numbering."""
    of_folder = [
        col(Quarantined.connector_id) == source.connector_id,
        col(Quarantined.folder) == source.folder,
    ]
    statement = select(col(Quarantined.id), col(Quarantined.uidvalidity), col(Quarantined.uid)).where(
        *of_folder
    )
    absent = [
        row_id
        for row_id, numbering, uid in session.execute(statement)
        if numbering != source.uidvalidity or uid not in present
    ]
    for start in range(0, len(absent), 500):
        session.execute(delete(Quarantined).where(col(Quarantined.id).in_(absent[start : start + 500])))


def forget(session: Session, source: NumberedFolder, uids: Sequence[int]) -> None:
    """Remove the records of these mails: they have been taken in, or are no longer on the server."""
    if not uids:
        return
    session.execute(delete(Quarantined).where(*_at(source), col(Quarantined.uid).in_(uids)))


def list_quarantined(
    session: Session, principal: Principal, query: QuarantineQuery, *, after: str | None
) -> Slice[Quarantined]:
    """The mails in quarantine that the caller may see, oldest first.

    Raises:
        ScopeMissing, NotFound, InvalidInput
    """
    visible = rules.visible_connector_ids(principal, Action.READ_CONTENT)
    statement = select(Quarantined).where(
        col(Quarantined.state) == QuarantineState.QUARANTINED, col(Quarantined.connector_id).in_(visible)
    )
    if query.connector_id is not None:
        rules.require(session, principal, Action.READ_CONTENT, query.connector_id)
        statement = statement.where(col(Quarantined.connector_id) == query.connector_id)
    return pages.entities(session, statement, col(Quarantined.id), after=after, limit=query.limit)


def retry(session: Session, principal: Principal, quarantine_id: str) -> Quarantined:
    """Make the next cycle try the mail again, and start that cycle soon.

    Raises:
        ScopeMissing, NotFound
    """
    row = session.get(Quarantined, quarantine_id, with_for_update=True)
    connector_id = row.connector_id if row is not None else None
    connector = rules.require(session, principal, Action.WRITE_CONTENT, connector_id)
    if row is None:
        raise NotFound
    _release(session, [row.id], [connector.id])
    subject = f"quarantine/{row.id}"
    audit.record(session, principal, AuditAction.QUARANTINE_RETRIED, subject, connector_id=connector.id)
    session.refresh(row)
    return row


def retry_matching(session: Session, principal: Principal, body: QuarantineRetry) -> int:
    """Make the next cycles try all mails again that match every filter, if the caller may do this. Returns their number.

    Raises:
        ScopeMissing, NotFound
    """
    visible = rules.visible_connector_ids(principal, Action.WRITE_CONTENT)
    wanted = [
        col(Quarantined.state) == QuarantineState.QUARANTINED,
        col(Quarantined.connector_id).in_(visible),
    ]
    if body.connector_id is not None:
        rules.require(session, principal, Action.WRITE_CONTENT, body.connector_id)
        wanted.append(col(Quarantined.connector_id) == body.connector_id)
    if body.reason is not None:
        wanted.append(col(Quarantined.reason) == body.reason)
    if body.folder is not None:
        wanted.append(col(Quarantined.folder) == body.folder)
    if body.quarantined_before is not None:
        wanted.append(col(Quarantined.updated_at) < body.quarantined_before)
    statement = select(col(Quarantined.id), col(Quarantined.connector_id)).where(*wanted)
    found = session.execute(statement.order_by(col(Quarantined.id)).with_for_update()).all()
    counts = Counter(connector for _, connector in found)
    _release(session, [row_id for row_id, _ in found], list(counts))
    record = audit.Counted(principal, AuditAction.QUARANTINE_RETRIED)
    for connector, count in counts.items():
        record.add(session, f"connectors/{connector}", count, connector_id=connector)
    return len(found)


def _release(session: Session, row_ids: Sequence[str], connector_ids: Sequence[str]) -> None:
    """Make the next cycle treat the mails as new, and start that cycle soon."""
    now = clock.utc_now()
    for start in range(0, len(row_ids), 500):
        session.execute(
            update(Quarantined)
            .where(col(Quarantined.id).in_(row_ids[start : start + 500]))
            .values(state=QuarantineState.SUSPECT, attempts=0, is_unproved=False, updated_at=now),
            execution_options={"synchronize_session": False},
        )
    for start in range(0, len(connector_ids), 500):
        session.execute(
            update(Connector)
            .where(
                col(Connector.id).in_(connector_ids[start : start + 500]),
                col(Connector.status) == ConnectorStatus.ACTIVE,
            )
            .values(next_fetch_at=now)
        )


def _at(source: NumberedFolder) -> tuple[ColumnElement[bool], ...]:
    return (
        col(Quarantined.connector_id) == source.connector_id,
        col(Quarantined.folder) == source.folder,
        col(Quarantined.uidvalidity) == source.uidvalidity,
    )


def _row(session: Session, source: NumberedFolder, uid: int, reason: str) -> Quarantined:
    """The row of a mail, locked. It is created if there is none."""
    statement = select(Quarantined).where(*_at(source), col(Quarantined.uid) == uid)
    row = session.execute(statement.with_for_update()).scalar_one_or_none()
    if row is None:
        row = _suspect(source, uid, reason, clock.utc_now())
        session.add(row)
    return row


def _learn(row: Quarantined, known: Known) -> None:
    row.updated_at = clock.utc_now()
    row.size_octets = known.size_octets if known.size_octets is not None else row.size_octets
    row.from_address = _clean(known.from_address) or row.from_address
    row.subject = _clean(known.subject) or row.subject
    row.internal_date = known.internal_date or row.internal_date


def _suspect(source: NumberedFolder, uid: int, reason: str, now: datetime) -> Quarantined:
    return Quarantined(
        id=new_id(),
        connector_id=source.connector_id,
        folder=source.folder,
        uidvalidity=source.uidvalidity,
        uid=uid,
        state=QuarantineState.SUSPECT,
        reason=reason,
        created_at=now,
        updated_at=now,
    )


def _clean(value: str | None) -> str | None:
    return clean_line(value, HEADER_MAX_CHARS) if value is not None else None
