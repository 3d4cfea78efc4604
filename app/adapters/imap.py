"""An IMAP session as the gateway uses it; the only importer of IMAPClient. Frozen values in and out.

What the library does not guard is guarded here: folder names are checked before they reach the wire, answers
are matched to the UIDs asked for, a `NIL` body is told from an empty one (a server sends it for a mail that
another client has removed: Dovecot 2.3, RFC 2180 §4.1.3), and COPYUID is kept, the only proof of a move. The
library's debug level of 5, which formats every literal and makes a fetch four times slower, is turned off.

A session is for one thread. After an error that is not a refusal it is unusable: end it.
"""

import contextlib
import imaplib
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import imapclient
from imapclient import imap_utf7
from imapclient.response_parser import parse_fetch_response

from app.adapters import imap_wire
from app.adapters.imap_errors import translating
from app.adapters.imap_wire import WiredIMAP4
from app.adapters.network import NetworkPolicy
from app.adapters.uid_sets import copied, copyuid_in, uid_sets
from app.errors import (
    CommandRefused,
    ConnectionLost,
    LoginRefused,
    MailServerError,
    MailServerTimeout,
    MailServerUnavailable,
    TooManyConnections,
)

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a mail server is, and as whom to log in."""

    host: str
    port: int
    security: str
    """`tls`, `starttls` or `none`."""
    username: str


@dataclass(frozen=True, slots=True)
class Access:
    """How this installation reaches mail servers."""

    network: NetworkPolicy
    tls: ssl.SSLContext
    connect_timeout_s: float
    command_timeout_s: float
    max_literal_octets: int


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a mailbox, by its decoded name."""

    name: str
    delimiter: str | None
    special_use: frozenset[str]
    """RFC 6154 attributes, as `\\Trash`."""
    selectable: bool


@dataclass(frozen=True, slots=True)
class Selected:
    """What SELECT said."""

    uidvalidity: int | None
    uidnext: int | None
    exists: int
    uid_not_sticky: bool


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """What STATUS said of a folder that is not selected."""

    uidvalidity: int | None
    uidnext: int | None
    messages: int


@dataclass(frozen=True, slots=True)
class MailInfo:
    """What is known of a mail before it is fetched. `size_octets` is the server's word, not proof."""

    uid: int
    size_octets: int
    internal_date: datetime | None


@dataclass(frozen=True, slots=True)
class FetchedMail:
    """A mail as received. `raw` is None where the server had none to give."""

    uid: int
    raw: bytes | None
    internal_date: datetime | None


class _Client(imapclient.IMAPClient):  # type: ignore[misc]
    """IMAPClient over our own connection."""

    def __init__(self, imap: WiredIMAP4) -> None:
        self._given = imap
        super().__init__(host="", ssl=False)
        self.normalise_times = False
        self._imap.debug = 0
        self._imap._mesg = lambda *_: None

    def _create_IMAP4(self) -> WiredIMAP4:  # noqa: N802
        return self._given

    def _set_read_timeout(self) -> None:
        """The wire sets timeouts, command by command."""


