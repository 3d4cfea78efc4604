"""An IMAP server in memory that does what a test says: for answers that no real server can be made to give.

It keeps folders of mails and speaks enough of RFC 9051 for the gateway. A test changes single answers: `on` takes a
pattern of commands and what to answer in the server's stead, `rewrite` changes all octets on their way out. For
whatever a real server does, the tests use a real one.
"""

import base64
import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tools.servers.front import Front

CAPABILITIES = b"IMAP4rev1 UIDPLUS MOVE NAMESPACE UNSELECT SPECIAL-USE LIST-EXTENDED AUTH=PLAIN"
DATE = b'"23-Nov-2026 10:00:00 +0100"'


@dataclass
class ScriptedMail:
    raw: bytes
    date: bytes = DATE
    flags: set[bytes] = field(default_factory=set)


@dataclass
class ScriptedFolder:
    uidvalidity: int
    attributes: bytes = b"\\HasNoChildren"
    listed_as: bytes | None = None
    """The name in the answer to LIST. None: the quoted name."""
    mails: dict[int, ScriptedMail] = field(default_factory=dict)
    uidnext: int = 1

    def add(self, raw: bytes, date: bytes = DATE) -> int:
        uid = self.uidnext
        self.mails[uid] = ScriptedMail(raw, date)
        self.uidnext += 1
        return uid

    def raws(self) -> list[bytes]:
        return [mail.raw for _, mail in sorted(self.mails.items())]


