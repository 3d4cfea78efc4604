"""Moves mails to the processed folder on the server, and proves that they have left the source folder.

A tagged OK proves nothing: servers answer OK for UIDs that do not exist, and Exchange answers NO to a MOVE that took place.
The proof of a move is COPYUID, or a look into the folders. A move without proof stays `pending`. The next cycle begins with
it, and looks for a copy in the processed folder before it repeats anything:

    not in the source                    done: moved if our copy is found, otherwise somebody took the mail away
    in the source, and a copy exists     only removed; if the server has not removed it twice, the connector stops
    in the source, no copy exists        moved again
    in the source, search not complete   left in the source, and the connector reports it
    flagged \\Deleted, no copy exists    another client has deleted it: not touched, done
"""

from collections.abc import Sequence

import structlog

from app import clock
from app.adapters.imap import is_about_rights
from app.errors import (
    CommandRefused,
    CopyNotRemoved,
    LeaseLost,
    MailServerError,
    NoRightToMove,
    ProcessedFolderMissing,
)
from app.models import ServerMessage
from app.services.fetching import ledger
from app.services.fetching.batches import BATCH_MAILS
from app.services.fetching.context import CycleContext
from app.services.fetching.copies import CopyFinder
from app.services.fetching.departures import UNKNOWN_UID, Departed, Done, departure_of
from app.services.fetching.ledger import MoveIntent, Target
from app.services.messages import state
from app.states import MoveState

log = structlog.get_logger(__name__)

MAX_REFUSED = 3
"""If this many mails in a row are refused and none is moved, the mails are not the reason."""
NEAR_UIDS = 1000
WITNESS_OCTETS = 1024

_MISSING = frozenset({"TRYCREATE", "NONEXISTENT"})
_NOT_BY_COPY = frozenset({"NOPERM", "LIMIT", *_MISSING})


