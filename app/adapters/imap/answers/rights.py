"""MYRIGHTS.

    myrights-data = "MYRIGHTS" SP mailbox SP rights                                 RFC 4314 §7
    rights        = astring                   l r s w i p k x t e a, and d and c of RFC 2086

Whoever may delete mail had `d` in RFC 2086; RFC 4314 §2.1.1 has `t` (flag it `\\Deleted`) and `e` (expunge it), and
still tells `d` where some of that is allowed. The folder's name is not looked at: one was asked for.
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
    """The rights; None where nothing was said that can be such."""
    for response in responses:
        last = response.literals[-1] if response.literals and not response.texts[-1].strip() else b""
        words = (last or response.texts[-1]).split()
        letters = words[-1].strip(b'"').decode("ascii", "replace").lower() if words else ""
        if letters.isalnum() or letters == "":
            return Rights(frozenset(letters))
    return None
