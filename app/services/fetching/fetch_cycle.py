"""One run for one connector: it fetches mail from the source folder, stores it, and moves it to the processed folder.

The states of a mail, and how to recognise them:

    waiting     in the source folder, its place not in the ledger
    stored      message, event and ledger row (`pending`, with the intent to move) are committed together
    settled     the ledger row says `moved`, or `gone` if somebody else took the mail away
    quarantined a row says why the mail could not be taken in; the mail stays in its folder

    lease ── connect, log in ── the folder is ours ── resolve both folders ── SELECT ── settle earlier moves ── list
          ┌─► fetch a batch ── [parse ── commit] ── lease still ours? ── MOVE ── proof ── record ─┐
          └──────────────────────────────────────────────────────────────────────────────────────┘

Invariants:

 1. No MOVE or COPY is sent for a mail whose bytes are not committed.
 2. A place (connector, folder, UIDVALIDITY, UID) is in the ledger once. It stays there while its move is pending, even
    if the message is deleted meanwhile.
 3. Commits and moves need the lease of the mailbox's folder, so one instance at a time makes them. Only the connector that
    has the folder gets this lease (`possession`).
 4. The cycle never touches mail that another client flagged `\\Deleted`, and never sends EXPUNGE without UIDs.

What an interruption leaves behind, and what happens then:

    before the commit           nothing; the mail is waiting as before
    between commit and MOVE     `pending`, mail in the source: the next cycle moves it
    after MOVE, not recorded    `pending`, mail not in the source: the next cycle searches for the copy
    after COPY, not deleted     `pending`, mail in both: the next cycle finds the copy and only deletes
    lease lost                  no further command; the other instance continues from the ledger
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from app import clock
from app.adapters.imap import Folder, ImapSession, Selected
from app.adapters.parser import ParserUnavailable
from app.errors import (
    CommandRefused,
    CopiesUnknown,
    CycleRunning,
    GatewayError,
    MailServerError,
    ParserBusy,
    ProcessedFolderMissing,
    SameFolder,
    SettingsChanged,
    StoreUnavailable,
    TooManyRefusedLogins,
)
from app.gateway import Gateway
from app.mime.model import PARSER_FAULTS
from app.models import Connector, Cycle, ServerMessage
from app.schemas.fields import normalised_folder
from app.services import logins
from app.services.fetching import leases, ledger, move_loops, outcomes, possession, quarantine
from app.services.fetching.context import CycleContext
from app.services.fetching.intake import Intake
from app.services.fetching.leases import HeldLease
from app.services.fetching.ledger import NumberedFolder
from app.services.fetching.moving import Mover
from app.services.fetching.quarantine import FailedUids
from app.services.fetching.storing import Store
from app.services.fetching.tally import Tally
from app.services.mailboxes import folders, opening
from app.services.mailboxes.room import Room
from app.states import ConnectorStatus, FirstFetch

log = structlog.get_logger(__name__)

RUNNABLE = frozenset({ConnectorStatus.ACTIVE, ConnectorStatus.FAILING})
CONFIRM_ABOVE = 100
"""If more mails wait at the first fetch, the gateway moves none until somebody says which of them to take (`first_fetch`)."""
TURN_MAILS = 5000
"""After this many mails another mailbox gets the thread."""


def run(gateway: Gateway, connector_id: str, *, stopping: Callable[[], bool] = lambda: False) -> Cycle | None:
    """Run a cycle. Returns its row in the history. None: it did not run, because another cycle of the mailbox is running, or
    because the connector must not fetch.

    It moves mail on the server. Errors are recorded in the cycle and the connector; the caller does not get them.

    Raises:
        TooManyRefusedLogins: the server was not asked, and nothing is recorded.
    """
    before = _runnable(gateway, connector_id)
    if before is None:
        return None
    with leases.held_for_login(gateway, before) as lease:
        if lease is None:
            return None
        # Read it again: values from before we had the lease may be old.
        connector = _runnable(gateway, connector_id)
        if connector is None or leases.key_for_login(connector) != lease.mailbox_key:
            return None
        started_at = clock.utc_now()
        tally = Tally()
        error = _error_of(gateway, connector, lease, tally, stopping)
        if isinstance(error, CycleRunning):
            return None
        tell = log.info if error is None else log.warning
        tell(
            "fetch_cycle",
            connector_id=connector_id,
            error=error.code if error is not None else None,
            command=getattr(error, "command", None),
            response_code=getattr(error, "response_code", None),
            server_line=getattr(error, "server_line", None),
            found=tally.found,
            stored=tally.stored,
            moved=tally.moved,
            defects=dict(tally.defects),
        )
        _log_unread(connector_id, tally)
        return outcomes.record(gateway, connector, tally, error, started_at=started_at)


def _log_unread(connector_id: str, tally: Tally) -> None:
    """Log that the parser process failed on some mails: they are stored, but show less than they hold."""
    unread = {code: mails for code, mails in tally.defects.items() if code in PARSER_FAULTS}
    if unread:
        log.warning("mails_unread", connector_id=connector_id, stored=tally.stored, **unread)


def _runnable(gateway: Gateway, connector_id: str) -> Connector | None:
    with gateway.db.reading() as session:
        connector = session.get(Connector, connector_id)
    return connector if connector is not None and connector.status in RUNNABLE else None


def _error_of(
    gateway: Gateway,
    connector: Connector,
    lease: HeldLease,
    tally: Tally,
    stopping: Callable[[], bool],
) -> GatewayError | None:
    try:
        with logins.opened(gateway, connector) as mailbox:
            try:
                with possession.of_folder(gateway, connector, lease, stopping) as (owning, of_folder):
                    _Cycle(gateway, owning, of_folder, mailbox, tally, stopping).run()
            finally:
                tally.alert = mailbox.alert
    except MailServerError as exc:
        tally.alert = tally.alert or exc.alert
        return exc
    except StoreUnavailable as exc:
        log.error("store_unavailable", connector_id=connector.id, error=type(exc.__cause__).__name__)
        return exc
    except TooManyRefusedLogins:
        raise
    except GatewayError as exc:
        return exc
    except ParserUnavailable:
        return ParserBusy()
    except Exception as exc:
        # A mistake of ours in one mailbox must not end the job for all. It is logged, and the connector shows it.
        frame = exc.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        where = f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}" if frame else None
        log.error("cycle_broke", connector_id=connector.id, error=type(exc).__name__, where=where)
        return GatewayError()
    return None


@dataclass(frozen=True, slots=True)
class _Cycle:
    """The part of a run that uses the mail server."""

    gateway: Gateway
    connector: Connector
    lease: HeldLease
    imap: ImapSession
    tally: Tally
    stopping: Callable[[], bool]

    def run(self) -> None:
        source_folder, target_folder, selected = self._resolve()
        is_unstable = selected.uidvalidity is None or selected.uid_not_sticky
        source = NumberedFolder(self.connector.id, source_folder, selected.uidvalidity or 0)
        has_displaced, left_over = self._left_over(source, is_unstable=is_unstable)
        context = CycleContext(
            self.gateway,
            self.connector,
            self.lease,
            self.imap,
            source,
            target_folder,
            self.tally,
            self.stopping,
        )
        mover = Mover(context, uidnext=selected.uidnext or 1)
        self._record_deaths(source)
        mover.recover(left_over)
        present = self.imap.search_undeleted()
        self.tally.found = len(present)
        candidates, doubtful = self._candidates(source, present, mover)
        if self._needs_confirmation(len(candidates) + len(doubtful.suspects)):
            self.tally.awaits_confirmation = True
            return
        self._record_baseline(source, selected, present)
        candidates = self._wanted(source, candidates)
        self.tally.has_more = len(candidates) > TURN_MAILS
        store = Store(context, has_displaced=has_displaced, unparsed=doubtful.deadly)
        intake = Intake(context, store, mover, Room(self.gateway, self.connector.id))
        intake.take_in(
            candidates[:TURN_MAILS], sorted(doubtful.suspects - doubtful.cut_over), sorted(doubtful.cut_over)
        )
        if has_displaced and not self.tally.has_more:
            # All mails of the folder have been compared by their bytes, so a mail that was not found is not there.
            with self.gateway.db.reading() as session:
                absent = ledger.displaced_rows(session, source.connector_id, source.folder)
            mover.settle_absent(absent)
        if mover.held:
            raise CopiesUnknown

    # Folders

    def _resolve(self) -> tuple[str, str, Selected]:
        """The names of the source and the processed folder on the server, and the answer to SELECT of the source folder. If
        there is no trash folder, it is created."""
        listed = self.imap.list_folders()
        prefix = self.imap.personal_prefix()
        source = opening.source_folder(listed, self.connector.source_folder, prefix)
        target = self._target_folder(listed, prefix)
        if folders.is_same(source.name, target):
            raise SameFolder
        with self.gateway.db.reading() as session:
            if move_loops.is_closed_by(session, self.connector, listed, target, prefix):
                raise SameFolder(
                    "Another connector moves mail back from the processed folder to the source folder."
                )
        return normalised_folder(source.name), target, opening.select_source(self.imap, source.name)

    def _target_folder(self, listed: Sequence[Folder], prefix: str) -> str:
        wanted = self.connector.processed_folder
        found = opening.processed_folder(listed, wanted, prefix)
        if found is not None:
            return found.name
        name = prefix + folders.DEFAULT_NAMES[folders.TRASH]
        try:
            self.imap.create_folder(name)
        except CommandRefused as exc:
            if not self._is_there(name):
                raise ProcessedFolderMissing(server_line=exc.server_line, command=exc.command) from exc
        return name

    def _is_there(self, name: str) -> bool:
        """Whether a folder exists that the server has not listed: somebody else has just created it."""
        try:
            self.imap.status(name)
        except CommandRefused:
            return False
        return True

    # The state from earlier cycles

    def _left_over(self, source: NumberedFolder, *, is_unstable: bool) -> tuple[bool, list[ServerMessage]]:
        """Whether mails must be recognised by their bytes, and the moves that are not settled."""
        with self.gateway.db.reading() as session:
            outdated = ledger.has_outdated(session, source, is_unstable=is_unstable)
        if outdated:
            with self.gateway.db.unit_of_work() as session:
                self.lease.confirm(session)
                ledger.displace(
                    session,
                    source.connector_id,
                    folder=source.folder,
                    except_uidvalidity=None if is_unstable else source.uidvalidity,
                )
            log.warning("uidvalidity_changed", connector_id=source.connector_id)
        with self.gateway.db.reading() as session:
            return (
                bool(ledger.displaced(session, source.connector_id, source.folder)),
                ledger.pending_at(session, source),
            )

    def _record_deaths(self, source: NumberedFolder) -> None:
        """Record which mails the previous holder of the lease was taking in when its process died."""
        in_hand = self.lease.left_in_hand
        if in_hand is None or in_hand.uidvalidity != source.uidvalidity:
            return
        with self.gateway.db.unit_of_work() as session:
            self.lease.confirm(session)
            stored = ledger.known_uids(session, source, in_hand.uids)
            quarantine.record_deaths(session, source, [uid for uid in in_hand.uids if uid not in stored])

    def _candidates(
        self, source: NumberedFolder, present: Sequence[int], mover: Mover
    ) -> tuple[list[int], FailedUids]:
        """The mails that have not been taken in and have not failed before, and the records of those that have failed."""
        with self.gateway.db.reading() as session:
            known = ledger.known_uids(session, source, present)
            settled = ledger.settled_at(session, source, sorted(known))
            in_quarantine = quarantine.failed_uids(session, source)
        if in_quarantine.has_absent(present):
            with self.gateway.db.unit_of_work() as session:
                quarantine.forget_absent(session, source, set(present))
        self.tally.known = len(known)
        # Somebody has removed a `\\Deleted` flag, or a move that seemed to be done was not.
        mover.recover(settled)
        left_alone = in_quarantine.left_alone.intersection(present)
        self.tally.quarantined = len(left_alone)
        rest = [uid for uid in present if uid not in known and uid not in left_alone]
        waiting = in_quarantine.only(rest)
        return [uid for uid in rest if uid not in waiting.suspects], waiting

    # The mails that were there before the connector

    def _needs_confirmation(self, waiting: int) -> bool:
        is_first = self.connector.first_fetch is None and self.connector.baseline_at is None
        return is_first and waiting > CONFIRM_ABOVE

    def _record_baseline(self, source: NumberedFolder, selected: Selected, present: Sequence[int]) -> None:
        """At the first fetch, record the UID below which mail was there before the connector."""
        if self.connector.baseline_at is not None:
            return
        with self.gateway.db.unit_of_work() as session:
            self.lease.confirm(session)
            connector = session.get(Connector, self.connector.id, with_for_update=True)
            if connector is None or connector.updated_at != self.connector.updated_at:
                raise SettingsChanged
            connector.baseline_uidvalidity = source.uidvalidity
            connector.baseline_uidnext = selected.uidnext or max(present, default=0) + 1
            connector.baseline_at = clock.utc_now()
        self.connector.baseline_uidvalidity = connector.baseline_uidvalidity
        self.connector.baseline_uidnext = connector.baseline_uidnext
        self.connector.baseline_at = connector.baseline_at

    def _wanted(self, source: NumberedFolder, uids: list[int]) -> list[int]:
        """The mails that `first_fetch` allows: of the mail from before the connector, all, none, or the mail since a day."""
        rule = self.connector.first_fetch or FirstFetch.ALL
        if rule == FirstFetch.ALL or not uids:
            return uids
        baseline_at = self.connector.baseline_at
        assert baseline_at is not None  # recorded at the first fetch
        if self.connector.baseline_uidvalidity == source.uidvalidity:
            first_new = self.connector.baseline_uidnext or 0
            day = self.connector.first_fetch_since if rule == FirstFetch.SINCE else None
            since = set(self.imap.search_undeleted_since(day)) if day is not None else set()
            return [uid for uid in uids if uid >= first_new or uid in since]
        # The folder was numbered anew, so only the date of a mail shows when it came.
        if rule == FirstFetch.SINCE and self.connector.first_fetch_since is not None:
            day = min(self.connector.first_fetch_since, baseline_at.date())
            since = set(self.imap.search_undeleted_since(day))
            return [uid for uid in uids if uid in since]
        # One more day, because of the server's time zone; then compare by the second.
        since = set(self.imap.search_undeleted_since((baseline_at - timedelta(days=1)).date()))
        infos = self.imap.fetch_infos([uid for uid in uids if uid in since])
        return [info.uid for info in infos if info.internal_date is None or info.internal_date >= baseline_at]
