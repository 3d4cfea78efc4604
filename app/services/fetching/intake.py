"""Takes mails in: fetches bounded batches, stores them, moves them. While a thread parses and commits one batch, the next
one is being downloaded.

A mail that cannot be taken in must not block the others. A failure of a single mail counts in the quarantine's list of
suspects. A failure of a batch makes all its mails suspects. Suspects are tried last, one by one.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from app.adapters.imap import MailInfo
from app.errors import CommandRefused, ConnectionLost, MailServerTimeout
from app.services.fetching.batches import batches_of
from app.services.fetching.context import CycleContext
from app.services.fetching.downloads import Downloads
from app.services.fetching.moving import Mover
from app.services.fetching.quarantine import Known
from app.services.fetching.storing import Store, Stored
from app.services.mailboxes.room import Room

WINDOW_MAILS = 1000
"""The number of mails whose sizes are requested at a time."""
HEADER_OCTETS = 64 * 1024


class Intake:
    """Takes in mails of the selected folder, within one cycle."""

    def __init__(self, context: CycleContext, store: Store, mover: Mover, room: Room) -> None:
        self._context = context
        self._room = room
        self._store = store
        self._mover = mover
        self._downloads = Downloads(context, store, mover)

    def take_in(self, uids: Sequence[int], suspects: Sequence[int], cut_over: Sequence[int]) -> None:
        """Store and move these mails: the suspects after all others, each alone, and at the end those at which the connection
        broke.

        Raises:
            LeaseLost, SettingsChanged, MailServerError, StoreUnavailable: mails that were committed before stay. The next
                cycle moves them if this one did not.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="store") as thread:
            under_way: Future[Stored] | None = None
            try:
                for batch in self._batches(uids, suspects, cut_over):
                    self._room.require(sum(info.size_octets or 0 for info in batch))
                    mails = self._downloads.mails(batch)
                    if not mails:
                        continue
                    self._room.take(sum(len(mail.raw or b"") for mail in mails))
                    if not self._context.imap.can_expunge_uids:
                        # No COPYUID will distinguish our copies, so settle each batch before the next one begins.
                        earlier, under_way = under_way, None
                        self._finish(earlier)
                    intent = self._mover.intent()
                    sizes = {info.uid: info.size_octets for info in batch}
                    earlier, under_way = (
                        under_way,
                        thread.submit(self._store.take, mails, sizes, intent),
                    )
                    self._finish(earlier)
                    if self._context.stopping():
                        self._context.tally.has_more = True
                        break
                earlier, under_way = under_way, None
                self._finish(earlier)
                self._downloads.finish()
            except Exception:
                # The batch that is being committed is still stored, and the next cycle moves it.
                if under_way is not None and under_way.exception() is None:
                    self._count(under_way.result())
                raise

    def _finish(self, under_way: Future[Stored] | None) -> None:
        if under_way is None:
            return
        stored = under_way.result()
        self._count(stored)
        self._mover.move(stored.rows)

    def _count(self, stored: Stored) -> None:
        self._context.tally.stored += stored.stored
        self._context.tally.known += stored.known
        self._context.tally.returned += stored.returned
        self._context.tally.quarantined += stored.quarantined
        self._context.tally.defects.update(stored.defects)

    def _batches(
        self, uids: Sequence[int], suspects: Sequence[int], cut_over: Sequence[int]
    ) -> Iterator[list[MailInfo]]:
        for start in range(0, len(uids), WINDOW_MAILS):
            yield from batches_of(self._takeable(uids[start : start + WINDOW_MAILS]))
        rest = list(suspects)
        while rest:
            yield from ([info] for info in self._takeable([rest.pop(self._downloads.next_index)]))
        for uid in self._downloads.left_out(cut_over):
            yield from ([info] for info in self._takeable([uid]))

    def _takeable(self, uids: Sequence[int]) -> list[MailInfo]:
        """The mails to fetch. Mails that are too large are quarantined without a download. A size that is announced wrongly does
        not count."""
        infos = self._downloads.sizes(uids)
        limit = self._context.gateway.settings.max_message_octets
        takeable = []
        for info in infos:
            if info.size_octets is None or info.size_octets <= limit:
                takeable.append(info)
            elif self._is_too_large(info, limit):
                self._quarantine_unseen(info)
            else:
                takeable.append(replace(info, size_octets=None))
        return takeable

    def _is_too_large(self, info: MailInfo, limit: int) -> bool:
        """Whether a mail that is announced as too large is so, as far as the server shows."""
        try:
            return self._context.imap.is_longer(info.uid, limit) is not False
        except CommandRefused:
            return True
        except (ConnectionLost, MailServerTimeout):
            # It sends the whole mail, or breaks at it. Do not ask again.
            known = Known(size_octets=info.size_octets, internal_date=info.internal_date)
            self._record_failure(info.uid, "too_large", at_once=True, known=known)
            raise

    def _quarantine_unseen(self, info: MailInfo) -> None:
        try:
            octets = self._context.imap.fetch_header(info.uid, HEADER_OCTETS)
        except CommandRefused:
            octets = b""
        header = self._context.gateway.parsers.parse(octets)
        known = Known(
            size_octets=info.size_octets,
            from_address=header.from_.address if header.from_ else None,
            subject=header.subject,
            internal_date=info.internal_date,
        )
        self._record_failure(info.uid, "too_large", at_once=True, known=known)

    def _record_failure(self, uid: int, reason: str, *, at_once: bool = False, known: Known) -> None:
        if self._store.record_failure(uid, reason, at_once=at_once, known=known):
            self._context.tally.quarantined += 1
