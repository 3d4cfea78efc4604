"""Stores fetched mails. One commit holds the bytes as received, the parsed form (or the defect that says why there is
none), the event and the intent to move. Nothing is moved before this commit.

The same commit decides what a mail is: new, one that somebody has put back, or one that is known from an earlier numbering
of the folder. It also makes sure that this instance still holds the lease, and that the connector has not changed since
the cycle began.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from app import clock
from app.adapters import compression
from app.adapters.imap import FetchedMail
from app.errors import SettingsChanged, ValueRefused
from app.events import EventType, NewEvent, message_event
from app.ids import new_id
from app.mime.minimal import parse_minimal
from app.mime.model import Defect, DefectCode, ParsedMail
from app.models import Connector, Message, ServerMessage
from app.services.events import outbox
from app.services.events.recipients import notifies_users, recipients_of
from app.services.fetching import ledger, quarantine
from app.services.fetching.context import CycleContext
from app.services.fetching.ledger import MoveIntent
from app.services.fetching.quarantine import Known
from app.services.messages import arrivals, state
from app.services.sending import bounces

log = structlog.get_logger(__name__)

NOT_STORABLE = (ValueRefused, IntegrityError, ValueError)
"""The database works, but does not accept a value of the mail. If the database does not work, that is
`StoreUnavailable`. Any other error is a mistake of ours, and no mail is at fault."""


@dataclass(frozen=True, slots=True)
class _Mail:
    """A mail that is about to be stored."""

    uid: int
    size_octets: int
    sha256: str
    announced_octets: int | None
    fetched: FetchedMail
    parsed: ParsedMail
    source_zstd: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of a commit. `rows` must be moved now."""

    rows: list[ServerMessage]
    stored: int = 0
    known: int = 0
    returned: int = 0
    quarantined: int = 0
    defects: Counter[str] = field(default_factory=Counter)
    """The number of new mails with each defect, by its code."""


