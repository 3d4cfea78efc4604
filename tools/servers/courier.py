"""Courier: no MOVE, no UIDNEXT at SELECT, all folders below `INBOX.`."""

import os

from tools.servers.inetd import InetdImapServer, Program
from tools.servers.unpack import COURIER, library_path, unpacked

CAPABILITIES = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT SORT QUOTA IDLE"


class Courier(InetdImapServer):
    """Courier's imapd over Maildir."""

    trash = "INBOX.Trash"
    capabilities = CAPABILITIES

    def locate(self) -> None:
        self._tree = unpacked(COURIER)

    def program_for(self, user: str, tag: str) -> Program:
        maildir = self.folder / user
        for part in ("cur", "new", "tmp"):
            (maildir / part).mkdir(parents=True, exist_ok=True)
        return Program(
            command=[self._tree / "usr/bin/imapd", maildir],
            environment={
                **os.environ,
                "LD_LIBRARY_PATH": library_path(self._tree),
                "AUTHENTICATED": user,
                "AUTHADDR": user,
                "IMAPLOGINTAG": tag,
                "IMAP_CAPABILITY": CAPABILITIES,
                "IMAP_USELOCKS": "0",
                "TCPREMOTEIP": "127.0.0.1",
                "TCPREMOTEPORT": "1",
            },
            greets=False,
        )
