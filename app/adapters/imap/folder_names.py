"""The names of folders within one session: the names that people read, and the octets that the server knows.

A listed name is sent back exactly as the server listed it. Other names are encoded as the standard says.
"""

from collections.abc import Sequence

from app.adapters.imap.answers import names
from app.adapters.imap.answers.listing import SPECIAL_USES, Row
from app.adapters.imap.values import Folder
from app.errors import CommandRefused

_NOT_SELECTABLE = frozenset({"\\Noselect", "\\Nonexistent"})


class FolderNames:
    """The names that the server has listed, by the names that are shown. `is_utf8` is set when the server's capabilities are
    known: folder names are UTF-8, not modified UTF-7."""

    def __init__(self) -> None:
        self.is_utf8 = False
        self._octets_of: dict[str, bytes] = {}

    def __contains__(self, folder: str) -> bool:
        """Whether the server has listed a folder with this name."""
        return folder in self._octets_of

    def shown(self, octets: bytes) -> str | None:
        """The name to show; None: there is none."""
        return names.shown(octets, is_utf8=self.is_utf8)

    def learn(self, rows: Sequence[Row]) -> list[Folder]:
        """The folders by names that people can read. If two would have one name, the folder that is spelled by the standard gets
        it, and the other is left out."""
        by_name: dict[str, Row] = {}
        for row in rows:
            name = self.shown(row.octets)
            if name is None or (name in by_name and row.octets != self._spelled(name)):
                continue
            by_name[name] = row
        self._octets_of = {name: row.octets for name, row in by_name.items()}
        return [
            Folder(
                name=name,
                delimiter=row.delimiter,
                special_use=row.attributes & SPECIAL_USES,
                selectable=not row.attributes & _NOT_SELECTABLE,
            )
            for name, row in by_name.items()
        ]

    def octets(self, folder: str) -> bytes:
        """The octets of a name: as the server has listed it, otherwise by the standard.

        Raises:
            CommandRefused: the name must not be sent; imaplib would send CR and LF unchanged.
        """
        listed = self._octets_of.get(folder)
        if listed is not None:
            return listed
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in folder):
            raise CommandRefused("A folder's name must not contain control characters.")
        return self._spelled(folder)

    def _spelled(self, name: str) -> bytes:
        return names.on_the_wire(name, is_utf8=self.is_utf8)