class Store:
    """Stores mails of one folder, within one cycle."""

    def __init__(self, context: CycleContext, *, has_displaced: bool, unparsed: frozenset[int]) -> None:
        self._context = context
        self._has_displaced = has_displaced
        self._unparsed = unparsed

    def take(
        self, fetched: Sequence[FetchedMail], sizes: Mapping[int, int | None], intent: MoveIntent
    ) -> Stored:
        """Store mails that will be moved as intended. `sizes` holds the announced sizes by UID.

        Raises:
            LeaseLost, SettingsChanged, ParserUnavailable, StoreUnavailable: nothing was stored.
        """
        # Recorded before the attempt: if the process dies over one of them, the next cycle knows.
        self._context.lease.take_in_hand(self._context.source.uidvalidity, [mail.uid for mail in fetched])
        mails = [self._read(mail, sizes.get(mail.uid)) for mail in fetched]
        try:
            return self._commit(mails, intent)
        except NOT_STORABLE as exc:
            # The database works, but does not accept one of these mails.
            log.warning("batch_not_stored", connector_id=self._context.connector.id, error=type(exc).__name__)
            return _sum([self._take_alone(mail, intent) for mail in mails])

    def record_failure(self, uid: int, reason: str, *, at_once: bool = False, known: Known) -> bool:
        """Record that a mail could not be taken in. Returns whether it is now quarantined."""
        with self._context.gateway.db.unit_of_work() as session:
            event = quarantine.record_failure(
                session, self._context.source, uid, reason=reason, at_once=at_once, known=known
            )
            if event is not None:
                outbox.append(session, [event])
        if event is not None:
            log.warning("mail_quarantined", connector_id=self._context.connector.id, uid=uid, reason=reason)
        return event is not None

    def record_cut(self, uid: int, reason: str, *, known: Known) -> None:
        """Record that the connection broke while only this mail was requested. The next cycle finds out whether the mail is at
        fault."""
        with self._context.gateway.db.unit_of_work() as session:
            quarantine.record_cut(session, self._context.source, uid, reason=reason, known=known)

    def prove(self, uid: int) -> bool:
        """Other mails have come since the connection broke at this one. Returns whether it is now quarantined."""
        with self._context.gateway.db.unit_of_work() as session:
            event = quarantine.prove(session, self._context.source, uid)
            if event is not None:
                outbox.append(session, [event])
        return event is not None

    def are_long_suspect(self, uids: Sequence[int]) -> bool:
        """Whether all of these mails have been suspect for an hour."""
        with self._context.gateway.db.reading() as session:
            return quarantine.are_long_suspect(session, self._context.source, uids)

    def suspect(self, uids: Sequence[int], reason: str) -> None:
        """One of these mails may be at fault, so the next cycle tries them one by one."""
        with self._context.gateway.db.unit_of_work() as session:
            quarantine.suspect(session, self._context.source, uids, reason=reason)

    def _read(self, mail: FetchedMail, announced_octets: int | None) -> _Mail:
        assert mail.raw is not None
        if mail.uid in self._unparsed:
            parsed = parse_minimal(b"", DefectCode.PARSER_DIED, "the gateway itself died over this mail")
        else:
            parsed = self._context.gateway.parsers.parse(mail.raw)
        if mail.has_date_defect:
            defect = Defect(
                DefectCode.BAD_INTERNAL_DATE, "the mail server's date of arrival is not a valid date"
            )
            parsed = replace(parsed, defects=(*parsed.defects, defect))
        return _Mail(
            uid=mail.uid,
            size_octets=len(mail.raw),
            announced_octets=announced_octets if announced_octets == len(mail.raw) else None,
            sha256=hashlib.sha256(mail.raw).hexdigest(),
            fetched=mail,
            parsed=parsed,
            source_zstd=compression.compress(mail.raw),
        )

    def _take_alone(self, mail: _Mail, intent: MoveIntent) -> Stored:
        try:
            return self._commit([mail], intent)
        except NOT_STORABLE:
            known = Known(size_octets=mail.size_octets, internal_date=mail.fetched.internal_date)
            is_quarantined = self.record_failure(mail.uid, "store_failed", known=known)
            return Stored([], quarantined=int(is_quarantined))

    def _commit(self, mails: Sequence[_Mail], intent: MoveIntent) -> Stored:
        if not mails:
            return Stored(rows=[])
        with self._context.gateway.db.unit_of_work() as session:
            # Locks in this order: lease, connector, messages, ledger, submissions, feed.
            self._context.lease.confirm(session)
            self._require_same_settings(session)
            known_ids = self._found_again(session, mails)
            rest = [mail for mail in mails if mail.uid not in known_ids]
            returned = self._come_back(session, rest)
            known = {row.id: row for row in ledger.rows_of(session, list(known_ids.values()))}
            new = [mail for mail in rest if mail.uid not in returned]
            rows = self._add(session, new, returned, intent)
            for uid, row_id in known_ids.items():
                row = known[row_id]
                ledger.replace_at(row, self._context.source, uid)
                ledger.record_intent(row, intent)
                rows.append(row)
            quarantine.forget(session, self._context.source, [mail.uid for mail in mails])
            session.flush()
        defects = Counter(str(defect.code) for mail in new for defect in mail.parsed.defects)
        self._context.gateway.metrics.count_mails(len(new), defects)
        return Stored(rows, stored=len(new), known=len(known_ids), returned=len(returned), defects=defects)

    def _require_same_settings(self, session: Session) -> None:
        connector = session.get(
            Connector, self._context.connector.id, with_for_update={"read": True}, populate_existing=True
        )
        if connector is None or connector.updated_at != self._context.connector.updated_at:
            raise SettingsChanged

    def _found_again(self, session: Session, mails: Sequence[_Mail]) -> dict[int, str]:
        """Finds, by their bytes, mails that were taken in before the numbering of the folder changed. Maps the UID to the row in
        the ledger, one row for one mail."""
        if not self._has_displaced:
            return {}
        by_bytes = ledger.displaced(session, self._context.connector.id, self._context.source.folder)
        return {mail.uid: by_bytes[mail.sha256].pop(0) for mail in mails if by_bytes.get(mail.sha256)}

    def _come_back(
        self, session: Session, mails: Sequence[_Mail]
    ) -> dict[int, tuple[ServerMessage, Message]]:
        """The mails that had been moved away and that somebody has put back, with their messages."""
        row_ids = ledger.returned(session, self._context.source, [(mail.uid, mail.sha256) for mail in mails])
        if not row_ids:
            return {}
        rows = {row.id: row for row in ledger.peek(session, list(row_ids.values()))}
        message_ids = [row.message_id for row in rows.values() if row.message_id is not None]
        locked = {message.id: message for message in state.lock(session, message_ids)}
        rows = {row.id: row for row in ledger.rows_of(session, list(rows))}
        return {
            uid: (rows[row_id], locked[message_id])
            for uid, row_id in row_ids.items()
            if row_id in rows and (message_id := rows[row_id].message_id) is not None and message_id in locked
        }

    def _add(
        self,
        session: Session,
        new: Sequence[_Mail],
        returned: dict[int, tuple[ServerMessage, Message]],
        intent: MoveIntent,
    ) -> list[ServerMessage]:
        ids = {mail.uid: new_id() for mail in new}
        subjects = [(EventType.MESSAGE_STORED, ids[mail.uid]) for mail in new]
        subjects += [(EventType.MESSAGE_RETURNED, message.id) for _row, message in returned.values()]
        bounced = self._bounced(session, [(ids[mail.uid], mail) for mail in new])
        positions = outbox.append(session, [*self._events(session, subjects), *bounced])
        positions = positions[: len(subjects)]
        now = clock.utc_now()
        arrivals.add_all(
            session,
            connector=self._context.connector,
            incoming=[
                arrivals.Incoming(
                    id=ids[mail.uid],
                    parsed=mail.parsed,
                    source_zstd=mail.source_zstd,
                    sha256=mail.sha256,
                    size_octets=mail.size_octets,
                    folder=self._context.source.folder,
                    uid=mail.uid,
                    uidvalidity=self._context.source.uidvalidity,
                    internal_date=mail.fetched.internal_date,
                    position=position,
                    stored_at=now,
                )
                for mail, position in zip(new, positions[: len(new)], strict=True)
            ],
        )
        rows = [
            ledger.add(
                session,
                self._context.source,
                uid=mail.uid,
                message_id=ids[mail.uid],
                sha256=mail.sha256,
                announced_octets=mail.announced_octets,
                intent=intent,
            )
            for mail in new
        ]
        for (uid, (row, message)), position in zip(returned.items(), positions[len(new) :], strict=True):
            ledger.replace_at(row, self._context.source, uid)
            ledger.record_intent(row, intent)
            state.mark_returned(
                session,
                message,
                folder=self._context.source.folder,
                uid=uid,
                uidvalidity=self._context.source.uidvalidity,
                position=position,
            )
            rows.append(row)
        return rows

    def _bounced(self, session: Session, new: Sequence[tuple[str, _Mail]]) -> list[NewEvent]:
        reports = [
            bounces.Report(message_id, mail.parsed.report)
            for message_id, mail in new
            if mail.parsed.report is not None
        ]
        return bounces.record(session, self._context.connector, reports) if reports else []

    def _events(self, session: Session, subjects: Sequence[tuple[EventType, str]]) -> list[NewEvent]:
        recipients = recipients_of(session, self._context.connector)
        return [
            message_event(
                event_type,
                connector_id=self._context.connector.id,
                message_id=message_id,
                notify=notifies_users(self._context.connector),
                recipients=recipients,
            )
            for event_type, message_id in subjects
        ]


def _sum(each: Sequence[Stored]) -> Stored:
    return Stored(
        rows=[row for one in each for row in one.rows],
        stored=sum(one.stored for one in each),
        known=sum(one.known for one in each),
        returned=sum(one.returned for one in each),
        quarantined=sum(one.quarantined for one in each),
        defects=sum((one.defects for one in each), Counter()),
    )
