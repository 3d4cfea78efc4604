"""IMAPClient over our own connection: it writes APPEND."""

import imapclient

from app.adapters.imap.connection import WiredIMAP4
from app.adapters.imap.quoting import quoted


class Client(imapclient.IMAPClient):  # type: ignore[misc]
    """IMAPClient over our own connection. Its debug level of 5, which formats every literal, is turned off."""

    def __init__(self, imap: WiredIMAP4) -> None:
        self._given = imap
        super().__init__(host="", ssl=False)
        self._imap.debug = 0
        self._imap._mesg = lambda *_: None

    def _create_IMAP4(self) -> WiredIMAP4:  # noqa: N802
        return self._given

    def _set_read_timeout(self) -> None:
        """The wire sets timeouts, command by command."""

    def _normalise_folder(self, folder_name: bytes) -> bytes:
        """Names are already the octets to send."""
        return quoted(folder_name)