class Session:
    """One connection: what a script may use to answer."""

    def __init__(self, server: "ScriptedImap", connection: socket.socket) -> None:
        self.server = server
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._lines = connection.makefile("rb")
        self.selected: ScriptedFolder | None = None

    def read_line(self) -> bytes:
        """The next line of the client, without its line end. Empty: the client has closed the connection."""
        return self._lines.readline().rstrip(b"\r\n")

    def send(self, octets: bytes) -> None:
        for rewrite in self.server.rewrites:
            octets = rewrite(octets)
        self._connection.sendall(octets)

    def serve(self) -> None:
        self.send(self.server.greeting)
        while line := self._lines.readline():
            tag, _, command = line.rstrip(b"\r\n").partition(b" ")
            command = self._with_literals(command)
            with self.server.lock:
                self.server.commands.append(command.decode("latin-1"))
                if not self._answer(tag, command):
                    return

    def _with_literals(self, command: bytes) -> bytes:
        while announced := re.search(rb"\{(\d+)\}\Z", command):
            self.send(b"+ go on\r\n")
            command += self._lines.read(int(announced[1])) + self.read_line()
        return command

    def _answer(self, tag: bytes, command: bytes) -> bool:
        """Whether the connection stays."""
        for pattern, script in self.server.scripts:
            if pattern.match(command):
                answered = script(self, tag, command)
                if answered is not None:
                    return answered
        verb = command.split(b" ")[0].upper()
        if verb == b"UID":
            verb = b"UID_" + command.split(b" ")[1].upper()
        act: Callable[[bytes], bytes | None] | None = getattr(self, "do_" + verb.decode().lower(), None)
        if act is None:
            self.send(tag + b" BAD unknown command\r\n")
            return True
        text = act(command)
        self.send(tag + b" " + (text or b"OK done") + b"\r\n")
        return verb != b"LOGOUT"

    def do_capability(self, _command: bytes) -> None:
        self.send(b"* CAPABILITY " + self.server.capabilities + b"\r\n")

    def do_noop(self, _command: bytes) -> None:
        """Nothing new."""

    do_login = do_subscribe = do_unselect = do_id = do_noop

    def do_authenticate(self, command: bytes) -> None:
        """PLAIN and LOGIN. It records what the client sends."""
        _, mechanism, *given = command.split(b" ")
        if mechanism.upper() == b"PLAIN":
            octets = given[0] if given else self.ask(b"")
            _, user, password = base64.b64decode(octets).split(b"\0")
        else:
            user, password = (
                base64.b64decode(self.ask(prompt)) for prompt in (b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6")
            )
        self.server.logins.append((mechanism.decode(), user.decode(), password.decode()))

    def ask(self, prompt: bytes) -> bytes:
        self.send(b"+ " + prompt + b"\r\n")
        return self.read_line()

    def do_logout(self, _command: bytes) -> None:
        self.send(b"* BYE bye\r\n")

    def do_namespace(self, _command: bytes) -> None:
        self.send(b'* NAMESPACE (("" "/")) NIL NIL\r\n')

    def do_list(self, _command: bytes) -> None:
        for name, folder in self.server.folders.items():
            shown = folder.listed_as if folder.listed_as is not None else b'"' + name + b'"'
            self.send(b"* LIST (" + folder.attributes + b') "/" ' + shown + b"\r\n")

    def do_create(self, command: bytes) -> None:
        self.server.folders.setdefault(quoted_in(command), ScriptedFolder(3000))

    def do_select(self, command: bytes) -> bytes:
        folder = self.server.folders.get(quoted_in(command))
        if folder is None:
            return b"NO [NONEXISTENT] no such folder"
        self.selected = folder
        self.send(b"* %d EXISTS\r\n* OK [UIDVALIDITY %d] ok\r\n" % (len(folder.mails), folder.uidvalidity))
        self.send(b"* OK [UIDNEXT %d] ok\r\n" % folder.uidnext)
        return b"OK [READ-WRITE] done"

    do_examine = do_select

    def do_status(self, command: bytes) -> bytes | None:
        name = quoted_in(command)
        folder = self.server.folders.get(name)
        if folder is None:
            return b"NO [NONEXISTENT] no such folder"
        counters = (len(folder.mails), folder.uidnext, folder.uidvalidity)
        self.send(b'* STATUS "%s" (MESSAGES %d UIDNEXT %d UIDVALIDITY %d)\r\n' % (name, *counters))
        return None

    def uids(self, uid_set: bytes) -> list[int]:
        """Those of a set that are in the selected folder."""
        assert self.selected is not None
        present = sorted(self.selected.mails)
        last = present[-1] if present else 0
        wanted: set[int] = set()
        for part in uid_set.split(b","):
            low, _, high = part.partition(b":")
            ends = [last if each == b"*" else int(each) for each in (low, high or low)]
            wanted |= {uid for uid in present if min(ends) <= uid <= max(ends)}
        return sorted(wanted)

    def number(self, uid: int) -> int:
        assert self.selected is not None
        return sorted(self.selected.mails).index(uid) + 1

    def do_uid_search(self, command: bytes) -> None:
        assert self.selected is not None
        found = sorted(self.selected.mails)
        for uid_set in re.findall(rb"UID ([0-9:*,]+)", command[4:]):
            found = [uid for uid in found if uid in self.uids(uid_set)]
        if b"DELETED" in command:
            is_wanted = b"UNDELETED" not in command
            mails = self.selected.mails
            found = [uid for uid in found if (b"\\Deleted" in mails[uid].flags) == is_wanted]
        self.send(b"* SEARCH" + b"".join(b" %d" % uid for uid in found) + b"\r\n")

    def do_uid_fetch(self, command: bytes) -> None:
        assert self.selected is not None
        _, _, uid_set, items = command.split(b" ", 3)
        for uid in self.uids(uid_set):
            mail = self.selected.mails[uid]
            parts = [b"UID %d" % uid]
            if b"RFC822.SIZE" in items:
                parts.append(b"RFC822.SIZE %d" % len(mail.raw))
            if b"INTERNALDATE" in items:
                parts.append(b"INTERNALDATE " + mail.date)
            if b"FLAGS" in items:
                parts.append(b"FLAGS (" + b" ".join(mail.flags) + b")")
            body = re.search(rb"BODY\.PEEK\[(HEADER)?\](?:<(\d+)\.(\d+)>)?", items)
            if body is not None:
                raw = mail.raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if body[1] else mail.raw
                start = int(body[2] or 0)
                raw = raw[start : start + int(body[3])] if body[2] else raw
                origin = b"<%d>" % start if body[2] else b""
                parts.append(b"BODY[%s]%s {%d}\r\n%s" % (body[1] or b"", origin, len(raw), raw))
            self.send(b"* %d FETCH (%s)\r\n" % (self.number(uid), b" ".join(parts)))

    def copy(self, command: bytes) -> tuple[list[int], bytes]:
        """Copy the mails that the command names. Returns the UIDs and the response code."""
        assert self.selected is not None
        target = self.server.folders[quoted_in(command)]
        sources = self.uids(command.split(b" ")[2])
        targets = [target.add(self.selected.mails[uid].raw) for uid in sources]
        here, there = (b",".join(b"%d" % uid for uid in uids) for uids in (sources, targets))
        return sources, b"[COPYUID %d %s %s]" % (target.uidvalidity, here, there)

    def expunge(self, uids: Sequence[int]) -> None:
        assert self.selected is not None
        for uid in sorted(uids):
            self.send(b"* %d EXPUNGE\r\n" % self.number(uid))
            del self.selected.mails[uid]

    def do_uid_move(self, command: bytes) -> bytes | None:
        if quoted_in(command) not in self.server.folders:
            return b"NO [TRYCREATE] no such folder"
        sources, code = self.copy(command)
        self.send(b"* OK " + code + b" moved\r\n")
        self.expunge(sources)
        return None

    def do_uid_copy(self, command: bytes) -> bytes:
        return b"OK " + self.copy(command)[1] + b" copied"

    def do_uid_store(self, command: bytes) -> None:
        assert self.selected is not None
        for uid in self.uids(command.split(b" ")[2]):
            self.selected.mails[uid].flags.add(b"\\Deleted")

    def do_uid_expunge(self, command: bytes) -> None:
        assert self.selected is not None
        mails = self.selected.mails
        self.expunge([u for u in self.uids(command.split(b" ")[2]) if b"\\Deleted" in mails[u].flags])


Script = Callable[[Session, bytes, bytes], bool | None]
"""Answers a command (session, tag, command): whether the connection stays, or None: the server answers itself."""


def quoted_in(command: bytes) -> bytes:
    """The name in quotes in a command."""
    found = re.search(rb'"((?:[^"\\]|\\.)*)"', command)
    assert found is not None, command
    name = re.sub(rb"\\(.)", rb"\1", found[1])
    return b"INBOX" if name.upper() == b"INBOX" else name


def says(text: bytes) -> Script:
    """The command is answered with this text, and not carried out."""

    def script(session: Session, tag: bytes, _command: bytes) -> bool:
        session.send(tag + b" " + text + b"\r\n")
        return True

    return script


def hangs_up(session: Session, _tag: bytes, _command: bytes) -> bool:
    """The connection ends."""
    session.send(b"* BYE gone\r\n")
    return False


class ScriptedImap(Front):
    """Listens on a free loopback port for as long as the block lasts. `commands` is what clients have sent."""

    def __init__(
        self,
        mails: Sequence[bytes] = (),
        *,
        capabilities: bytes = CAPABILITIES,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.accepts_after_s = 0.0
        """Before it begins to speak TLS."""
        self.greets_after_s = 0.0
        self.capabilities = capabilities
        self.greeting = b"* OK ready\r\n"
        self.logins: list[tuple[str, str, str]] = []
        """Mechanism, user name and password of each AUTHENTICATE that was answered."""
        self.lock = threading.RLock()
        self.commands: list[str] = []
        self.octets_sent = 0
        self.scripts: list[tuple[re.Pattern[bytes], Script]] = []
        self.rewrites: list[Callable[[bytes], bytes]] = [self._counted]
        self.folders = {b"INBOX": ScriptedFolder(1000), b"Trash": ScriptedFolder(2000, b"\\Trash")}
        for raw in mails:
            self.inbox.add(raw)

    @property
    def inbox(self) -> ScriptedFolder:
        return self.folders[b"INBOX"]

    @property
    def trash(self) -> ScriptedFolder:
        return self.folders[b"Trash"]

    def on(self, pattern: bytes, script: Script) -> None:
        """Have a script answer the commands that match, until `well`."""
        self.scripts.append((re.compile(pattern, re.IGNORECASE | re.DOTALL), script))

    def once(self, pattern: bytes, script: Script) -> None:
        """Have a script answer the next command that matches."""
        left = [script]
        self.on(pattern, lambda *told: left.pop()(*told) if left else None)

    def rewrite(self, pattern: bytes, replacement: bytes | Callable[[re.Match[bytes]], bytes]) -> None:
        """Change everything that matches on its way out."""
        compiled = re.compile(pattern, re.MULTILINE)
        self.rewrites.append(lambda octets: compiled.sub(replacement, octets))

    def well(self) -> None:
        """From now on all is as it should be."""
        self.scripts.clear()

    def sent(self, pattern: str) -> list[str]:
        return [command for command in self.commands if re.match(pattern, command, re.IGNORECASE)]

    def _counted(self, octets: bytes) -> bytes:
        self.octets_sent += len(octets)
        return octets

    def serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            time.sleep(self.accepts_after_s)
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            Session(self, client).serve()
