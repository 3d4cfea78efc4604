"""Asking the server for mails, and telling its trouble from a mail's.

A server whose disk is away for three minutes refuses mail after mail, or says OK and gives none. A failure therefore
counts against a mail only if another mail, asked for after it, came: in the same session, or, where the line was cut
over it, in the next one, in which it is left out until then. Where there is no other to ask for, one in the processed
folder is. Without that, the cycle fails, and nothing is held against any mail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.adapters.imap import FetchedMail, ImapSession, MailInfo
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
from app.services.fetching.moving import Mover
from app.services.fetching.quarantine import Known
from app.services.fetching.storing import Store
from app.services.fetching.tally import Tally

MAX_IN_A_ROW = 3
"""Mails that did not come, one after the other; then the last one of those at hand is asked for."""

_GENERAL = frozenset({"LIMIT", "OVERQUOTA", "THROTTLED"})
"""Response codes that are about the account, and say so."""
_PERHAPS_THE_MAIL = frozenset({"SERVERBUG", "CORRUPTION"})
"""Codes of an unavailable server that may be about one mail."""


@dataclass(frozen=True, slots=True)
class _Failure:
    info: MailInfo
    reason: str
    error: MailServerError | None


class Downloads:
    """Asks for mails of the selected folder, within one cycle."""

    def __init__(self, imap: ImapSession, store: Store, mover: Mover, tally: Tally) -> None:
        self._imap = imap
        self._store = store
        self._mover = mover
        self._tally = tally
        self._failures: list[_Failure] = []
        """Not yet held against their mails."""
        self._in_a_row = 0
        self.has_come = False
        """Whether a mail has come in this session."""

    def sizes(self, uids: Sequence[int]) -> list[MailInfo]:
        """What is known of these mails; where the server does not tell, the mail itself has to.

        Raises:
            MailServerError
        """
        try:
            infos = {info.uid: info for info in self._imap.fetch_infos(uids)}
        except (ConnectionLost, MailServerTimeout) as exc:
            self._cut_over([MailInfo(uid, None, None) for uid in uids], exc)
            raise
        except (CommandRefused, OverQuota, MailServerUnavailable) as exc:
            _raise_if_general(exc)
            if len(uids) > 1:
                # One of them may be why (Yahoo, Exchange).
                half = len(uids) // 2
                return self._halves(uids[:half], uids[half:])
            infos = {}
        return [infos.get(uid, MailInfo(uid, None, None)) for uid in uids]

    def _halves(self, first: Sequence[int], second: Sequence[int]) -> list[MailInfo]:
        infos = self.sizes(first)
        if all(info.size_octets is None for info in infos):
            # Nothing was told of the one half: the other is not taken to pieces as well.
            try:
                told = {info.uid: info for info in self._imap.fetch_infos(second)}
            except (ConnectionLost, MailServerTimeout):
                raise
            except (CommandRefused, OverQuota, MailServerUnavailable) as exc:
                _raise_if_general(exc)
                told = {}
            return infos + [told.get(uid, MailInfo(uid, None, None)) for uid in second]
        return infos + self.sizes(second)

    def mails(self, batch: Sequence[MailInfo]) -> list[FetchedMail]:
        """The mails that the server gives. Those that it does not give in a batch are asked for one by one.

        Raises:
            MailNotGiven: it gives none.
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
        """What came, and what was refused. One of them may have made the whole command fail."""
        try:
            fetched = self._imap.fetch_mails([info.uid for info in batch])
        except (ConnectionLost, MailServerTimeout) as exc:
            self._cut_over(batch, exc)
            raise
        except (CommandRefused, OverQuota, MailServerUnavailable) as exc:
            _raise_if_general(exc)
            return [], exc
        came = [mail for mail in fetched if mail.raw is not None]
        if came:
            self._note_come()
        return came, None

    def _missing(self, batch: Sequence[MailInfo], came: Sequence[FetchedMail]) -> list[MailInfo]:
        """NIL is what a server answers for a mail that somebody has just removed, and for one it cannot read."""
        uids = {mail.uid for mail in came}
        missing = [info for info in batch if info.uid not in uids]
        still = self._imap.search_present(info.uid for info in missing)
        return [info for info in missing if info.uid in still]

    def _one_by_one(self, infos: Sequence[MailInfo]) -> list[FetchedMail]:
        rest = list(infos)
        came: list[FetchedMail] = []
        while rest:
            came += self.mails([rest.pop(self.next_index)])
        return came

    @property
    def is_doubtful(self) -> bool:
        """Whether it looks as if the server gives nothing any more."""
        return self._in_a_row >= MAX_IN_A_ROW

    @property
    def next_index(self) -> int:
        """Which of the mails at hand to ask for next: the first, or, in doubt, the last."""
        return -1 if self.is_doubtful else 0

    # What is held against whom

    def _note_come(self) -> None:
        """A mail has come: those asked for before it that did not are at fault themselves."""
        self.has_come = True
        self._in_a_row = 0
        failures, self._failures = self._failures, []
        for failure in failures:
            self._hold_against(failure.info, failure.reason)

    def finish(self) -> None:
        """See to the failures after which no mail came.

        Raises:
            MailServerError: it is the server's trouble, as far as anybody can tell.
        """
        if self._failures:
            self._settle(needs_one=len(self._failures) > MAX_IN_A_ROW)

    def _settle(self, *, needs_one: bool) -> None:
        """No mail has come after those that failed: ask for one in the processed folder. `needs_one`: that says enough
        only where a mail of this folder has come as well."""
        if (self.has_come or not needs_one) and self._mover.gives_mail():
            self._note_come()
            return
        failed = [failure.info.uid for failure in self._failures]
        error = self._failures[-1].error
        # Next time, other mails come first.
        self._store.suspect(failed, self._failures[-1].reason)
        raise _not_given(error) from error

    def left_out(self, uids: Sequence[int]) -> list[int]:
        """Mails over which the line was cut last time: hold it against them if others have come since, or one in the
        processed folder does; those of them that are to be tried again, after all others."""
        if not uids:
            return []
        if not self.has_come and not self._mover.gives_mail():
            return list(uids)
        return [uid for uid in uids if not self._count(self._store.prove(uid))]

    def _cut_over(self, batch: Sequence[MailInfo], exc: MailServerError) -> None:
        reason = "timeout" if isinstance(exc, MailServerTimeout) else "connection_lost"
        if len(batch) == 1:
            self._store.note_cut(batch[0].uid, reason, known=_known(batch[0]))
        else:
            self._store.suspect([info.uid for info in batch], reason)

    def _hold_against(self, info: MailInfo, reason: str) -> None:
        self._count(self._store.note_failure(info.uid, reason, known=_known(info)))

    def _count(self, is_quarantined: bool) -> bool:
        self._tally.quarantined += is_quarantined
        return is_quarantined


def _raise_if_general(exc: MailServerError) -> None:
    """Raise what is not about the mails."""
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