class ImapSession:
    """One logged-in connection."""

    def __init__(self, imap: WiredIMAP4, client: _Client, max_literal_octets: int) -> None:
        self._imap = imap
        self._client = client
        self._imap.wire.max_literal_octets = max_literal_octets
        self._imap.wire.max_response_octets = max_literal_octets + imap_wire.MAX_LINE_OCTETS
        self.capabilities: frozenset[str] = frozenset()

    @property
    def can_move(self) -> bool:
        # Gmail's folders are labels: what COPY and EXPUNGE do there depends on the user's settings. It has MOVE.
        return "MOVE" in self.capabilities or "X-GM-EXT-1" in self.capabilities

    @property
    def alert(self) -> str | None:
        """What the server last asked to show to its user, as plain text."""
        return self._imap.alert

    @property
    def can_expunge_uids(self) -> bool:
        return "UIDPLUS" in self.capabilities

    def refresh_capabilities(self) -> None:
        """Ask again: they differ before and after STARTTLS and login."""
        with self._translating("CAPABILITY"):
            self._imap.untagged("CAPABILITY")
            self._imap.run("CAPABILITY")
            words = b" ".join(self._imap.untagged("CAPABILITY")).decode("ascii", "replace")
        self.capabilities = frozenset(words.upper().split())

    def list_folders(self) -> list[Folder]:
        """All folders, with their special uses where the server knows them."""
        with self._translating("LIST"):
            listed = self._list()
            special = self._list("(SPECIAL-USE)") if "SPECIAL-USE" in self.capabilities else []
        uses: dict[str, set[str]] = {}
        for flags, _delimiter, name in [*listed, *special]:
            uses.setdefault(_text(name), set()).update(_flag(flag) for flag in flags)
        folders = []
        for _flags, delimiter, name in listed:
            attributes = uses[_text(name)]
            folders.append(
                Folder(
                    name=_text(name),
                    delimiter=_text(delimiter) if delimiter is not None else None,
                    special_use=frozenset(attributes & SPECIAL_USES),
                    selectable=not attributes & {"\\Noselect", "\\Nonexistent"},
                )
            )
        return folders

    def personal_prefix(self) -> str:
        """The prefix of the personal namespace (RFC 2342), as `INBOX.`; empty where there is none."""
        if "NAMESPACE" not in self.capabilities:
            return ""
        with self._translating("NAMESPACE"):
            personal = self._client.namespace().personal
        return _text(personal[0][0]) if personal else ""

    def select(self, folder: str) -> Selected:
        """Select a folder for reading and moving; sets no flag.

        Raises:
            CommandRefused: there is no such folder, or it cannot be selected.
            FolderReadOnly: mail cannot be moved out of it.
        """
        with self._translating("SELECT"):
            self._imap.wire.start_command(self._imap.timeout_s)
            answer = self._client.select_folder(_checked_name(folder))
        return self._selected(answer)

    def examine(self, folder: str) -> Selected:
        """Select a folder for looking only.

        Raises:
            CommandRefused
        """
        with self._translating("EXAMINE"):
            self._imap.wire.start_command(self._imap.timeout_s)
            answer = self._client.select_folder(_checked_name(folder), readonly=True)
        return self._selected(answer)

    def _selected(self, answer: dict[bytes, Any]) -> Selected:
        return Selected(
            uidvalidity=answer.get(b"UIDVALIDITY"),
            uidnext=answer.get(b"UIDNEXT"),
            exists=int(answer.get(b"EXISTS", 0)),
            uid_not_sticky="UIDNOTSTICKY" in self._imap.untagged_responses,
        )

    def status(self, folder: str) -> FolderStatus:
        """The counters of a folder, without selecting it.

        Raises:
            CommandRefused: there is no such folder.
        """
        with self._translating("STATUS"):
            self._imap.wire.start_command(self._imap.timeout_s)
            answer = self._client.folder_status(_checked_name(folder), ["UIDVALIDITY", "UIDNEXT", "MESSAGES"])
        return FolderStatus(
            answer.get(b"UIDVALIDITY"), answer.get(b"UIDNEXT"), int(answer.get(b"MESSAGES", 0))
        )

    def create_folder(self, folder: str) -> None:
        """Create and subscribe a folder.

        Raises:
            CommandRefused
        """
        with self._translating("CREATE"):
            self._imap.wire.start_command(self._imap.timeout_s)
            self._client.create_folder(_checked_name(folder))
            self._client.subscribe_folder(_checked_name(folder))

    def search_undeleted(self) -> list[int]:
        """The UIDs in the selected folder that nobody has flagged `\\Deleted`, ascending."""
        with self._translating("SEARCH"):
            self._imap.run("NOOP")
            return sorted(self._uid_search("UNDELETED"))

    def search_undeleted_since(self, day: date) -> list[int]:
        """As `search_undeleted`, those whose INTERNALDATE is on that day or later, by the server's time zone."""
        with self._translating("SEARCH"):
            return sorted(self._uid_search(f"UNDELETED SINCE {day.day}-{_MONTHS[day.month - 1]}-{day.year}"))

    def next_uid(self, at_least: int) -> int:
        """One above the highest UID there is in the selected folder now, or `at_least` where that is lower: mail
        that comes from now on has this UID or a higher one."""
        with self._translating("SEARCH"):
            self._imap.run("NOOP")
        return max([at_least - 1, *self.search_from(at_least)]) + 1

    def search_present(self, uids: Iterable[int]) -> set[int]:
        """Those of the UIDs that are in the selected folder, flagged `\\Deleted` or not."""
        return self._search_sets(uids, "")

    def search_flagged_deleted(self, uids: Iterable[int]) -> set[int]:
        """Those of the UIDs that are in the selected folder and flagged `\\Deleted`."""
        return self._search_sets(uids, " DELETED")

    def search_from(self, first_uid: int) -> list[int]:
        """The UIDs of the selected folder from this one up, ascending."""
        with self._translating("SEARCH"):
            # `n:*` always includes the last mail, even below n (RFC 9051 §6.4.8).
            return sorted(uid for uid in self._uid_search(f"UID {first_uid}:*") if uid >= first_uid)

    def search_header(self, name: str, value: str) -> list[int]:
        """The UIDs in the selected folder whose header field holds the value."""
        with self._translating("SEARCH"):
            return sorted(self._uid_search(f"HEADER {name} {_quoted(value.encode('ascii')).decode()}"))

    def fetch_infos(self, uids: Sequence[int]) -> list[MailInfo]:
        """Size and INTERNALDATE of mails, in the order of their UIDs; those that are gone are not there."""
        infos = []
        for uid_set in uid_sets(uids):
            with self._translating("FETCH"):
                answers = self._uid_fetch(uid_set, "(UID RFC822.SIZE INTERNALDATE)")
            infos += [
                MailInfo(uid, int(items.get(b"RFC822.SIZE") or 0), _date(items.get(b"INTERNALDATE")))
                for uid, items in answers.items()
            ]
        wanted = set(uids)
        return sorted((info for info in infos if info.uid in wanted), key=lambda info: info.uid)

    def fetch_mails(self, uids: Sequence[int]) -> list[FetchedMail]:
        """The mails as received, in the order asked for. Sets no `\\Seen` (BODY.PEEK)."""
        found: dict[int, dict[bytes, Any]] = {}
        for uid_set in uid_sets(uids):
            with self._translating("FETCH"):
                found.update(self._uid_fetch(uid_set, "(UID INTERNALDATE BODY.PEEK[])"))
        mails = []
        for uid in uids:
            items = found.pop(uid, {})
            raw = items.get(b"BODY[]")
            mails.append(
                FetchedMail(uid, raw if isinstance(raw, bytes) else None, _date(items.get(b"INTERNALDATE")))
            )
        return mails

    def fetch_header(self, uid: int, max_octets: int) -> bytes:
        """The beginning of a mail's header; empty where the server gives none."""
        with self._translating("FETCH"):
            answers = self._uid_fetch(str(uid), f"(UID BODY.PEEK[HEADER]<0.{max_octets}>)")
        items = answers.get(uid, {})
        for key, value in items.items():
            if key.startswith(b"BODY[HEADER]") and isinstance(value, bytes):
                return value
        return b""

    def move(self, uids: Sequence[int], folder: str) -> dict[int, int]:
        """UID MOVE (RFC 6851). Gives what COPYUID proves: UID here to UID there; an `OK` proves nothing.

        Raises:
            CommandRefused: also where a part has been moved, or, on Exchange, all of it: look.
        """
        return self._copy_or_move("MOVE", uids, folder)

    def copy(self, uids: Sequence[int], folder: str) -> dict[int, int]:
        """UID COPY; gives what COPYUID proves.

        Raises:
            CommandRefused
        """
        return self._copy_or_move("COPY", uids, folder)

    def flag_deleted(self, uids: Sequence[int]) -> None:
        """Flag mails `\\Deleted`."""
        for uid_set in uid_sets(uids):
            with self._translating("STORE"):
                self._imap.run("UID", "STORE", uid_set, "+FLAGS.SILENT", "(\\Deleted)")

    def expunge_uids(self, uids: Sequence[int]) -> None:
        """UID EXPUNGE (RFC 4315): exactly these, never what others have flagged. Needs UIDPLUS."""
        for uid_set in uid_sets(uids):
            with self._translating("EXPUNGE"):
                self._imap.run("UID", "EXPUNGE", uid_set)

    def append(self, folder: str, raw: bytes, *, flags: Sequence[str], internal_date: datetime) -> None:
        """File a mail in a folder."""
        with self._translating("APPEND"):
            self._imap.wire.start_command(self._imap.timeout_s)
            self._client.append(_checked_name(folder), raw, flags=flags, msg_time=internal_date)

    def unselect(self) -> None:
        """Leave the selected folder without expunging (CLOSE would expunge what others have flagged)."""
        if "UNSELECT" in self.capabilities:
            with self._translating("UNSELECT"):
                self._imap.run("UNSELECT")

    def end(self) -> None:
        """Log out as far as the connection still allows, and close it."""
        with contextlib.suppress(OSError, imaplib.IMAP4.error, MailServerError):
            self._imap.run("LOGOUT")
        self._imap.shutdown()

    def _list(self, *selection: str) -> list[tuple[Any, Any, Any]]:
        """Flags, delimiter and name of folders; the library has no LIST with a selection (RFC 5258 §3)."""
        self._imap.untagged_responses.pop("LIST", None)
        self._imap.run("LIST", *selection, '""', '"*"')
        lines = self._imap.untagged_responses.pop("LIST", [])
        folders: list[tuple[Any, Any, Any]] = self._client._proc_folder_list(lines)
        return folders

    def _copy_or_move(self, command: str, uids: Sequence[int], folder: str) -> dict[int, int]:
        proved: dict[int, int] = {}
        target = _quoted(imap_utf7.encode(_checked_name(folder)))
        for uid_set in uid_sets(uids):
            with self._translating(command):
                answer = self._imap.run("UID", command, uid_set, target)
                codes = [*self._imap.untagged("COPYUID"), *copyuid_in(answer)]
            for code in codes:
                proved.update(copied(code))
        return proved

    def _search_sets(self, uids: Iterable[int], criteria: str) -> set[int]:
        wanted = set(uids)
        present: set[int] = set()
        for uid_set in uid_sets(sorted(wanted)):
            with self._translating("SEARCH"):
                present.update(self._uid_search(f"UID {uid_set}{criteria}"))
        return present & wanted

    def _uid_search(self, criteria: str) -> list[int]:
        self._imap.untagged("SEARCH")
        self._imap.run("UID", "SEARCH", criteria)
        lines = self._imap.untagged("SEARCH")
        return [int(word) for line in lines for word in line.split() if word.isdigit()]

    def _uid_fetch(self, uid_set: str, items: str) -> dict[int, dict[bytes, Any]]:
        self._imap.untagged_responses.pop("FETCH", None)
        self._imap.run("UID", "FETCH", uid_set, items)
        lines = self._imap.untagged_responses.pop("FETCH", [])
        answers: dict[int, dict[bytes, Any]] = parse_fetch_response(lines, False, True)
        return answers

    @contextlib.contextmanager
    def _translating(self, command: str) -> Iterator[None]:
        with translating(command):
            yield


