"""Access to mailboxes over IMAP. Only this package imports IMAPClient. Values in and out are frozen; none has a type of the
library.

login           gives a session after login
opening         connect, TLS, the greeting
authentication  the methods of login, the meaning of a refusal, the commands directly after login
session         the commands that the gateway uses on a mailbox
connection      imaplib below IMAPClient: sends commands, reads answers
answers/        reads the answers of servers: pure, a file for each kind of answer
wire            the socket: lines and literals, time limits and size limits
silence         which servers never answer ID
errors          errors of the library and of servers, as the gateway's own errors
"""

from app.adapters.imap.answers.folder_status import FolderStatus
from app.adapters.imap.answers.listing import SPECIAL_USES
from app.adapters.imap.answers.status import Selected
from app.adapters.imap.errors import is_about_rights
from app.adapters.imap.login import capabilities, connect
from app.adapters.imap.session import ImapSession
from app.adapters.imap.silence import SilentServers
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
    "SilentServers",
    "capabilities",
    "connect",
    "is_about_rights",
]
