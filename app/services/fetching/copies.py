"""Searches the processed folder for our copies, to find out whether a move with an unknown end took place.

Its bytes identify a copy; its UID is not below the UIDNEXT that the folder had before the move. The amount of downloaded data is
limited: of each mail it is not more than the largest of ours has. Sizes only decide what to look at first. The size that the
server announces for a possible copy is compared with the size that it announced for the mail when it was fetched, if that
one was correct. If it was wrong or is unknown, the bytes of all possible mails decide. If such a mail cannot be looked at
(refused, too much at once), the answer stays open, and the next cycle continues from there. What is not found among them
is looked for among the mails of other sizes, once. Whether those can be looked at does not matter.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.adapters.imap import MailInfo
from app.errors import CommandRefused, FolderMissing
from app.models import ServerMessage
from app.services.fetching import ledger
from app.services.fetching.batches import batches_of
from app.services.fetching.context import CycleContext
from app.services.fetching.ledger import Target

MAX_OCTETS = 32 * 1024 * 1024
"""The largest amount that one search downloads."""
MAX_CANDIDATES = 20_000
MAX_LOOKS = 5
"""After this many searches without an end (perhaps each broke the connection), only every tenth cycle searches."""
RARELY = 10


@dataclass(frozen=True, slots=True)
class Looked:
    """The result of a search."""

    found: dict[str, int]
    """Maps a row to the UID of its copy in the processed folder."""
    open: frozenset[str]
    """Rows for which it is unknown whether a copy exists."""


@dataclass(slots=True)
class _Search:
    """A search in one folder."""

    rows: list[ServerMessage]
    first_uids: dict[str, int]
    """Maps a row to the lowest UID that its copy can have."""
    most_octets: int
    """What is downloaded of a mail at most: one octet more than the largest of ours has, so that a longer one differs."""
    found: dict[str, int] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    first_open_uid: int | None = None
    looked_at: set[int] = field(default_factory=set)
    octets: int = 0

    def possible(self, info: MailInfo) -> list[ServerMessage]:
        """The rows of which this mail may be the copy, whatever its size."""
        return [r for r in self.rows if r.id not in self.found and info.uid >= self.first_uids[r.id]]

    def plausible(self, info: MailInfo) -> list[ServerMessage]:
        """The same, by its size as well."""
        sizes = (None, info.size_octets)
        return [r for r in self.possible(info) if info.size_octets is None or r.announced_octets in sizes]

    def leave_open(self, info: MailInfo) -> None:
        self.open.update(row.id for row in self.plausible(info))
        self.put_off(info)

    def put_off(self, info: MailInfo) -> None:
        self.first_open_uid = min(self.first_open_uid or info.uid, info.uid)

    def match(self, uid: int, raw: bytes) -> None:
        sha256 = hashlib.sha256(raw).hexdigest()
        for row in self.rows:
            if row.sha256 == sha256 and row.id not in self.found and uid >= self.first_uids[row.id]:
                self.found[row.id] = uid
                return


class CopyFinder:
    """Searches for copies, within one cycle. It selects the processed folder, and then the source folder again."""

    def __init__(self, context: CycleContext) -> None:
        self._context = context

    def look(self, rows: Sequence[ServerMessage]) -> Looked:
        """Search for copies of the mails of these rows.

        Raises:
            FolderMissing: the source folder was replaced during the cycle.
            LeaseLost, MailServerError
        """
        by_folder: dict[str, list[ServerMessage]] = {}
        for row in rows:
            if row.target_folder is not None:
                by_folder.setdefault(row.target_folder, []).append(row)
        found: dict[str, int] = {}
        left_open: set[str] = set()
        for folder, of_folder in sorted(by_folder.items()):
            search = self._look_in(folder, of_folder)
            found |= search.found
            left_open |= search.open - search.found.keys()
        if by_folder:
            self.select_again()
        return Looked(found, frozenset(left_open))

    def select_again(self) -> None:
        """Select the source folder.

        Raises:
            FolderMissing: it was replaced during the cycle.
        """
        again = self._context.imap.select(self._context.source.folder)
        if (again.uidvalidity or 0) != self._context.source.uidvalidity:
            raise FolderMissing(
                "The folder to download from was replaced by another folder during the cycle."
            )

    def _look_in(self, folder: str, rows: list[ServerMessage]) -> _Search:
        search = _Search(rows, {}, self._most_octets(rows))
        try:
            selected = self._context.imap.examine(folder)
        except CommandRefused:
            # A folder that does not exist holds no copy. A folder that exists but cannot be opened may hold one.
            search.open = {row.id for row in rows} if self._context.imap.lists(folder) else set()
            return search
        for row in rows:
            # After a folder was numbered anew, earlier UIDs have no meaning.
            is_same = None in {row.target_uidvalidity, selected.uidvalidity} or (
                row.target_uidvalidity == selected.uidvalidity
            )
            search.first_uids[row.id] = (row.target_uidnext or 1) if is_same else 1
        target = Target(folder, selected.uidvalidity, min(search.first_uids.values()))
        candidates = self._candidates(search, target)
        likely = [info for info in candidates if search.plausible(info)]
        # A search that was cut off before looks only at what it must.
        others = [] if any(row.looks for row in rows) else candidates
        if (likely or others) and self._may_look(search):
            self._record_look(search)
            self._compare(search, likely, is_likely=True)
            self._compare(search, others, is_likely=False)
            self._keep_progress(search, target, 1 + max(info.uid for info in candidates))
        return search

    def _most_octets(self, rows: Sequence[ServerMessage]) -> int:
        with self._context.gateway.db.reading() as session:
            received = ledger.received_octets(session, rows)
        largest = self._context.gateway.settings.max_message_octets
        return 1 + max(received.get(row.id, row.announced_octets or largest) for row in rows)

    def _candidates(self, search: _Search, target: Target) -> list[MailInfo]:
        """The mails that may be copies, by UID."""
        ours = {row.id for row in search.rows}
        with self._context.gateway.db.reading() as session:
            taken = ledger.taken_target_uids(
                session, target, self._context.source.connector_id, except_rows=ours
            )
        uids = [uid for uid in self._context.imap.search_from(target.uidnext or 1) if uid not in taken]
        for uid in uids[MAX_CANDIDATES:]:
            search.leave_open(MailInfo(uid, None, None))
        uids = uids[:MAX_CANDIDATES]
        if not uids:
            return []
        try:
            infos = {info.uid: info for info in self._context.imap.fetch_infos(uids)}
        except CommandRefused:
            infos = {}
        every = [infos.get(uid, MailInfo(uid, None, None)) for uid in uids]
        return [info for info in every if search.possible(info)]

    def _may_look(self, search: _Search) -> bool:
        looks = max(row.looks for row in search.rows)
        if looks < MAX_LOOKS or looks % RARELY == 0:
            return True
        self._record_look(search)
        search.open.update(row.id for row in search.rows)
        return False

    def _record_look(self, search: _Search) -> None:
        """Count the search before it begins: a mail that breaks the connection must not do so in every cycle."""
        with self._context.gateway.db.unit_of_work() as session:
            self._context.lease.confirm(session)
            for row in ledger.rows_of(session, [row.id for row in search.rows]):
                row.looks += 1

    def _compare(self, search: _Search, candidates: Sequence[MailInfo], *, is_likely: bool) -> None:
        may_be = search.plausible if is_likely else search.possible
        announced = {info.uid: info for info in candidates}
        # How large they really are is unknown.
        for batch in batches_of([replace(info, size_octets=search.most_octets) for info in candidates]):
            infos = [announced[info.uid] for info in batch if info.uid not in search.looked_at]
            wanted = [info for info in infos if may_be(info)]
            if search.octets >= MAX_OCTETS:
                for info in wanted:
                    (search.leave_open if is_likely else search.put_off)(info)
            elif wanted:
                self._download(search, wanted, is_likely=is_likely)

    def _download(self, search: _Search, batch: Sequence[MailInfo], *, is_likely: bool) -> None:
        try:
            mails = self._context.imap.fetch_beginnings([info.uid for info in batch], search.most_octets)
        except CommandRefused:
            if len(batch) > 1:
                for info in batch:
                    self._download(search, [info], is_likely=is_likely)
            elif is_likely:
                search.leave_open(batch[0])
            return
        for info, mail in zip(batch, mails, strict=True):
            if mail.raw is not None:
                search.looked_at.add(info.uid)
                search.octets += len(mail.raw)
                search.match(mail.uid, mail.raw)
            elif is_likely:
                search.leave_open(info)

    def _keep_progress(self, search: _Search, target: Target, next_uid: int) -> None:
        """Do not look at the same mails again in the next search. A search that reached its end resets the counter. A copy that
        was found must be found again while its mail is in the source folder."""
        reached = search.first_open_uid or next_uid
        with self._context.gateway.db.unit_of_work() as session:
            self._context.lease.confirm(session)
            for row in ledger.rows_of(session, [row.id for row in search.rows]):
                if row.id not in search.open:
                    row.looks = 0
                if row.id not in search.found and target.uidvalidity is not None:
                    row.target_uidvalidity = target.uidvalidity
                    row.target_uidnext = max(reached, search.first_uids[row.id])
