"""Finds the folder that a setting means: by its name, by its special use, or, if the server lists no special use, by the name that
servers and mail programs give it.

Exchange lists no special uses and translates the names of its folders into the language of the account; Courier and Cyrus put everything
below `INBOX.`. The gateway must find an existing folder under each of these names, or it would create a second trash.
"""

import unicodedata
from collections.abc import Sequence

from app.adapters.imap import Folder
from app.schemas.fields import normalised_folder

TRASH, SENT, ARCHIVE, JUNK = "\\Trash", "\\Sent", "\\Archive", "\\Junk"
DEFAULT_NAMES = {TRASH: "Trash", SENT: "Sent", ARCHIVE: "Archive", JUNK: "Junk"}
"""The name of a folder that the gateway has to create."""

# The most usual name comes first. English, Czech, Slovak, German, Polish, Hungarian, French, Italian, Spanish; the forms
# of Exchange and Outlook, of Apple Mail, of Thunderbird and Roundcube, of Gmail, of Czech providers.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    TRASH: (
        "Trash",
        "Deleted Items",
        "Deleted Messages",
        "Deleted",
        "Bin",
        "Koš",
        "Kos",
        "Odstraněná pošta",
        "Odstraněné položky",
        "Odstraněné",
        "Smazané",
        "Smazaná pošta",
        "Smazané zprávy",
        "Kôš",
        "Odstránená pošta",
        "Odstránené položky",
        "Odstránené",
        "Papierkorb",
        "Gelöschte Elemente",
        "Gelöschte Objekte",
        "Gelöscht",
        "Gelöschte Nachrichten",
        "Kosz",
        "Elementy usunięte",
        "Usunięte",
        "Kuka",
        "Lomtár",
        "Törölt elemek",
        "Törölt üzenetek",
        "Corbeille",
        "Éléments supprimés",
        "Messages supprimés",
        "Cestino",
        "Posta eliminata",
        "Messaggi eliminati",
        "Papelera",
        "Elementos eliminados",
        "Mensajes eliminados",
    ),
    SENT: (
        "Sent",
        "Sent Items",
        "Sent Messages",
        "Sent Mail",
        "Odeslaná pošta",
        "Odeslané",
        "Odeslane",
        "Odoslané",
        "Odoslaná pošta",
        "Gesendet",
        "Gesendete Elemente",
        "Gesendete Objekte",
        "Wysłane",
        "Elementy wysłane",
        "Elküldött elemek",
        "Elküldött",
        "Éléments envoyés",
        "Envoyés",
        "Elementos enviados",
        "Enviados",
        "Posta inviata",
        "Inviata",
    ),
    ARCHIVE: (
        "Archive",
        "Archives",
        "Archiv",
        "Archív",
        "Archiwum",
        "Archívum",
        "Archivio",
        "Archivo",
    ),
    JUNK: (
        "Junk",
        "Spam",
        "Junk E-mail",
        "Junk Email",
        "Nevyžádaná pošta",
        "Nevyžádané",
        "Nevyžiadaná pošta",
        "Junk-E-Mail",
        "Wiadomości-śmieci",
        "Levélszemét",
        "Courrier indésirable",
        "Posta indesiderata",
        "Correo no deseado",
    ),
}


def find_processed(folders: Sequence[Folder], wanted: str, prefix: str) -> Folder | None:
    """The folder that a connector's `processed_folder` means. None: the server has no such folder.

    `prefix` is the prefix of the personal namespace: `Done` also finds `INBOX.Done` below `INBOX.`.
    """
    if wanted.startswith("\\"):
        return find_special(folders, wanted)
    return find_named(folders, wanted, prefix)


def find_named(folders: Sequence[Folder], name: str, prefix: str = "") -> Folder | None:
    """The folder with this name, in any Unicode form; otherwise the folder with this name below the prefix."""
    by_name = {comparable(folder.name): folder for folder in folders if folder.selectable}
    return by_name.get(comparable(name)) or by_name.get(comparable(prefix + name))


def find_unselectable(folders: Sequence[Folder], name: str, prefix: str = "") -> Folder | None:
    """Like `find_named`, among the folders that hold only other folders (`\\Noselect`)."""
    by_name = {comparable(folder.name): folder for folder in folders if not folder.selectable}
    return by_name.get(comparable(name)) or by_name.get(comparable(prefix + name))


def find_special(folders: Sequence[Folder], special_use: str) -> Folder | None:
    """The folder with this special use; otherwise a folder with a usual name for it, the one nearest to the top."""
    selectable = [folder for folder in folders if folder.selectable]
    for folder in selectable:
        if special_use in folder.special_use:
            return folder
    ranks = {_folded(name): rank for rank, name in enumerate(USUAL_NAMES.get(special_use, ()))}
    named = [
        (_depth(folder), ranks[_folded(_last_part(folder))], folder.name, folder)
        for folder in selectable
        if _folded(_last_part(folder)) in ranks
    ]
    return min(named)[3] if named else None


def is_same(one: str, other: str) -> bool:
    """Whether two names mean one folder on the server."""
    return comparable(one) == comparable(other)


def comparable(name: str) -> str:
    """The name of a folder in a form for comparison: INBOX in any case, accents in one form."""
    return unicodedata.normalize("NFC", normalised_folder(name))


def _last_part(folder: Folder) -> str:
    return folder.name.rpartition(folder.delimiter)[2] if folder.delimiter else folder.name


def _depth(folder: Folder) -> int:
    return folder.name.count(folder.delimiter) if folder.delimiter else 0


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
