"""Which folder on the server is meant."""

import unicodedata
from typing import Literal

import pytest

from app.adapters.imap import Folder
from app.services.mailboxes import folders
from app.services.mailboxes.folders import TRASH


def folder(name: str, *uses: str, delimiter: str | None = "/", selectable: bool = True) -> Folder:
    return Folder(name, delimiter, frozenset(uses), selectable)


def found(listed: list[Folder], wanted: str, prefix: str = "") -> str | None:
    it = folders.find_processed(listed, wanted, prefix)
    return None if it is None else it.name


class TestTheTrash:
    def test_the_trash_is_what_the_server_says_whatever_its_name(self) -> None:
        assert found([folder("Trash"), folder("Vyhozeno", TRASH)], TRASH) == "Vyhozeno"

    @pytest.mark.parametrize(
        "name",
        [
            "Koš",  # Czech providers
            "Odstraněná pošta",  # Exchange, Czech
            "Odstránená pošta",  # Slovak
            "Gelöschte Elemente",  # German
            "Papierkorb",
            "Elementy usunięte",  # Polish
            "Törölt elemek",  # Hungarian
            "Éléments supprimés",  # French
            "Posta eliminata",  # Italian
            "Elementos eliminados",  # Spanish
            "Deleted Items",  # Exchange
            "Deleted Messages",  # Apple
            "INBOX/Trash",
            "trash",
        ],
    )
    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    def test_the_trash_is_found_by_the_names_that_servers_use(
        self, name: str, form: Literal["NFC", "NFD"]
    ) -> None:
        there = unicodedata.normalize(form, name)
        listed = [folder("INBOX"), folder("Projekty/2026"), folder(there)]
        assert found(listed, TRASH) == there

    def test_the_trash_is_the_one_nearest_to_the_top(self) -> None:
        assert found([folder("Archive/Trash"), folder("Deleted Items")], TRASH) == "Deleted Items"

    def test_the_trash_is_never_a_folder_that_holds_no_mail(self) -> None:
        assert found([folder("Trash", TRASH, selectable=False)], TRASH) is None

    def test_a_similar_name_is_not_the_trash(self) -> None:
        assert found([folder("INBOX"), folder("Trash talk"), folder("Koše")], TRASH) is None


class TestAName:
    def test_a_name_is_found_below_the_personal_prefix(self) -> None:
        listed = [folder("INBOX", delimiter="."), folder("INBOX.Hotovo", delimiter=".")]
        assert found(listed, "Hotovo", "INBOX.") == "INBOX.Hotovo"
        assert found(listed, "INBOX.Hotovo", "INBOX.") == "INBOX.Hotovo"

    def test_a_name_as_written_takes_precedence_over_one_below_the_prefix(self) -> None:
        listed = [folder("INBOX.Done", delimiter="."), folder("Done", delimiter=".")]
        assert found(listed, "Done", "INBOX.") == "Done"

    def test_a_name_in_another_unicode_form_is_the_same(self) -> None:
        there = unicodedata.normalize("NFD", "Vyřízené")
        assert found([folder(there)], "Vyřízené") == there
        assert folders.is_same(there, "Vyřízené")

    def test_differs_by_case_except_for_the_inbox(self) -> None:
        assert folders.is_same("Inbox", "INBOX")
        assert not folders.is_same("Done", "done")
        assert found([folder("INBOX")], "inbox") == "INBOX"
