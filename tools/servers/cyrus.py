"""Cyrus: everything of the RFCs, in a spool that can be taken away while it works."""

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.servers.inetd import InetdImapServer
from tools.servers.process import (
    end,
    free_port,
    greets,
    server_account,
    start,
    wait_until,
    within_reach,
    work_folder,
)
from tools.servers.unpack import CYRUS, library_path, unpacked

START_TIMEOUT_S = 60.0
ADMIN = "cyrus"
# Indexes lie apart from the mails, as in large installations: with the mails away a folder can still be selected.
SETTINGS = """\
configdirectory: {folder}/conf
proc_path: {folder}/proc
mboxname_lockpath: {folder}/lock
defaultpartition: default
partition-default: {folder}/spool
metapartition-default: {folder}/meta
metapartition_files: header index cache expunge annotations
idlesocket: {folder}/idle
lmtpsocket: {folder}/lmtp
notifysocket: {folder}/notify
cyrus_user: {account.name}
cyrus_group: {account.group}
admins: {admin}
allowplaintext: yes
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN
altnamespace: yes
unixhierarchysep: yes
"""
SERVICES = """\
START {{
  recover cmd="{programs}/ctl_cyrusdb -r -C {folder}/imapd.conf"
}}
SERVICES {{
  imap cmd="{programs}/imapd -C {folder}/imapd.conf" listen="127.0.0.1:{port}" prefork=0
}}
EVENTS {{
}}
"""


class Cyrus(InetdImapServer):
    """Cyrus' master and imapd, run without root. Any user name logs in, with any password."""

    def __enter__(self) -> Self:
        account = server_account()
        self.folder = work_folder("cyrus-", account)
        try:
            tree = within_reach(unpacked(CYRUS), account, self.folder)
            self.port = free_port()
            values = {
                "folder": self.folder,
                "account": account,
                "admin": ADMIN,
                "port": self.port,
                "programs": tree / "usr/lib/cyrus/bin",
            }
            (self.folder / "imapd.conf").write_text(SETTINGS.format_map(values))
            (self.folder / "cyrus.conf").write_text(SERVICES.format_map(values))
            for name in ("conf", "conf/socket", "proc", "lock", "spool", "meta"):
                (self.folder / name).mkdir()
                shutil.chown(self.folder / name, account.uid, account.gid)
            command: list[str | Path] = [tree / "usr/lib/cyrus/bin/master", "-D", "-p", self.folder / "pid"]
            command += ["-C", self.folder / "imapd.conf", "-M", self.folder / "cyrus.conf"]
            (plugins,) = tree.glob("usr/lib/*/sasl2")
            environment = {"LD_LIBRARY_PATH": library_path(tree), "SASL_PATH": str(plugins)}
            self._process = start(command, account, self.folder, die_with="TERM", environment=environment)
            wait_until(
                lambda: self._process.poll() is not None or greets(self.port), START_TIMEOUT_S, "Cyrus"
            )
            assert self._process.poll() is None, (self.folder / "output.log").read_text()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if process := getattr(self, "_process", None):
            end(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_user(self) -> str:
        user = f"user{next(self._users)}"
        with self.client(ADMIN) as client:
            client.create_folder(f"user/{user}")
        with self.client(user) as client:
            client.create_folder(self.trash)
        return user

    def take_spool_away(self) -> None:
        """The mails are gone from under the running server, as when a disk is unmounted; their index is not."""
        (self.folder / "spool").rename(self.folder / "away")

    def give_spool_back(self) -> None:
        """What was taken away is back; nothing happens if it was not."""
        if (self.folder / "away").exists():
            shutil.rmtree(self.folder / "spool", ignore_errors=True)
            (self.folder / "away").rename(self.folder / "spool")
