"""Opens the folders of a connector. A fetch cycle and a test both use this module, so a test finds every fault that a fetch would
find."""

from collections.abc import Sequence

from app.adapters.imap import Folder, ImapSession, Selected, is_about_rights
from app.errors import (
    CommandRefused,
    FolderForbidden,
    FolderMissing,
    FolderNotSelectable,
    NoRightToMove,
    ProcessedFolderMissing,
)
from app.services.mailboxes import folders

MISSING = frozenset({"TRYCREATE", "NONEXISTENT"})
NO_PLACE_FOR_MAIL = (
    "The folder to move processed mail to is a place for other folders: the server keeps no mail in it."
)
NO_MAIL_IN_IT = "The folder to download from is a place for other folders: the server keeps no mail in it."
NO_RIGHT_TO_FILE = (
    "The mail server does not allow this account to put mail into the folder for processed mail."
)


def source_folder(listed: Sequence[Folder], name: str, prefix: str) -> Folder:
    """The folder to download from.

    Raises:
        FolderMissing
        FolderNotSelectable: it exists, but holds only other folders.
    """
    found = folders.find_named(listed, name, prefix)
    if found is not None:
        return found
    if folders.find_unselectable(listed, name, prefix) is not None:
        raise FolderNotSelectable(NO_MAIL_IN_IT)
    raise FolderMissing


def processed_folder(listed: Sequence[Folder], wanted: str, prefix: str) -> Folder | None:
    """The folder to move to. None: it is the trash, which does not exist yet and must be created.

    Raises:
        ProcessedFolderMissing
        FolderNotSelectable
    """
    found = folders.find_processed(listed, wanted, prefix)
    if found is not None or wanted == folders.TRASH:
        return found
    if not wanted.startswith("\\") and folders.find_unselectable(listed, wanted, prefix) is not None:
        raise FolderNotSelectable(NO_PLACE_FOR_MAIL)
    raise ProcessedFolderMissing


def select_source(imap: ImapSession, folder: str) -> Selected:
    """Select the folder to download from.

    Raises:
        FolderMissing, FolderForbidden, FolderNotSelectable, FolderReadOnly
        MailServerError: the server has a fault.
    """
    try:
        return imap.select(folder)
    except CommandRefused as exc:
        told = {"command": exc.command, "server_line": exc.server_line, "response_code": exc.response_code}
        if exc.response_code in MISSING:
            raise FolderMissing(**told) from exc
        raise (FolderForbidden if is_about_rights(exc) else FolderNotSelectable)(**told) from exc


def require_rights(imap: ImapSession, source: str, target: str) -> bool:
    """Check, without moving any mail, whether mail may be moved out of the selected folder: by the rights that the server lists
    (RFC 4314), or, if it lists none, by trying to move a mail that cannot exist. Returns whether the server has said so: an OK to
    the move of no mail says nothing (Dovecot 2.3 and 2.4 check the right for each mail that they move).

    Raises:
        NoRightToMove, ProcessedFolderMissing, OverQuota
    """
    told = imap.rights(source)
    if told is not None and not told.may_remove:
        raise NoRightToMove(command="MYRIGHTS")
    there = imap.rights(target)
    if there is not None and not there.may_insert:
        raise NoRightToMove(NO_RIGHT_TO_FILE, command="MYRIGHTS")
    if told is None:
        _try_to_move_nothing(imap, target)
    return told is not None


def _try_to_move_nothing(imap: ImapSession, target: str) -> None:
    uid = imap.absent_uid()
    if uid is None:
        return
    try:
        if imap.can_move:
            imap.move([uid], target)
        else:
            imap.copy([uid], target)
    except CommandRefused as exc:
        if exc.response_code in MISSING:
            raise ProcessedFolderMissing(command=exc.command, server_line=exc.server_line) from exc
        if is_about_rights(exc):
            raise NoRightToMove(
                command=exc.command, server_line=exc.server_line, response_code=exc.response_code
            ) from exc
        # Some servers refuse because there is no such mail. This says nothing about rights.
