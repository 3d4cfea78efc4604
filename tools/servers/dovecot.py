"""A real Dovecot for tests: one process tree for a session of tests, tests apart by user.

Any user name logs in with the server's password (another password is a wrong one); `new_user` gives a mailbox
nobody else has. An unpacked Dovecot has its paths compiled in (plugin folder, doveconf), so proot maps these;
that costs a test some milliseconds a command and no privilege.
"""

import contextlib
import imaplib
import itertools
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from imapclient import IMAPClient, imap_utf7

from tools.servers.certificates import Certificates
from tools.servers.dovecot_config import SPECIAL_USE, DovecotConfig, MailFormat
from tools.servers.process import (
    ServerFailed,
    command_as,
    end,
    find_program,
    free_port,
    greets,
    server_account,
    start,
    wait_until,
    within_reach,
    work_folder,
)
from tools.servers.unpack import DOVECOT, PROOT, installed_folder, library_path, unpacked

COMPILED_IN = ("usr/lib/dovecot", "usr/share/dovecot", "usr/bin/doveconf")
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class StoredMessage:
    """One message as the server gives it."""

    uid: int
    flags: frozenset[str]  # without \\Recent, which tells of the reading session, not of the message
    internal_date: datetime  # aware
    raw: bytes


class Dovecot:
    """A Dovecot on a free loopback port. Use as a context manager, or `start` and `stop`.

    With certificates, `port` offers STARTTLS and `tls_port` is IMAP over TLS; without them `tls_port` is 0.
    `folders` maps names to special uses ("" for none); all are created on first login.
    `extra` is appended to the configuration, in the language of the version that runs.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        mail_format: MailFormat = "maildir",
        certificates: Certificates | None = None,
        folders: Mapping[str, str] = SPECIAL_USE,
        separator: str = ".",
        password: str = "correct horse",
        extra: str = "",
    ) -> None:
        self.password = password.replace(" ", "-")  # the static passdb of 2.3 splits at spaces
        self.mail_format = mail_format
        self.certificates = certificates
        self.separator = separator
        self.port = 0
        self.tls_port = 0
        self.version = (0, 0)
        self._folders = folders
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None
        self._users = itertools.count(1)
        self._files = itertools.count(1)
        self._account = server_account()

    def start(self) -> Self:
        """Start and wait for the greeting. Raises ServerMissing if there is no Dovecot."""
        self._folder = work_folder("dovecot-", self._account)
        try:
            self._locate()
            self._start_on_free_port()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and forget its mail."""
        if self._process is not None:
            end(self._process, pid=self._master_pid(), grace_s=0.3)  # its mail is thrown away
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What tests use

    def new_user(self) -> str:
        """A user name that has an empty mailbox and belongs to the caller."""
        return f"user{next(self._users)}-{secrets.token_hex(4)}@firma.test"

    @contextlib.contextmanager
    def client(self, user: str) -> Iterator[IMAPClient]:
        """A second client, logged in, independent of the code under test; dates come aware."""
        connection = IMAPClient(self.host, self.port, ssl=False, timeout=TIMEOUT_S)
        connection.normalise_times = False
        try:
            connection.login(user, self.password)
            yield connection
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                connection.logout()

    def deliver(
        self,
        user: str,
        raw: bytes,
        folder: str = "INBOX",
        *,
        flags: Sequence[str] = (),
        internal_date: datetime | None = None,
    ) -> int:
        """Append one message and return its UID (RFC 4315 APPENDUID)."""
        return self.deliver_all(user, [raw], folder, flags=flags, internal_date=internal_date)[0]

    def deliver_all(
        self,
        user: str,
        raws: Sequence[bytes],
        folder: str = "INBOX",
        *,
        flags: Sequence[str] = (),
        internal_date: datetime | None = None,
    ) -> list[int]:
        """Append the messages over one connection; their UIDs in the same order.

        The octets are sent as given. Dovecot itself turns a bare LF into CRLF when it is fetched.
        """
        connection = imaplib.IMAP4(self.host, self.port, TIMEOUT_S)
        with connection:
            connection.login(user, self.password)
            return [self._append(connection, raw, folder, flags, internal_date) for raw in raws]

    def put_in_maildir(
        self, user: str, raw: bytes, folder: str = "INBOX", internal_date: datetime | None = None
    ) -> Path:
        """Lay the octets straight into the Maildir, for mail that no APPEND brings in.

        That is mail with NUL (which Dovecot fetches as 0x80) and mail of 0 octets.
        """
        if self.mail_format != "maildir":
            raise ValueError(f"no Maildir in a server with {self.mail_format}")
        with self.client(user) as client:
            if not client.folder_exists(folder):
                client.create_folder(folder)
            client.select_folder(folder, readonly=True)  # lays out the folders of a first-time user
        home = self._folder / "mail" / user / "Maildir"
        if folder.upper() != "INBOX":
            home /= "." + imap_utf7.encode(folder.replace(self.separator, ".")).decode("ascii")
        name = f"{int(time.time())}.M{next(self._files)}P{os.getpid()}.tests"
        path = home / "tmp" / name
        path.write_bytes(raw)
        if internal_date is not None:  # Dovecot takes the file's time for INTERNALDATE
            os.utime(path, (internal_date.timestamp(),) * 2)
        self._give(path)
        return path.rename(home / "new" / name)

    def messages(self, user: str, folder: str = "INBOX") -> list[StoredMessage]:
        """All messages of the folder in UID order, read without setting \\Seen; none if there is no folder."""
        with self.client(user) as client:
            if not client.folder_exists(folder):
                return []
            client.select_folder(folder, readonly=True)
            found = client.fetch(client.search("ALL"), ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"])
        return [
            StoredMessage(
                uid=uid,
                flags=frozenset(flag.decode() for flag in data[b"FLAGS"] if flag != b"\\Recent"),
                internal_date=data[b"INTERNALDATE"],
                raw=data[b"BODY[]"],
            )
            for uid, data in sorted(found.items())
        ]

    @property
    def mail_folder(self) -> Path:
        """The folder with a folder for each user who has logged in."""
        return self._folder / "mail"

    def doveadm(self, *args: str) -> str:
        """Run doveadm against this server; its output. ServerFailed with its error when it fails."""
        command = [*self._prefix, self._programs["doveadm"], "-c", self._folder / "dovecot.conf", *args]
        return self._output_of(command)

    def set_uid_validity(self, user: str, value: int, folder: str = "INBOX") -> None:
        """Give the folder another UIDVALIDITY, as a restored or rebuilt mailbox has."""
        self.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(value), folder)

    def set_next_uid(self, user: str, value: int, folder: str = "INBOX") -> None:
        """Let the folder's next message have at least this UID."""
        self.doveadm("mailbox", "update", "-u", user, "--min-next-uid", str(value), folder)

    def log(self) -> str:
        """What the server has logged so far."""
        files = [self._folder / "dovecot.log", self._folder / "output.log"]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    # The paths of the programs

    def _locate(self) -> None:
        installed = installed_folder(DOVECOT)
        self._prefix: list[str | Path] = []
        self._environment: dict[str, str] = {}
        if installed is not None:
            doveadm = find_program("doveadm") or installed / "doveadm"
            self._programs = {"dovecot": installed / "dovecot", "doveadm": doveadm}
            return
        tree = within_reach(unpacked(DOVECOT), self._account, self._folder)
        self._programs = {"dovecot": tree / "usr/sbin/dovecot", "doveadm": tree / "usr/bin/doveadm"}
        trees = [tree]
        if installed_folder(PROOT) is not None:
            proot = find_program("proot") or Path("proot")
        else:
            trees.append(within_reach(unpacked(PROOT), self._account, self._folder))
            proot = trees[-1] / "usr/bin/proot"
        bindings = [f"{tree / path}:/{path}" for path in COMPILED_IN if (tree / path).exists()]
        bindings += self._name_packaged_accounts()
        self._prefix = [proot, *(word for binding in bindings for word in ("-b", binding))]
        self._environment = {"LD_LIBRARY_PATH": library_path(*trees), "PROOT_TMP_DIR": str(self._folder)}

    def _name_packaged_accounts(self) -> list[str]:
        """Bindings of a passwd and a group file that know the accounts the package would have made.

        2.4 insists that its default accounts exist even where the configuration names others (2.4.1-4,
        "default_login_user doesn't exist: dovenull"). Here they are names of the account it runs as.
        """
        uid, gid = self._account.uid, self._account.gid
        lines = {
            "passwd": [f"{name}:x:{uid}:{gid}::/nonexistent:/bin/false" for name in ("dovenull", "dovecot")],
            "group": [f"{name}:x:{gid}:" for name in ("dovenull", "dovecot")],
        }
        for name, additions in lines.items():
            known = Path("/etc", name).read_text().rstrip("\n")
            (self._folder / name).write_text("\n".join([known, *additions, ""]))
        return [f"{self._folder / name}:/etc/{name}" for name in lines]

    # Starting and ending

    def _start_on_free_port(self) -> None:
        version = self.version = self._version()
        for part in ("run", "state", "mail"):
            self._give(self._folder / part, make_folder=True)
        certificate = None
        if self.certificates is not None:
            certificate = self._folder / "server.pem"
            certificate.write_bytes(self.certificates.server_file.read_bytes())
            self._give(certificate)
        config = DovecotConfig(
            self._folder,
            self._account,
            self.password,
            self.mail_format,
            self.separator,
            certificate,
            self._folders,
            self._extra,
        )
        file = self._folder / "dovecot.conf"
        for attempt in range(3):
            self.port, self.tls_port = free_port(), free_port() if certificate else 0
            file.write_text(config.text(version, self.port, self.tls_port))
            command = [*self._prefix, self._programs["dovecot"], "-F", "-c", file]
            # SIGTERM makes a tracer leave its traced processes; SIGQUIT makes proot end them.
            self._process = start(
                command,
                self._account,
                self._folder,
                environment=self._environment,
                die_with="QUIT" if self._prefix else "TERM",
            )
            with contextlib.suppress(ServerFailed):
                wait_until(self._is_up_or_dead, TIMEOUT_S, "Dovecot's greeting")
            if self._process.poll() is None and greets(self.port):
                return
            taken = "already in use" in self.log()  # somebody else was given the same free port
            if attempt == 2 or not taken:
                break
            end(self._process)
        raise ServerFailed(f"Dovecot did not start:\n{self.log()}")

    def _is_up_or_dead(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or greets(self.port)

    def _master_pid(self) -> int | None:
        """The server's own pid, which is not the started one below proot."""
        with contextlib.suppress(OSError, ValueError):
            return int((self._folder / "run" / "master.pid").read_text())
        return None

    def _version(self) -> tuple[int, int]:
        text = self._output_of([*self._prefix, self._programs["dovecot"], "--version"])
        major, minor = re.findall(r"[0-9]+", text)[:2]
        return int(major), int(minor)

    def _output_of(self, command: Sequence[str | Path]) -> str:
        done = subprocess.run(
            command_as(self._account, command),
            cwd=self._folder,
            env={**os.environ, **self._environment},
            capture_output=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        if done.returncode:
            raise ServerFailed(f"{' '.join(map(str, command))}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()

    def _give(self, path: Path, *, make_folder: bool = False) -> None:
        """Make the path the server's own; under root we made it, and another account is to use it."""
        if make_folder:
            path.mkdir()
        if os.geteuid() == 0:
            os.chown(path, self._account.uid, self._account.gid)

    def _append(
        self,
        connection: imaplib.IMAP4,
        raw: bytes,
        folder: str,
        flags: Sequence[str],
        internal_date: datetime | None,
    ) -> int:
        # Not IMAP4.append: it rewrites line ends before sending, and tests want the octets they gave.
        quoted = f'"{imap_utf7.encode(folder).decode("ascii")}"'
        date = imaplib.Time2Internaldate(internal_date) if internal_date else ""
        connection.literal = raw  # type: ignore[assignment]
        status, answer = connection._simple_command("APPEND", quoted, f"({' '.join(flags)})", date)
        found = re.search(rb"APPENDUID [0-9]+ ([0-9]+)", answer[0] or b"")
        if status != "OK" or found is None:
            raise ServerFailed(f"APPEND to {folder} of {len(raw)} octets: {answer!r}")
        return int(found.group(1))
