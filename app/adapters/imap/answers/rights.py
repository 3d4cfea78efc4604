"""MYRIGHTS.

    myrights-data = "MYRIGHTS" SP mailbox SP rights                                 RFC 4314 §7
    rights        = astring                   l r s w i p k x t e a, and d and c of RFC 2086

In RFC 2086, `d` was the right to delete mail; RFC 4314 §2.1.1 has `t` (flag it `\\Deleted`) and `e` (expunge it), and
still lists `d` if some of this is allowed. The name of the folder is not checked, because only one was requested.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from app.adapters.imap.answers.response import Response


@dataclass(frozen=True, slots=True)
class Rights:
    """What an account may do with a folder, a letter for each right."""

    letters: frozenset[str]

    @property
    def may_remove(self) -> bool:
        """Whether mail may be moved out of it."""
        if self.letters & {"t", "e"}:
            return {"t", "e"} <= self.letters
        return "d" in self.letters

    @property
    def may_insert(self) -> bool:
        """Whether mail may be moved or copied into it."""
        return "i" in self.letters


def read_rights(responses: Iterable[Response]) -> Rights | None:
    """The rights in the answers. None: there are none."""
    for response in responses:
        last = response.literals[-1] if response.literals and not response.texts[-1].strip() else b""
        words = (last or response.texts[-1]).split()
        letters = words[-1].strip(b'"').decode("ascii", "replace").lower() if words else ""
        if letters.isalnum() or letters == "":
            return Rights(frozenset(letters))
    return None
