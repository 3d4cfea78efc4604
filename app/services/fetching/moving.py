"""Moving mails to the processed folder on the server, and proving that they have gone.

A tagged OK proves nothing: servers answer OK for UIDs that do not exist, and Exchange answers NO to a MOVE that
happened. A move is proved by COPYUID, or by looking. What cannot be proved stays `pending` and comes first in the
next cycle:

    in the source, not flagged         move it again; where the server has no MOVE, look for an earlier copy first
    in the source, flagged \\Deleted    without UIDPLUS, with a copy of ours in the processed folder: done.
                                       Else another client has deleted it: left alone, done
    not in the source                  done: moved if our copy is found, else somebody took it away

An earlier copy is found by its bytes, above the UIDNEXT that the processed folder had before the move.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from app import clock
from app.adapters.imap import ImapSession, MailInfo
from app.errors import CommandRefused, FolderMissing, LeaseLost, ProcessedFolderMissing
from app.gateway import Gateway
from app.models import ServerMessage
from app.services.fetching import ledger
from app.services.fetching.leases import HeldLease
from app.services.fetching.ledger import GONE, MOVED, NumberedFolder, Target
from app.services.fetching.tally import Tally
from app.services.messages import state

log = structlog.get_logger(__name__)

BATCH_MAILS = 50
BATCH_OCTETS = 8 * 1024 * 1024

_MISSING = frozenset({"TRYCREATE", "NONEXISTENT"})


@dataclass(frozen=True, slots=True)
class _Departed:
    """A mail that has left the source folder."""

    row: ServerMessage
    state: str
    target_uid: int | None = None


class Mover:
    """Moves mails out of the selected folder, within one cycle. `uidnext`: the lowest UID the server can give to mail
    arriving in it from now on, as far as is known."""

    def __init__(
        self,
        gateway: Gateway,
        imap: ImapSession,
        lease: HeldLease,
        *,
        source: NumberedFolder,
        target_folder: str,
        uidnext: int,
        tally: Tally,
    ) -> None:
        self._gateway = gateway
        self._imap = imap
        self._lease = lease
        self._source = source
        self._target_folder = target_folder
        self._tally = tally
        self.uidnext = uidnext

    def target(self) -> Target:
        """The processed folder as it is now.

        Raises:
            ProcessedFolderMissing
        """
        try:
            status = self._imap.status(self._target_folder)
        except CommandRefused as exc:
            raise ProcessedFolderMissing(server_line=exc.server_line, command=exc.command) from exc
        return Target(self._target_folder, status.uidvalidity, status.uidnext)

    def recover(self, rows: Sequence[ServerMessage]) -> None:
        """Settle moves of earlier cycles whose end is not known.

        Raises:
            LeaseLost, MailServerError: as `move`.
        """
        if not rows:
            return
        uids = [row.uid for row in rows]
        present = self._imap.search_present(uids)
        flagged = self._imap.search_flagged_deleted(present)
        absent = [row for row in rows if row.uid not in present]
        here = [row for row in rows if row.uid in present]
        copies = self._find_copies(absent if self._imap.can_move else rows)
        departed = [_departed(row, copies) for row in absent]
        departed += [_departed(row, copies) for row in here if row.uid in flagged and row.id not in copies]
        copied = [row for row in here if row.id in copies]
        if copied:
            departed += [_Departed(row, MOVED, copies[row.id]) for row in self._take_out(copied)]
        self._note(departed, failed=[])
        self._move_again([row for row in here if row.uid not in flagged and row.id not in copies])

    def settle_absent(self, rows: Sequence[ServerMessage]) -> None:
        """Settle moves of mails that are known not to be in the source folder any more.

        Raises:
            MailServerError
        """
        copies = self._find_copies(rows)
        self._note([_departed(row, copies) for row in rows], failed=[])

    def move(self, rows: Sequence[ServerMessage]) -> None:
        """Move mails whose intent is committed, and note what is proved.

        Raises:
            LeaseLost: nothing was sent.
            ProcessedFolderMissing, OverQuota, CommandRefused: none could be moved.
            MailServerError: the outcome is not known; the next cycle looks.
        """
        if not rows:
            return
        self._lease.require()
        refusal: CommandRefused | None = None
        try:
            departed = self._by_move(rows) if self._imap.can_move else self._by_copy(rows)
        except CommandRefused as exc:
            if exc.response_code in _MISSING:
                raise ProcessedFolderMissing(server_line=exc.server_line, command=exc.command) from exc
            refusal = exc
            departed = self._one_by_one(rows)
        gone = {each.row.id for each in departed}
        failed = [row for row in rows if row.id not in gone]
        self._note(departed, failed)
        self._report_if_late(len(departed))
        if refusal is not None and not departed:
            raise refusal
        if failed:
            log.warning("moves_failed", connector_id=self._source.connector_id, count=len(failed))

    def _report_if_late(self, moved: int) -> None:
        """A command that was on its way when the lease was lost may have met another instance's: it is said."""
        try:
            self._lease.require()
        except LeaseLost:
            log.warning("lease_lost_during_move", connector_id=self._source.connector_id, moved=moved)
            raise

    def _by_move(self, rows: Sequence[ServerMessage]) -> list[_Departed]:
        proved = self._imap.move([row.uid for row in rows], self._target_folder)
        departed = [_Departed(row, MOVED, proved[row.uid]) for row in rows if row.uid in proved]
        unproved = [row for row in rows if row.uid not in proved]
        still = self._imap.search_present(row.uid for row in unproved)
        # With UIDPLUS a mail that COPYUID does not name was not moved by us: another client has taken it.
        state = GONE if self._imap.can_expunge_uids else MOVED
        return departed + [_Departed(row, state) for row in unproved if row.uid not in still]

    def _by_copy(self, rows: Sequence[ServerMessage]) -> list[_Departed]:
        """COPY, `\\Deleted`, and UID EXPUNGE of exactly these (RFC 4315). Without UIDPLUS they stay, flagged:
        EXPUNGE and CLOSE would take what other clients have flagged."""
        uids = [row.uid for row in rows]
        before = self._imap.status(self._target_folder).messages
        proved = self._imap.copy(uids, self._target_folder)
        if not proved and self._has_grown(before, by=len(rows)):
            copied = list(rows)
        elif proved:
            copied = [row for row in rows if row.uid in proved]
        else:
            copies = self._find_copies(rows)
            copied = [row for row in rows if row.id in copies]
        departed = [_Departed(row, MOVED, proved.get(row.uid)) for row in self._take_out(copied)]
        copied_ids = {row.id for row in copied}
        uncopied = [row for row in rows if row.id not in copied_ids]
        still = self._imap.search_present(row.uid for row in uncopied)
        return departed + [_Departed(row, GONE) for row in uncopied if row.uid not in still]

    def _take_out(self, rows: Sequence[ServerMessage]) -> list[ServerMessage]:
        """Take mails out of the source folder that have been copied; those that are out of it then."""
        uids = [row.uid for row in rows]
        if not uids:
            return []
        self._imap.flag_deleted(uids)
        if self._imap.can_expunge_uids:
            self._imap.expunge_uids(uids)
            still = self._imap.search_present(uids)
            return [row for row in rows if row.uid not in still]
        still = self._imap.search_present(uids) - self._imap.search_flagged_deleted(uids)
        return [row for row in rows if row.uid not in still]

    def _has_grown(self, before: int | None, *, by: int) -> bool:
        """Whether the processed folder is known to hold so many mails more."""
        after = self._imap.status(self._target_folder).messages
        return before is not None and after is not None and after - before >= by

    def _one_by_one(self, rows: Sequence[ServerMessage]) -> list[_Departed]:
        """After a refusal: a part may have been moved, or all of it (Exchange), or another client has taken some
        (Dovecot then refuses the whole set); and one mail must not keep the others."""
        still = self._imap.search_present(row.uid for row in rows)
        vanished = [row for row in rows if row.uid not in still]
        copies = self._find_copies(vanished)
        departed = [_departed(row, copies) for row in vanished]
        remaining = [row for row in rows if row.uid in still]
        if len(rows) == 1:
            return departed
        for row in remaining:
            self._lease.require()
            try:
                departed += self._by_move([row]) if self._imap.can_move else self._by_copy([row])
            except CommandRefused as exc:
                log.info("move_refused", connector_id=self._source.connector_id, code=exc.response_code)
        return departed

    def _move_again(self, rows: Sequence[ServerMessage]) -> None:
        for start in range(0, len(rows), BATCH_MAILS):
            target = self.target()
            with self._gateway.db.unit_of_work() as session:
                self._lease.confirm(session)
                batch = ledger.rows_of(session, [row.id for row in rows[start : start + BATCH_MAILS]])
                for row in batch:
                    ledger.note_intent(row, uidnext=self.uidnext, target=target)
            self.move(batch)

    def _note(self, departed: Sequence[_Departed], failed: Sequence[ServerMessage]) -> None:
        if not departed and not failed:
            return
        self.uidnext = self._imap.next_uid(self.uidnext)
        by_row = {each.row.id: each for each in departed}
        moved = [each.row.message_id for each in departed if each.state == MOVED and each.row.message_id]
        with self._gateway.db.unit_of_work() as session:
            state.mark_moved(session, moved, clock.utc_now())
            for row in ledger.rows_of(session, [*by_row, *(row.id for row in failed)]):
                if row.id in by_row:
                    settled = by_row[row.id]
                    self._report_if_doubled(row, settled)
                    ledger.settle(
                        session, row, settled.state, uidnext=self.uidnext, target_uid=settled.target_uid
                    )
                else:
                    row.move_attempts += 1
        self._tally.moved += sum(1 for each in departed if each.state == MOVED)

    def _report_if_doubled(self, row: ServerMessage, settled: _Departed) -> None:
        """Two instances have moved one mail at the same moment, and each has a COPYUID for it."""
        if settled.target_uid is not None and row.target_uid not in {None, settled.target_uid}:
            log.error(
                "moved_twice",
                connector_id=row.connector_id,
                folder=row.target_folder,
                uids=[row.target_uid, settled.target_uid],
            )

    def _find_copies(self, rows: Sequence[ServerMessage]) -> dict[str, int]:
        """Copies of ours that lie in the processed folder already: row to UID there. Selects that folder and then
        the source folder again."""
        targets = {
            Target(row.target_folder, row.target_uidvalidity, row.target_uidnext)
            for row in rows
            if row.target_folder is not None and row.target_uidnext is not None
        }
        found: dict[str, int] = {}
        for target in sorted(targets, key=lambda each: (each.folder, each.uidnext or 0)):
            wanted: dict[str, list[str]] = {}
            for row in rows:
                if Target(row.target_folder or "", row.target_uidvalidity, row.target_uidnext) == target:
                    wanted.setdefault(row.sha256, []).append(row.id)
            found.update(self._copies_in(target, wanted, set(found.values())))
        if targets:
            again = self._imap.select(self._source.folder)
            if (again.uidvalidity or 0) != self._source.uidvalidity:
                raise FolderMissing("The folder to download from was replaced by another in mid-cycle.")
        return found

    def _copies_in(self, target: Target, wanted: dict[str, list[str]], taken: set[int]) -> dict[str, int]:
        try:
            selected = self._imap.examine(target.folder)
        except CommandRefused:
            return {}
        if selected.uidvalidity != target.uidvalidity:
            return {}
        with self._gateway.db.reading() as session:
            taken = taken | ledger.taken_target_uids(session, target, self._source.connector_id)
        uids = [uid for uid in self._imap.search_from(target.uidnext or 1) if uid not in taken]
        found: dict[str, int] = {}
        for batch in batches_of(self._imap.fetch_infos(uids)):
            for mail in self._imap.fetch_mails([info.uid for info in batch]):
                row_ids = wanted.get(hashlib.sha256(mail.raw).hexdigest()) if mail.raw is not None else None
                if row_ids:
                    found[row_ids.pop(0)] = mail.uid
        return found


def _departed(row: ServerMessage, copies: dict[str, int]) -> _Departed:
    return _Departed(row, MOVED, copies[row.id]) if row.id in copies else _Departed(row, GONE)


def batches_of(infos: Sequence[MailInfo]) -> Iterator[list[MailInfo]]:
    """Mails in batches of up to 50 or 8 MB, by what the server says of their sizes; a larger one alone."""
    batch: list[MailInfo] = []
    octets = 0
    for info in infos:
        if batch and (len(batch) == BATCH_MAILS or octets + info.size_octets > BATCH_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append(info)
        octets += info.size_octets
    if batch:
        yield batch
