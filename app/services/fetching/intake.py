"""Taking mails in: fetched in bounded batches, stored, moved. While one batch is parsed and committed in a thread
of its own, the next is on the wire.

A mail that cannot be taken in must not keep the others: what fails alone is counted in the quarantine's list of
suspects, what fails in a batch makes the batch's mails suspects, and suspects are tried last, one by one.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from app.adapters.imap import FetchedMail, ImapSession, MailInfo
from app.adapters.parser import ParserPool
from app.errors import CommandRefused, ConnectionLost, MailServerTimeout
from app.services.fetching.moving import Mover, batches_of
from app.services.fetching.quarantine import Known
from app.services.fetching.storing import Store, Stored
from app.services.fetching.tally import Tally

WINDOW_MAILS = 1000
"""Sizes are asked for this many mails at a time."""
HEADER_OCTETS = 64 * 1024


class Intake:
    """Takes mails of the selected folder in, within one cycle."""

    def __init__(
        self,
        imap: ImapSession,
        store: Store,
        mover: Mover,
        parsers: ParserPool,
        *,
        max_message_octets: int,
        tally: Tally,
        stopping: Callable[[], bool],
    ) -> None:
        self._imap = imap
        self._store = store
        self._mover = mover
        self._parsers = parsers
        self._max_message_octets = max_message_octets
        self._tally = tally
        self._stopping = stopping

    def take_in(self, uids: Sequence[int], suspects: Sequence[int]) -> None:
        """Store and move these mails, the suspects after all others, each alone.

        Raises:
            LeaseLost, SettingsChanged, MailServerError, StoreUnavailable: what was committed before stays, and is
                moved by the next cycle where it was not by this one.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="store") as thread:
            under_way: Future[Stored] | None = None
            try:
                for batch in self._batches(uids, suspects):
                    mails = self._fetch(batch)
                    if not self._imap.can_expunge_uids:
                        # No COPYUID will tell our copies apart: each batch is settled before the next is begun.
                        earlier, under_way = under_way, None
                        self._finish(earlier)
                    target, uidnext = self._mover.target(), self._mover.uidnext
                    earlier, under_way = under_way, thread.submit(self._store.take, mails, target, uidnext)
                    self._finish(earlier)
                    if self._stopping():
                        self._tally.has_more = True
                        break
                earlier, under_way = under_way, None
                self._finish(earlier)
            except Exception:
                # What is on its way into the database gets there, and is moved by the next cycle.
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
        self._tally.stored += stored.stored
        self._tally.known += stored.known
        self._tally.returned += stored.returned
        self._tally.quarantined += stored.quarantined
        self._tally.defects.update(stored.defects)

    def _batches(self, uids: Sequence[int], suspects: Sequence[int]) -> Iterator[list[MailInfo]]:
        for start in range(0, len(uids), WINDOW_MAILS):
            yield from batches_of(self._takeable(uids[start : start + WINDOW_MAILS]))
        for uid in suspects:
            for info in self._takeable([uid]):
                yield [info]

    def _takeable(self, uids: Sequence[int]) -> list[MailInfo]:
        """What is to be fetched of these: those that are too large are quarantined unseen."""
        infos = self._imap.fetch_infos(uids)
        limit = self._max_message_octets
        for info in infos:
            if info.size_octets > limit:
                self._quarantine_unseen(info)
        return [info for info in infos if info.size_octets <= limit]

    def _quarantine_unseen(self, info: MailInfo) -> None:
        header = self._parsers.parse(self._imap.fetch_header(info.uid, HEADER_OCTETS))
        known = Known(
            size_octets=info.size_octets,
            from_address=header.from_.address if header.from_ else None,
            subject=header.subject,
            internal_date=info.internal_date,
        )
        self._note_failure(info.uid, "too_large", at_once=True, known=known)

    # Fetching

    def _fetch(self, batch: Sequence[MailInfo]) -> list[FetchedMail]:
        uids = [info.uid for info in batch]
        try:
            fetched = self._imap.fetch_mails(uids)
        except CommandRefused:
            if len(uids) > 1:
                return [mail for info in batch for mail in self._fetch([info])]
            self._note_failure(uids[0], "command_refused", known=_known(batch[0]))
            return []
        except (ConnectionLost, MailServerTimeout) as exc:
            self._suspect(batch, "timeout" if isinstance(exc, MailServerTimeout) else "connection_lost")
            raise
        missing = [mail.uid for mail in fetched if mail.raw is None]
        if missing:
            # NIL is what a server answers for a mail that somebody has just removed, and for one it cannot read.
            still = self._imap.search_present(missing)
            for info in batch:
                if info.uid in still:
                    self._note_failure(info.uid, "vanished", known=_known(info))
        return [mail for mail in fetched if mail.raw is not None]

    def _suspect(self, batch: Sequence[MailInfo], reason: str) -> None:
        """The connection broke over these: where it was one, that counts against it."""
        if len(batch) == 1:
            self._note_failure(batch[0].uid, reason, known=_known(batch[0]))
            return
        self._store.suspect([info.uid for info in batch], reason)

    def _note_failure(self, uid: int, reason: str, *, at_once: bool = False, known: Known) -> None:
        if self._store.note_failure(uid, reason, at_once=at_once, known=known):
            self._tally.quarantined += 1


def _known(info: MailInfo) -> Known:
    return Known(size_octets=info.size_octets, internal_date=info.internal_date)