SPECIAL_USES = frozenset({"\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash"})


@contextlib.contextmanager
def connect(server: ServerAddress, password: str, access: Access) -> Iterator[ImapSession]:
    """A logged-in session, ended when the block ends.

    Raises:
        HostUnreachable, CertificateRefused, MailServerTimeout, ConnectionLost
        LoginRefused: user name or password are wrong, as far as the server says.
        TooManyConnections, Throttled, MailServerUnavailable: the server does not want us now.
    """
    try:
        session = _open(server, access)
    except (MailServerUnavailable, MailServerTimeout) as exc:
        exc.turned_away = True
        raise
    try:
        _login(session, server, password)
        session.refresh_capabilities()
        yield session
    except MailServerError as exc:
        exc.alert = session.alert
        raise
    finally:
        session.end()


def _open(server: ServerAddress, access: Access) -> ImapSession:
    # Plain text is spoken only in the allowed private networks, whatever the name answers by now.
    def open_wire() -> imap_wire.Wire:
        return imap_wire.open_wire(
            lambda: access.network.connect(
                server.host,
                server.port,
                access.connect_timeout_s,
                private_only=server.security == "none",
            ),
            access.tls if server.security == "tls" else None,
            server.host,
        )

    with translating("CONNECT"):
        imap = WiredIMAP4(open_wire, access.command_timeout_s)
    try:
        with translating("CONNECT"):
            # A server that greets with PREAUTH would keep us from STARTTLS (CVE-2021-39272), and takes no login.
            if imap.state != "NONAUTH":
                raise ConnectionLost(command="PREAUTH")
            client = _Client(imap)
            if server.security == "starttls":
                imap.start_tls(access.tls, server.host)
        session = ImapSession(imap, client, access.max_literal_octets)
        session.refresh_capabilities()
    except BaseException:
        imap.shutdown()
        raise
    return session


