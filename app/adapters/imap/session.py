"""A logged-in IMAP session as the gateway uses it. It sends commands; `answers` reads the answers.

This module adds the checks that the library lacks. It checks folder names before it sends them. It matches answers to the
requested UIDs. It distinguishes a `NIL` body from an empty one (a server sends NIL for a mail that another client has
removed: Dovecot 2.3, RFC 2180 §4.1.3). It keeps COPYUID, the proof of a move.

A session is for one thread. After an error that is not a refusal it cannot be used any more: end it.
"""

import contextlib
import imaplib
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import structlog

from app.adapters.imap import wire
from app.adapters.imap.answers import (
    capability,
    copyuid,
    fetch,
    folder_status,
    listing,
    namespace,
    numbers,
    rights,
    search,
    status,
)
from app.adapters.imap.answers.dates import MONTHS
from app.adapters.imap.answers.fetch import Fetched
from app.adapters.imap.answers.folder_status import FolderStatus
from app.adapters.imap.answers.listing import Row
from app.adapters.imap.answers.rights import Rights
from app.adapters.imap.answers.status import Selected
from app.adapters.imap.client import Client
from app.adapters.imap.connection import Answer, WiredIMAP4, refused
from app.adapters.imap.errors import translating
from app.adapters.imap.folder_names import FolderNames
from app.adapters.imap.quoting import quoted
from app.adapters.imap.uid_sets import uid_sets
from app.adapters.imap.values import FetchedMail, Folder, MailInfo
from app.errors import CommandRefused, ConnectionLost, FolderReadOnly, MailServerError

log = structlog.get_logger(__name__)

LOGOUT_TIMEOUT_S = 5.0


