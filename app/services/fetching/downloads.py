"""Requests mails from the server, and distinguishes a fault of the server from a fault of one mail.

A server whose disk is missing for three minutes refuses mail after mail, or answers OK and sends none. So a failure counts
against a mail only if a mail that was requested after it has come. This may happen in the same session. If the connection
broke at the mail, it may happen in the next session, which requests the mail only after all others. If there is no other
mail to request, a mail in the processed folder is requested. For more than three mails, this counts only after an hour.
If no mail comes, the cycle fails, and no failure counts against any mail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.adapters.imap import FetchedMail, MailInfo
from app.errors import (
    CommandRefused,
    ConnectionLost,
    MailNotGiven,
    MailServerError,
    MailServerTimeout,
    MailServerUnavailable,
    OverQuota,
    Throttled,
)
from app.services.fetching.context import CycleContext
from app.services.fetching.moving import Mover
from app.services.fetching.quarantine import Known
from app.services.fetching.storing import Store

MAX_IN_A_ROW = 3
"""After this many mails in a row that did not come, the last mail of the list is requested."""

_GENERAL = frozenset({"LIMIT", "OVERQUOTA", "THROTTLED"})
"""Response codes that are clearly about the account."""
_PERHAPS_THE_MAIL = frozenset({"SERVERBUG", "CORRUPTION"})
"""Response codes of an unavailable server that may be about one mail."""


@dataclass(frozen=True, slots=True)
class _Failure:
    info: MailInfo
    reason: str
    error: MailServerError | None


class Downloads:
    """Requests mails of the selected folder, within one cycle."""

    def __init__(self, context: CycleContext, store: Store, mover: Mover) -> None:
        self._context = context
        self._store = store
        self._mover = mover
        self._failures: list[_Failure] = []
        """Failures that do not count against their mails yet."""
        self._in_a_row = 0
        self.has_come = False
        """Whether a mail has come in this session."""

    def sizes(self, uids: Sequence[int]) -> list[MailInfo]:
        """What the server says about these mails. If it says nothing, the download will show it.

        Raises:
            MailServerError
        """
        try:
            infos = {info.uid: info for info in self._context.imap.fetch_infos(uids)}
        except (ConnectionLost, MailServerTimeout) as exc:
            self._cut_over([MailInfo(uid, None, None) for uid in uids], exc)
            raise
        except (CommandRefused, OverQuota, MailServerUnavailable) as exc:
            _raise_if_general(exc)
            if len(uids) > 1:
                # One of these mails may be the reason (Yahoo, Exchange).
                half = len(uids) // 2
                return self._halves(uids[:half], uids[half:])
            infos = {}
        return [infos.get(uid, MailInfo(uid, None, None)) for uid in uids]

    def _halves(self, first: Sequence[int], second: Sequence[int]) -> list[MailInfo]:
        infos = self.sizes(first)
        if all(info.size_octets is None for info in infos):
            # The server said nothing about one half, so do not split the other half too.
            try:
                told = {info.uid: info for info in self._context.imap.fetch_infos(second)}
            except (ConnectionLost, MailServerTimeout):
                raise
            except (CommandRefused, OverQuota, MailServerUnavailable) as exc:
                _raise_if_general(exc)
                told = {}
            return infos + [told.get(uid, MailInfo(uid, None, None)) for uid in second]
        return infos + self.sizes(second)

    def mails(self, batch: Sequence[MailInfo]) -> list[FetchedMail]:
        """The mails that the server sends. Mails that it does not send in a batch are requested one by one.

        Raises:
            MailNotGiven: it sends none.
            MailServerError
        """
        is_doubtful = self.is_doubtful
        came, refusal = self._ask(batch)
        missing = self._missing(batch, came)
        if len(batch) > 1:
            return came + self._one_by_one(missing)
        for info in missing:
            reason = "vanished" if refusal is None else "command_refused"
            self._failures.append(_Failure(info, reason, refusal))
            self._in_a_row += 1
            if is_doubtful:
                self._settle(needs_one=True)
        return came

    def _ask(self, batch: Sequence[MailInfo]) -> tuple[list[FetchedMail], MailServerError | None]:
        """The mails that came, and the refusal. One of the mails may have made the whole command fail."""
        try:
            fetched = self._context.imap.fetch_mails([info.uid for info in batch])
        except (ConnectionLost, MailServerTimeout) as exc:
            self._cut_over(batch, exc)
            raise
        except (CommandRefused, OverQuota, MailServerUnavailable) as exc:
            _raise_if_general(exc)
            return [], exc
        came = [mail for mail in fetched if mail.raw is not None]
        if came:
            self._record_come()
        return came, None

    def _missing(self, batch: Sequence[MailInfo], came: Sequence[FetchedMail]) -> list[MailInfo]:
        """The mails that did not come. A server answers NIL for a mail that somebody has just removed, and for a mail that
        it cannot read."""
        uids = {mail.uid for mail in came}
        missing = [info for info in batch if info.uid not in uids]
        still = self._context.imap.search_present(info.uid for info in missing)
        return [info for info in missing if info.uid in still]

    def _one_by_one(self, infos: Sequence[MailInfo]) -> list[FetchedMail]:
        rest = list(infos)
        came: list[FetchedMail] = []
        while rest:
            came += self.mails([rest.pop(self.next_index)])
        return came

    @property
    def is_doubtful(self) -> bool:
        """Whether the server probably sends no mail at all any more."""
        return self._in_a_row >= MAX_IN_A_ROW

    @property
    def next_index(self) -> int:
        """The index of the mail to request next: the first, or, in doubt, the last."""
        return -1 if self.is_doubtful else 0

    # Which failures count against which mails

    def _record_come(self) -> None:
        """A mail has come. So the mails that were requested before it and did not come are at fault themselves."""
        self.has_come = True
        self._in_a_row = 0
        failures, self._failures = self._failures, []
        for failure in failures:
            self._hold_against(failure.info, failure.reason)

    def finish(self) -> None:
        """Decide about the failures after which no mail came.

        Raises:
            MailServerError: as far as known, the server is at fault.
        """
        if self._failures:
            self._settle(needs_one=len(self._failures) > MAX_IN_A_ROW)

    def _settle(self, *, needs_one: bool) -> None:
        """No mail has come after the failures, so request one in the processed folder. `needs_one`: this is proof only if a mail
        of this folder has come too, or if only these mails have failed for an hour, which is no outage of one disk."""
        failed = [failure.info.uid for failure in self._failures]
        is_proof = self.has_come or not needs_one or self._store.are_long_suspect(failed)
        if is_proof and self._mover.gives_mail():
            self._record_come()
            return
        error = self._failures[-1].error
        # In the next cycle, other mails come first.
        self._store.suspect(failed, self._failures[-1].reason)
        raise _not_given(error) from error

    def left_out(self, uids: Sequence[int]) -> list[int]:
        """Decide about the mails at which the connection broke last time. It counts against them if other mails have come since
        then, or if one in the processed folder comes. Returns the mails that must be tried again, after all others."""
        if not uids:
            return []
        if not self.has_come and not self._mover.gives_mail():
            return list(uids)
        return [uid for uid in uids if not self._count(self._store.prove(uid))]

    def _cut_over(self, batch: Sequence[MailInfo], exc: MailServerError) -> None:
        reason = "timeout" if isinstance(exc, MailServerTimeout) else "connection_lost"
        if len(batch) == 1:
            self._store.record_cut(batch[0].uid, reason, known=_known(batch[0]))
        else:
            self._store.suspect([info.uid for info in batch], reason)

    def _hold_against(self, info: MailInfo, reason: str) -> None:
        self._count(self._store.record_failure(info.uid, reason, known=_known(info)))

    def _count(self, is_quarantined: bool) -> bool:
        self._context.tally.quarantined += is_quarantined
        return is_quarantined


def _raise_if_general(exc: MailServerError) -> None:
    """Raise the error if it is not about single mails."""
    if exc.response_code in _GENERAL:
        raise Throttled(
            command=exc.command, server_line=exc.server_line, response_code=exc.response_code
        ) from exc
    if isinstance(exc, MailServerUnavailable) and exc.response_code not in _PERHAPS_THE_MAIL:
        raise exc


def _not_given(refusal: MailServerError | None) -> MailServerError:
    if isinstance(refusal, MailServerUnavailable):
        return refusal
    if refusal is None:
        return MailNotGiven(command="FETCH")
    return MailNotGiven(command="FETCH", server_line=refusal.server_line, response_code=refusal.response_code)


def _known(info: MailInfo) -> Known:
    return Known(size_octets=info.size_octets, internal_date=info.internal_date)