def _login(session: ImapSession, server: ServerAddress, password: str) -> None:
    imap = session._imap
    if "LOGINDISABLED" in session.capabilities and "AUTH=PLAIN" not in session.capabilities:
        raise LoginRefused("The mail server allows no login with a password on this connection.")
    as_plain = not (server.username + password).isascii() or "LOGINDISABLED" in session.capabilities
    try:
        with translating("LOGIN"):
            if as_plain:  # LOGIN takes no UTF-8; SASL PLAIN does (RFC 4616)
                imap.wire.start_command(imap.timeout_s)
                answer = f"\0{server.username}\0{password}".encode()
                typ, data = imap.authenticate_plain(answer)
                if typ != "OK":
                    raise imap_wire.refused("AUTHENTICATE", typ, data[-1] or b"")
            else:
                imap.run("LOGIN", _quoted(server.username.encode()), _quoted(password.encode()))
    except CommandRefused as exc:
        raise _login_error(exc) from exc
    except MailServerUnavailable as exc:
        # Of `[INUSE]` and the like the mailbox is the reason.
        exc.turned_away = exc.response_code == "UNAVAILABLE"
        raise
    imap.state = "AUTH"


def _login_error(refusal: CommandRefused) -> MailServerError:
    """What a refused login means (RFC 5530): only some of them are about the password."""
    told = {"command": "LOGIN", "server_line": refusal.server_line, "response_code": refusal.response_code}
    if refusal.response_code == "LIMIT":
        crowded = TooManyConnections(**told)
        crowded.turned_away = True
        return crowded
    if (refusal.server_line or "").startswith("BAD"):
        return refusal
    return LoginRefused(**told)


def _checked_name(folder: str) -> str:
    """A folder's name, if it can be put on the wire at all: imaplib sends CR and LF through as they are."""
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in folder):
        raise CommandRefused("A folder's name must not contain control characters.")
    return folder


def _quoted(value: bytes) -> bytes:
    """A quoted string (RFC 9051 §4.3)."""
    if any(octet in b"\r\n\0" for octet in value):
        raise CommandRefused("A value for the mail server must not contain line ends.")
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _date(value: Any) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _flag(value: Any) -> str:
    """A folder attribute as RFC 6154 and 9051 spell it."""
    text = _text(value)
    return "\\" + text[1:].capitalize() if text.startswith("\\") else text
