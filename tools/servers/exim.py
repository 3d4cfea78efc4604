"""A real Exim for tests: it takes mail from whoever logs in, and delivers it into the mailboxes of a Dovecot.

Mail for `firma.test` goes into the Maildir of the user with that address. To the sender of a mail for anybody else it returns
a report (RFC 3464). Debian's Exim has its account compiled in, so proot gives it a file of accounts that knows this name.
"""

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.servers.dovecot import Dovecot
from tools.servers.process import (
    ServerFailed,
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
from tools.servers.unpack import EXIM, PROOT, installed_folder, library_path, unpacked

TIMEOUT_S = 60.0
ACCOUNT = "Debian-exim"
ATTEMPTS = 3
"""Somebody else may be given the same free port."""


class Exim:
    """An Exim on a free loopback port, before a Dovecot with Maildir. Use as a context manager. Users and the password are
    Dovecot's; a user exists when somebody has logged in to its mailbox."""

    host = "127.0.0.1"

    def __init__(self, dovecot: Dovecot) -> None:
        self._dovecot = dovecot
        self._account = server_account()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._folder = work_folder("exim-", self._account)
        try:
            command = self._command()
            for _ in range(ATTEMPTS):
                if self._is_started(command):
                    return self
            raise ServerFailed(f"Exim did not start:\n{self.log()}")
        except BaseException:
            self._stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def login_of(self, user: str) -> dict[str, Any]:
        """The `smtp` of a connector that sends as this user."""
        return {"host": self.host, "port": self.port, "security": "none", "username": user}

    def log(self) -> str:
        """What the server has logged so far."""
        files = [*self._folder.glob("log/*"), self._folder / "output.log"]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def _command(self) -> list[str | Path]:
        tree = within_reach(unpacked(EXIM), self._account, self._folder)
        trees = [tree]
        if installed_folder(PROOT) is not None:
            proot = find_program("proot") or Path("proot")
        else:
            trees.append(within_reach(unpacked(PROOT), self._account, self._folder))
            proot = trees[-1] / "usr/bin/proot"
        self._environment = {"LD_LIBRARY_PATH": library_path(*trees), "PROOT_TMP_DIR": str(self._folder)}
        # The package's own file is setuid, and the loader gives such a program no other libraries.
        program = self._folder / "exim"
        shutil.copyfile(tree / "usr/sbin/exim4", program)
        program.chmod(0o755)
        for name in ("spool", "log"):
            self._give(self._folder / name)
        bindings = [word for binding in self._accounts() for word in ("-b", binding)]
        return [proot, *bindings, program, "-C", self._folder / "exim.conf", "-bdf"]

    def _accounts(self) -> list[str]:
        uid, gid = self._account.uid, self._account.gid
        lines = {
            "passwd": f"{ACCOUNT}:x:{uid}:{gid}::/nonexistent:/bin/false",
            "group": f"{ACCOUNT}:x:{gid}:",
        }
        for name, line in lines.items():
            (self._folder / name).write_text(f"{line}\n{Path('/etc', name).read_text()}")
        return [f"{self._folder / name}:/etc/{name}" for name in lines]

    def _give(self, path: Path) -> None:
        path.mkdir()
        if os.geteuid() == 0:
            os.chown(path, self._account.uid, self._account.gid)

    def _is_started(self, command: list[str | Path]) -> bool:
        self.port = free_port()
        (self._folder / "exim.conf").write_text(self._configuration())
        process = start(command, self._account, self._folder, environment=self._environment, die_with="QUIT")
        self._process = process
        wait_until(lambda: process.poll() is not None or greets(self.port), TIMEOUT_S, "Exim's greeting")
        return process.poll() is None

    def _stop(self) -> None:
        if self._process is not None:
            end(self._process, grace_s=0.3)
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _configuration(self) -> str:
        return f"""\
exim_path = {self._folder}/exim
spool_directory = {self._folder}/spool
log_file_path = {self._folder}/log/%slog
pid_file_path = {self._folder}/exim.pid
local_interfaces = {self.host}
daemon_smtp_ports = {self.port}
primary_hostname = mail.firma.test
qualify_domain = firma.test
deliver_drop_privilege = true
disable_ipv6 = true
keep_environment = LD_LIBRARY_PATH : PROOT_TMP_DIR
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
acl_smtp_rcpt = rcpt
acl_smtp_data = data

begin acl
rcpt:
  accept authenticated = *
  deny   message = 5.7.1 Log in first
data:
  accept

begin routers
mailbox:
  driver = accept
  domains = firma.test
  address_data = ${{lookup{{$local_part@$domain}}dsearch,filter=dir{{{self._dovecot.mail_folder}}}{{$value}}fail}}
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {self._dovecot.mail_folder}/$address_data/Maildir
  create_directory = false
  maildir_format
  delivery_date_add
  envelope_to_add
  return_path_add

begin retry
* * F,1h,1m

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if eq{{$auth3}}{{{self._dovecot.password}}}}}
  server_set_id = $auth2
"""