class Mover:
    """Moves mails out of the selected folder, within one cycle. `uidnext` is the lowest UID that the server can give to mail
    arriving from now on, as far as known."""

    def __init__(self, context: CycleContext, *, uidnext: int) -> None:
        self._context = context
        self._copies = CopyFinder(context)
        self._refused_moves = 0
        self._uidnext = uidnext
        self.held = 0
        """The number of mails that stay in the source folder until the search for their copies is complete."""

    def intent(self) -> MoveIntent:
        """The values to record before the next move.

        Raises:
            ProcessedFolderMissing
        """
        return MoveIntent(self._target(), self._uidnext)

    def _target(self) -> Target:
        """The processed folder as it is now. Counters that the server does not state are None.

        Raises:
            ProcessedFolderMissing
        """
        try:
            status = self._context.imap.status(self._context.target_folder)
        except CommandRefused as exc:
            if exc.response_code in _MISSING or not self._context.imap.lists(self._context.target_folder):
                raise ProcessedFolderMissing(server_line=exc.server_line, command=exc.command) from exc
            return Target(self._context.target_folder, None, None)
        return Target(self._context.target_folder, status.uidvalidity, status.uidnext)

    def recover(self, rows: Sequence[ServerMessage]) -> None:
        """Settle moves of earlier cycles whose end is unknown. If the search for its copy is not complete, a mail stays in the
        source folder and counts in `held`.

        Raises:
            CopyNotRemoved
            LeaseLost, MailServerError: as in `move`.
        """
        if not rows:
            return
        uids = [row.uid for row in rows]
        present = self._context.imap.search_present(uids)
        flagged = self._context.imap.search_flagged_deleted(present)
        absent = [row for row in rows if row.uid not in present]
        here = [row for row in rows if row.uid in present]
        looked = self._copies.look(rows)
        done = Done([departure_of(row, looked.found) for row in absent])
        done.departed += [
            Departed(row, MoveState.GONE)
            for row in here
            if row.uid in flagged and row.id not in looked.found and row.id not in looked.open
        ]
        self._take_out_copied([row for row in here if row.id in looked.found], looked.found, done)
        self._record(done.departed)
        self._report_doubled(done)
        self.held += sum(1 for row in here if row.id in looked.open)
        rest = [row for row in here if row.uid not in flagged and row.id not in looked.found]
        self._move_again([row for row in rest if row.id not in looked.open])

    def settle_absent(self, rows: Sequence[ServerMessage]) -> None:
        """Settle moves of mails that are certainly no longer in the source folder.

        Raises:
            MailServerError
        """
        found = self._copies.look(rows).found
        self._record([departure_of(row, found) for row in rows])

    def move(self, rows: Sequence[ServerMessage]) -> None:
        """Move mails whose intent is committed, and record the proved moves.

        Raises:
            LeaseLost: no command was sent.
            ProcessedFolderMissing, OverQuota, NoRightToMove, CommandRefused: none could be moved.
            CopyNotRemoved: the server has copied mails and not removed them.
            MailServerError: the outcome is unknown; the next cycle looks.
        """
        if not rows:
            return
        self._context.lease.require()
        done = Done()
        refusal: CommandRefused | None = None
        try:
            self._transfer(rows, done)
        except CommandRefused as exc:
            if exc.response_code in _MISSING:
                raise ProcessedFolderMissing(server_line=exc.server_line, command=exc.command) from exc
            refusal = exc
            self._after_refusal(rows, exc, done)
        gone = {each.row.id for each in done.departed}
        self._record(done.departed)
        self._report_if_late(len(done.departed))
        self._report_doubled(done)
        if refusal is not None and not done.departed:
            raise _told(refusal)
        if len(gone) < len(rows):
            log.warning(
                "moves_failed", connector_id=self._context.source.connector_id, count=len(rows) - len(gone)
            )

    def _report_if_late(self, moved: int) -> None:
        """Log if the lease was lost during a command: another instance may have sent one at the same time."""
        try:
            self._context.lease.require()
        except LeaseLost:
            log.warning("lease_lost_during_move", connector_id=self._context.source.connector_id, moved=moved)
            raise

    def _report_doubled(self, done: Done) -> None:
        """Record the copy of a mail that has not left the source, so that the mail is not copied again.

        Raises:
            CopyNotRemoved
        """
        if not done.doubled:
            return
        with self._context.gateway.db.unit_of_work() as session:
            rows = ledger.rows_of(session, list(done.doubled))
            is_second_time = any(row.target_uid is not None for row in rows)
            for row in rows:
                row.target_uid = done.doubled[row.id]
        log.warning("copies_not_removed", connector_id=self._context.source.connector_id, count=len(rows))
        error = CopyNotRemoved(command="MOVE" if self._context.imap.can_move else "EXPUNGE")
        error.is_second_time = is_second_time
        raise error

    def _transfer(self, rows: Sequence[ServerMessage], done: Done) -> None:
        if self._context.imap.can_move:
            self._by_move(rows, done)
        else:
            self._by_copy(rows, done)

    def _by_move(self, rows: Sequence[ServerMessage], done: Done) -> None:
        proved = self._context.imap.move([row.uid for row in rows], self._context.target_folder)
        named = [row for row in rows if row.uid in proved]
        # A server that implements MOVE as COPY and EXPUNGE may have done only the first: it reports each EXPUNGE.
        doubtful = [row for row in rows if row.uid not in proved or self._context.imap.expunged < len(named)]
        still = self._context.imap.search_present(row.uid for row in doubtful)
        done.departed += [
            Departed(row, MoveState.MOVED, proved[row.uid]) for row in named if row.uid not in still
        ]
        self._settle_vanished([row for row in rows if row.uid not in proved and row.uid not in still], done)
        copied = [row for row in named if row.uid in still]
        self._take_out_copied(copied, {row.id: proved[row.uid] for row in copied}, done)

    def _settle_vanished(self, rows: Sequence[ServerMessage], done: Done) -> None:
        """Settle mails that have left the folder and that COPYUID does not name. With UIDPLUS, another client has taken them,
        unless the server does not name the mails that it moves. Without UIDPLUS, we have moved them."""
        found = self._copies.look(rows).found if rows and self._context.imap.can_expunge_uids else {}
        state = MoveState.GONE if self._context.imap.can_expunge_uids else MoveState.MOVED
        done.departed += [
            Departed(r, MoveState.MOVED, found[r.id]) if r.id in found else Departed(r, state) for r in rows
        ]

    def _by_copy(self, rows: Sequence[ServerMessage], done: Done) -> None:
        """Use COPY, `\\Deleted`, and UID EXPUNGE of exactly these mails (RFC 4315). Without UIDPLUS they stay, with the flag:
        EXPUNGE and CLOSE would also remove mails that other clients have flagged."""
        before = self._status_messages()
        proved = self._context.imap.copy([row.uid for row in rows], self._context.target_folder)
        if proved:
            copies = {row.id: proved[row.uid] for row in rows if row.uid in proved}
        elif self._has_grown(before, by=len(rows)):
            copies = dict.fromkeys((row.id for row in rows), UNKNOWN_UID)
        else:
            copies = self._copies.look(rows).found
        self._take_out_copied([row for row in rows if row.id in copies], copies, done)
        uncopied = [row for row in rows if row.id not in copies]
        still = self._context.imap.search_present(row.uid for row in uncopied)
        done.departed += [Departed(row, MoveState.GONE) for row in uncopied if row.uid not in still]

    def _status_messages(self) -> int | None:
        try:
            return self._context.imap.status(self._context.target_folder).messages
        except CommandRefused:
            return None

    def _has_grown(self, before: int | None, *, by: int) -> bool:
        """Whether the processed folder is known to hold this many more mails."""
        after = self._status_messages()
        return before is not None and after is not None and after - before >= by

    def _take_out_copied(self, rows: Sequence[ServerMessage], copies: dict[str, int], done: Done) -> None:
        """Remove mails from the source folder whose copies exist. If the server does not remove them, they are doubled, and
        nothing is repeated."""
        if not rows:
            return
        out = {row.id for row in self._taken_out(rows)}
        done.departed += [
            Departed(row, MoveState.MOVED, copies[row.id] or None) for row in rows if row.id in out
        ]
        done.doubled |= {row.id: copies[row.id] for row in rows if row.id not in out}

    def _taken_out(self, rows: Sequence[ServerMessage]) -> list[ServerMessage]:
        uids = [row.uid for row in rows]
        try:
            self._context.imap.flag_deleted(uids)
            if self._context.imap.can_expunge_uids:
                self._context.imap.expunge_uids(uids)
        except CommandRefused as exc:
            log.info(
                "removal_refused", connector_id=self._context.source.connector_id, code=exc.response_code
            )
        still = self._context.imap.search_present(uids)
        if not self._context.imap.can_expunge_uids:
            still -= self._context.imap.search_flagged_deleted(uids)
        return [row for row in rows if row.uid not in still]

    def _after_refusal(self, rows: Sequence[ServerMessage], refusal: CommandRefused, done: Done) -> None:
        """Find out what a refused command has done. Some mails may have been moved, or all (Exchange), or copied and not
        removed. Another client may have taken some (Dovecot then refuses the whole set). One mail must not block the
        others."""
        handled = {each.row.id for each in done.departed} | done.doubled.keys()
        rest = self._untouched([row for row in rows if row.id not in handled], done)
        if done.doubled or refusal.response_code == "NOPERM":
            return
        if refusal.response_code == "LIMIT":
            # The server allows only so many at a time (RFC 9738). If none was moved, try again in another cycle.
            if 0 < len(rest) < len(rows):
                self._go_on(rest, done)
            return
        if (refusal.server_line or "").startswith("BAD") and self._may_copy_instead:
            self._context.imap.give_up_move()
        refused = 0
        for row in rest:
            if refused >= MAX_REFUSED and not done.departed:
                return
            self._context.lease.require()
            refused += not self._alone(row, done)
            if done.doubled:
                return

    def _go_on(self, rows: Sequence[ServerMessage], done: Done) -> None:
        self._context.lease.require()
        try:
            self._transfer(rows, done)
        except CommandRefused as exc:
            self._after_refusal(rows, exc, done)

    @property
    def _may_copy_instead(self) -> bool:
        return self._context.imap.can_move and not self._context.imap.is_gmail

    def _untouched(self, rows: Sequence[ServerMessage], done: Done) -> list[ServerMessage]:
        """The mails that a refused command has neither moved nor copied."""
        still = self._context.imap.search_present(row.uid for row in rows)
        looked = self._copies.look(rows)
        done.departed += [departure_of(row, looked.found) for row in rows if row.uid not in still]
        here = [row for row in rows if row.uid in still]
        self._take_out_copied([row for row in here if row.id in looked.found], looked.found, done)
        return [row for row in here if row.id not in looked.found and row.id not in looked.open]

    def _alone(self, row: ServerMessage, done: Done) -> bool:
        """Move one mail, by COPY if MOVE is refused. Returns whether the server accepted the first command."""
        try:
            self._transfer([row], done)
            return True
        except CommandRefused as exc:
            log.info("move_refused", connector_id=self._context.source.connector_id, code=exc.response_code)
            if not self._may_copy_instead or exc.response_code in _NOT_BY_COPY:
                return False
        if not self._untouched([row], done) or done.doubled:
            return True
        self._refused_moves += 1
        if self._refused_moves >= MAX_REFUSED:
            self._context.imap.give_up_move()
        try:
            self._by_copy([row], done)
        except CommandRefused as exc:
            log.info("copy_refused", connector_id=self._context.source.connector_id, code=exc.response_code)
        return False

    def gives_mail(self) -> bool:
        """Whether the server sends a mail of the processed folder, if there is one."""
        try:
            selected = self._context.imap.examine(self._context.target_folder)
            near_the_end = max(1, (selected.uidnext or 1) - NEAR_UIDS)
            uids = self._context.imap.search_from(near_the_end)[-1:] if selected.exists else []
            mails = self._context.imap.fetch_beginnings(uids, WITNESS_OCTETS)
        except CommandRefused:
            mails = []
        self._copies.select_again()
        return any(mail.raw is not None for mail in mails)

    def _move_again(self, rows: Sequence[ServerMessage]) -> None:
        for start in range(0, len(rows), BATCH_MAILS):
            intent = self.intent()
            with self._context.gateway.db.unit_of_work() as session:
                self._context.lease.confirm(session)
                batch = ledger.rows_of(session, [row.id for row in rows[start : start + BATCH_MAILS]])
                for row in batch:
                    ledger.record_intent(row, intent)
            self.move(batch)

    def _record(self, departed: Sequence[Departed]) -> None:
        if not departed:
            return
        self._uidnext = self._context.imap.next_uid(self._uidnext)
        by_row = {each.row.id: each for each in departed}
        moved = [
            each.row.message_id for each in departed if each.state == MoveState.MOVED and each.row.message_id
        ]
        with self._context.gateway.db.unit_of_work() as session:
            state.mark_moved(session, moved, clock.utc_now())
            for row in ledger.rows_of(session, list(by_row)):
                settled = by_row[row.id]
                self._report_if_doubled(row, settled)
                ledger.settle(
                    session, row, settled.state, uidnext=self._uidnext, target_uid=settled.target_uid
                )
        self._context.tally.moved += sum(1 for each in departed if each.state == MoveState.MOVED)

    def _report_if_doubled(self, row: ServerMessage, settled: Departed) -> None:
        """Log if two instances have moved one mail at the same moment, and each has a COPYUID for it."""
        if settled.target_uid is not None and row.target_uid not in {None, UNKNOWN_UID, settled.target_uid}:
            log.error(
                "moved_twice",
                connector_id=row.connector_id,
                folder=row.target_folder,
                uids=[row.target_uid, settled.target_uid],
            )


def _told(refusal: CommandRefused) -> MailServerError:
    """The error for a refusal to move, as the owner of the mailbox sees it."""
    if not is_about_rights(refusal):
        return refusal
    return NoRightToMove(
        command=refusal.command, server_line=refusal.server_line, response_code=refusal.response_code
    )
