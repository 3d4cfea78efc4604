"""Mailboxes over IMAP; the only importer of IMAPClient. Frozen values in and out, no type of the library's.

login       connecting, TLS, login: gives a session
authentication  by which method, what a refusal means, what is said after it
session     what the gateway does with a mailbox, command by command
connection  imaplib underneath IMAPClient: sends commands, reads answers
answers/    what servers say: pure, a file for each kind of answer
wire        the socket: lines and literals, deadline and caps
errors      what goes wrong, as the gateway's own errors
"""

from app.adapters.imap.answers.folder_status import FolderStatus
from app.adapters.imap.answers.listing import SPECIAL_USES
from app.adapters.imap.answers.status import Selected
from app.adapters.imap.login import connect
from app.adapters.imap.session import ImapSession
from app.adapters.imap.values import ConnectionPolicy, FetchedMail, Folder, MailInfo, ServerAddress

__all__ = [
    "SPECIAL_USES",
    "ConnectionPolicy",
    "FetchedMail",
    "Folder",
    "FolderStatus",
    "ImapSession",
    "MailInfo",
    "Selected",
    "ServerAddress",
    "connect",
]