class ImapSession:
    """One logged-in connection."""

    def __init__(self, imap: WiredIMAP4, max_literal_octets: int) -> None:
        self._imap = imap
        self._client = Client(imap)
        imap.wire.max_literal_octets = max_literal_octets
        imap.wire.max_response_octets = max_literal_octets + wire.MAX_LINE_OCTETS
        self._capabilities: frozenset[str] = frozenset()
        self._names = FolderNames()
        self._exists = 0
        self._uidnext: int | None = None
        self._has_given_up_move = False
        self.expunged = 0
        """The number of mails that left the source folder, as the server reported in its answer to the last MOVE."""

    @property
    def can_move(self) -> bool:
        # Gmail's folders are labels: the effect of COPY and EXPUNGE depends on the user's settings. It has MOVE.
        return self.is_gmail or ("MOVE" in self.capabilities and not self._has_given_up_move)

    @property
    def is_gmail(self) -> bool:
        return "X-GM-EXT-1" in self.capabilities

    def give_up_move(self) -> None:
        """Do not use MOVE any more. The server announces it and refuses it: a proxy announces another server's capabilities."""
        self._has_given_up_move = True

    @property
    def alert(self) -> str | None:
        """The last text that the server asked to show to its user, as plain text."""
        return self._imap.alert

    def masked(self, error: MailServerError) -> MailServerError:
        """An error that ends here and does not leave the session, with our credentials masked in it."""
        error.mask(self._imap.mask.text)
        return error

    @property
    def can_expunge_uids(self) -> bool:
        return "UIDPLUS" in self.capabilities

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities that the server announced last, in capitals."""
        return self._capabilities

    @capabilities.setter
    def capabilities(self, announced: frozenset[str]) -> None:
        self._capabilities = announced
        # IMAP4rev2 alone: folder names are UTF-8 (RFC 9051 §5.1).
        self._names.is_utf8 = capability.REV2 in announced and "IMAP4REV1" not in announced

    def refresh_capabilities(self) -> None:
        """Ask for the capabilities again: they differ before and after STARTTLS and login. If the server does not answer them,
        those that it announced before count, or those that every server has."""
        with translating("CAPABILITY"):
            answer = self._imap.ask("CAPABILITY", keep=["CAPABILITY"])
        told = capability.read_capabilities(answer.responses, answer.text)
        if told is not None:
            self.capabilities = told

    # Folders

    def list_folders(self) -> list[Folder]:
        """All folders, with their special uses if the server knows them. INBOX is always one of them."""
        with translating("LIST"):
            answer = self._imap.run("LIST", '""', '"*"', keep=["LIST"])
        rows = listing.read_list(answer.responses)
        uses = {row.octets: row.attributes for row in self._special_rows()}
        folders = self._names.learn(
            [Row(r.octets, r.delimiter, r.attributes | uses.get(r.octets, frozenset())) for r in rows.rows]
        )
        left_out = rows.left_out + len(rows.rows) - len(folders)
        if left_out or answer.dropped:
            log.info("folders_left_out", count=left_out, lines=answer.dropped)
        if not any(folder.name.upper() == "INBOX" for folder in folders):
            folders.insert(
                0, Folder("INBOX", None, frozenset(), selectable=True)
            )  # RFC 9051 §5.1: it always exists
        return folders

    def _special_rows(self) -> list[Row]:
        """The rows with special uses, from servers that list them only on request (RFC 6154 §5.1). Empty if the server refuses:
        it has SPECIAL-USE without LIST-EXTENDED."""
        if "SPECIAL-USE" not in self.capabilities:
            return []
        try:
            with translating("LIST"):
                answer = self._imap.run("LIST", "(SPECIAL-USE)", '""', '"*"', keep=["LIST"])
        except CommandRefused:
            return []
        return listing.read_list(answer.responses).rows

    def lists(self, folder: str) -> bool:
        """Whether the server has listed a folder with this name in this session."""
        return folder in self._names

    def personal_prefix(self) -> str:
        """The prefix of the personal namespace (RFC 2342), as `INBOX.`. Empty if there is none, or the server does not state
        it."""
        if "NAMESPACE" not in self.capabilities:
            return ""
        try:
            with translating("NAMESPACE"):
                answer = self._imap.run("NAMESPACE", keep=["NAMESPACE"])
        except CommandRefused:
            return ""
        octets = namespace.read_personal_prefix(answer.responses)
        return self._names.shown(octets) or ""

    def select(self, folder: str) -> Selected:
        """Select a folder for reading and moving. It sets no flag.

        Raises:
            CommandRefused: there is no such folder, or it cannot be selected.
            FolderReadOnly: mail cannot be moved out of it.
        """
        selected = self._select("SELECT", folder)
        if selected.is_read_only:
            raise FolderReadOnly(command="SELECT")
        return selected

    def examine(self, folder: str) -> Selected:
        """Select a folder only for reading.

        Raises:
            CommandRefused
        """
        return self._select("EXAMINE", folder)

    def _select(self, command: str, folder: str) -> Selected:
        with translating(command):
            answer = self._imap.run(command, quoted(self._names.octets(folder)), keep=["EXISTS"])
        self._imap.state = "SELECTED"
        selected = status.read_select(answer.responses, answer.text)
        self._exists = selected.exists
        self._uidnext = selected.uidnext
        return selected

    def status(self, folder: str) -> FolderStatus:
        """The counters of a folder, without selecting it.

        Raises:
            CommandRefused: there is no such folder.
        """
        with translating("STATUS"):
            items = "(UIDVALIDITY UIDNEXT MESSAGES)"
            answer = self._imap.run("STATUS", quoted(self._names.octets(folder)), items, keep=["STATUS"])
        return folder_status.read_status(answer.responses)

    def create_folder(self, folder: str) -> None:
        """Create and subscribe a folder. Without subscriptions on the server, the folder exists all the same.

        Raises:
            CommandRefused
        """
        octets = self._names.octets(folder)
        with translating("CREATE"):
            self._imap.run("CREATE", quoted(octets))
        with contextlib.suppress(CommandRefused), translating("SUBSCRIBE"):
            self._imap.run("SUBSCRIBE", quoted(octets))

    # Searching

    def search_undeleted(self) -> list[int]:
        """The UIDs in the selected folder without the flag `\\Deleted`, ascending."""
        self._look_for_news()
        found = self._search("UNDELETED")
        if not found.is_answered and self._exists:
            return [mail.uid for mail in self._flags("1:*") if "\\deleted" not in (mail.flags or ())]
        return found.uids

    def search_undeleted_since(self, day: date) -> list[int]:
        """Like `search_undeleted`, for mails whose INTERNALDATE is on that day or later, in the server's time zone."""
        return self._search(f"UNDELETED SINCE {day.day}-{MONTHS[day.month - 1]}-{day.year}").uids

    def next_uid(self, at_least: int) -> int:
        """One above the highest UID that the selected folder has now, but at least `at_least`. Mail that arrives from now on
        has this UID or a higher one."""
        self._look_for_news()
        return max([at_least - 1, *self.search_from(at_least)]) + 1

    def search_present(self, uids: Iterable[int]) -> set[int]:
        """The UIDs among these that are in the selected folder, with or without the flag `\\Deleted`."""
        return self._search_sets(uids, "")

    def search_flagged_deleted(self, uids: Iterable[int]) -> set[int]:
        """The UIDs among these that are in the selected folder with the flag `\\Deleted`."""
        return self._search_sets(uids, " DELETED")

    def search_from(self, first_uid: int) -> list[int]:
        """The UIDs of the selected folder from this one on, ascending."""
        # `n:*` always includes the last mail, even below n (RFC 9051 §6.4.8).
        return [uid for uid in self._search(f"UID {first_uid}:*").uids if uid >= first_uid]

    def search_header(self, name: str, value: str) -> list[int]:
        """The UIDs in the selected folder whose header field contains the value."""
        return self._search(f"HEADER {name} {quoted(value.encode('ascii')).decode()}").uids

    def _look_for_news(self) -> None:
        """Let the server say what has changed (RFC 9051 §6.1.2). Whether it does so does not matter."""
        with translating("NOOP"):
            self._imap.ask("NOOP")

    def _search_sets(self, uids: Iterable[int], criteria: str) -> set[int]:
        wanted = sorted(set(uids))
        present: set[int] = set()
        for uid_set in uid_sets(wanted):
            found = self._search(f"UID {uid_set}{criteria}", wanted)
            present.update(found.uids)
            if not found.is_answered:
                mails = self._flags(uid_set, wanted)
                present.update(m.uid for m in mails if not criteria or "\\deleted" in (m.flags or ()))
        return present

    def _search(self, criteria: str, wanted: Sequence[int] | None = None) -> search.Found:
        with translating("SEARCH"):
            answer = self._imap.run("UID", "SEARCH", criteria, keep=["SEARCH", "ESEARCH"])
        return search.read_search(answer.responses, wanted)

    def _flags(self, uid_set: str, wanted: Sequence[int] | None = None) -> list[Fetched]:
        """The flags of mails, for servers that answer OK to a search without the result."""
        with translating("FETCH"):
            answer = self._imap.run("UID", "FETCH", uid_set, "(UID FLAGS)", keep=["FETCH"])
        asked = set(wanted) if wanted is not None else None
        mails = fetch.read_fetch(answer.responses, asked).mails
        return [mails[uid] for uid in sorted(mails)]

    # Fetching

    def fetch_infos(self, uids: Sequence[int]) -> list[MailInfo]:
        """Size and INTERNALDATE of mails, in the order of their UIDs. Mails that no longer exist are left out.

        Raises:
            CommandRefused
        """
        found = self._fetch(uids, "(UID RFC822.SIZE INTERNALDATE)")
        return [MailInfo(uid, found[uid].size_octets, found[uid].internal_date) for uid in sorted(found)]

    def fetch_mails(self, uids: Sequence[int]) -> list[FetchedMail]:
        """The mails as received, in the requested order. It does not set `\\Seen` (BODY.PEEK).

        Raises:
            CommandRefused
        """
        return self._bodies(uids, "(UID INTERNALDATE BODY.PEEK[])")

    def fetch_beginnings(self, uids: Sequence[int], max_octets: int) -> list[FetchedMail]:
        """Like `fetch_mails`, but at most this many octets of each mail.

        Raises:
            CommandRefused
        """
        return self._bodies(uids, f"(UID BODY.PEEK[]<0.{max_octets}>)")

    def _bodies(self, uids: Sequence[int], items: str) -> list[FetchedMail]:
        found = self._fetch(uids, items)
        nothing = Fetched(0)
        return [
            FetchedMail(uid, mail.body, mail.internal_date, mail.has_date_defect)
            for uid in uids
            for mail in [found.pop(uid, nothing)]
        ]

    def is_longer(self, uid: int, octets: int) -> bool | None:
        """Whether a mail has more octets than this, whatever size the server announces: asks for one octet after them. None:
        the server does not say.

        Raises:
            CommandRefused
        """
        found = self._fetch([uid], f"(UID BODY.PEEK[]<{octets}.1>)")
        # RFC 9051 §6.4.5: from beyond the end, an empty string.
        rest = found[uid].rest if uid in found else None
        return bool(rest) if rest is not None else None

    def fetch_header(self, uid: int, max_octets: int) -> bytes:
        """The beginning of a mail's header. Empty if the server sends none."""
        found = self._fetch([uid], f"(UID BODY.PEEK[HEADER]<0.{max_octets}>)")
        header = found[uid].header if uid in found else None
        return header[:max_octets] if header is not None else b""

    def _fetch(self, uids: Sequence[int], items: str) -> dict[int, Fetched]:
        found: dict[int, Fetched] = {}
        wanted = frozenset(uids)
        for uid_set in uid_sets(uids):
            with translating("FETCH"):
                answer = self._imap.run("UID", "FETCH", uid_set, items, keep=["FETCH"])
            read = fetch.read_fetch(answer.responses, wanted)
            # A line that is not IMAP is the rest of a literal whose announced length was too short.
            if read.is_out_of_step or answer.dropped:
                raise ConnectionLost(command="FETCH", server_line="literals of another length than announced")
            if read.dropped:
                log.info("fetch_answers_dropped", count=read.dropped)
            found.update(read.mails)
        return found

    # Moving

    def move(self, uids: Sequence[int], folder: str) -> dict[int, int]:
        """UID MOVE (RFC 6851). Returns what COPYUID proves: it maps the UID here to the UID there. An `OK` proves nothing.

        Raises:
            CommandRefused: even then some mails may have been moved, or, on Exchange, all of them: look.
        """
        return self._copy_or_move("MOVE", uids, folder)

    def copy(self, uids: Sequence[int], folder: str) -> dict[int, int]:
        """UID COPY. Returns what COPYUID proves.

        Raises:
            CommandRefused
        """
        return self._copy_or_move("COPY", uids, folder)

    def _copy_or_move(self, command: str, uids: Sequence[int], folder: str) -> dict[int, int]:
        proved: dict[int, int] = {}
        target = quoted(self._names.octets(folder))
        wanted = frozenset(uids)
        self.expunged = 0
        for uid_set in uid_sets(uids):
            with translating(command):
                answer = self._imap.run("UID", command, uid_set, target)
            self.expunged += answer.expunged
            proved.update(copyuid.read_copyuid(answer.responses, answer.text, wanted))
        return proved

    def flag_deleted(self, uids: Sequence[int]) -> None:
        """Flag mails `\\Deleted`."""
        for uid_set in uid_sets(uids):
            with translating("STORE"):
                self._imap.run("UID", "STORE", uid_set, "+FLAGS.SILENT", "(\\Deleted)")

    def expunge_uids(self, uids: Sequence[int]) -> None:
        """UID EXPUNGE (RFC 4315): it removes exactly these mails, never mails that others have flagged. Needs UIDPLUS."""
        for uid_set in uid_sets(uids):
            with translating("EXPUNGE"):
                self._imap.run("UID", "EXPUNGE", uid_set)

    def append(self, folder: str, raw: bytes, *, flags: Sequence[str], internal_date: datetime) -> None:
        """File a mail in a folder.

        Raises:
            CommandRefused
        """
        octets: Any = self._names.octets(folder)
        with translating("APPEND"):
            self._imap.begin()
            try:
                self._client.append(octets, raw, flags=flags, msg_time=internal_date)
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error as exc:
                raise refused("APPEND", self._last_refusal(exc)) from exc

    def _last_refusal(self, exc: Exception) -> Answer:
        """The server's answer, as far as IMAPClient's error holds it."""
        text = str(exc).partition(": ")[2].removeprefix("b'")
        return self._imap.answer("NO", text.encode("utf-8", "replace"))

    # Rights

    def rights(self, folder: str) -> Rights | None:
        """What this account may do with a folder (MYRIGHTS, RFC 4314 §3.5). None: the server does not say."""
        if "ACL" not in self.capabilities:
            return None
        try:
            with translating("MYRIGHTS"):
                answer = self._imap.run("MYRIGHTS", quoted(self._names.octets(folder)), keep=["MYRIGHTS"])
        except CommandRefused:
            return None
        return rights.read_rights(answer.responses)

    def absent_uid(self) -> int | None:
        """A UID that no mail of the selected folder has or will get: one below UIDNEXT that was not found, otherwise the highest
        possible UID. None: even that one is taken.

        Raises:
            CommandRefused
        """
        found = self._search("ALL")
        if not found.is_answered:
            return None
        taken = set(found.uids)
        last = (self._uidnext or 1) - 1
        # Among this many UIDs at least one is free, if any is. For a larger folder not all UIDs are known.
        looked_at = len(taken) + 1 if len(taken) < search.MAX_FOUND else 0
        free = (uid for uid in range(last, max(0, last - looked_at), -1) if uid not in taken)
        uid = next(free, numbers.MAX_UID)
        return uid if uid not in taken else None

    def end(self) -> None:
        """Log out and close the connection. A dead connection is only closed, because the command would cost its time limit again."""
        if not self._imap.wire.is_dead:
            self._imap.timeout_s = min(self._imap.timeout_s, LOGOUT_TIMEOUT_S)
            with contextlib.suppress(OSError, imaplib.IMAP4.error, MailServerError):
                self._imap.run("LOGOUT")
        self._imap.shutdown()
