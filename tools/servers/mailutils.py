"""GNU Mailutils: neither MOVE nor UIDPLUS nor special uses, an INBOX in one file."""

import os

from tools.servers.inetd import InetdImapServer, Program
from tools.servers.unpack import MAILUTILS, library_path, unpacked


class Mailutils(InetdImapServer):
    """Mailutils' imap4d over mbox."""

    capabilities = "IMAP4rev1 NAMESPACE ID IDLE LITERAL+ UNSELECT"

    def locate(self) -> None:
        self._tree = unpacked(MAILUTILS)

    def program_for(self, user: str, tag: str) -> Program:
        home = self.folder / user
        (home / "mail").mkdir(parents=True, exist_ok=True)
        config = home / "imap4d.conf"
        if not config.exists():
            (home / "inbox").touch()
            config.write_text(
                'mode inetd;\npreauth "stdio";\n'
                f'mailbox {{ mailbox-pattern "{home}/inbox"; }};\n'
                f'namespace personal {{ prefix "" {{ directory "{home}/mail"; delimiter "/"; }}; }};\n'
            )
        return Program(
            command=[
                self._tree / "usr/sbin/imap4d",
                "--inetd",
                "--preauth",
                "--no-site-config",
                f"--config-file={config}",
            ],
            environment={**os.environ, "LD_LIBRARY_PATH": library_path(self._tree)},
            greets=True,
        )
