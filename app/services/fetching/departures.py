"""What a move has done to its mails: which have left the source folder, and which are now in both folders."""

from dataclasses import dataclass, field

from app.models import ServerMessage
from app.states import MoveState

UNKNOWN_UID = 0
"""The UID of a copy that exists at an unknown UID."""


@dataclass(frozen=True, slots=True)
class Departed:
    """A mail that has left the source folder."""

    row: ServerMessage
    state: MoveState
    target_uid: int | None = None


@dataclass(slots=True)
class Done:
    """The outcome of a move for its mails."""

    departed: list[Departed] = field(default_factory=list)
    doubled: dict[str, int] = field(default_factory=dict)
    """Rows whose mails are still in the source although a copy is in the processed folder, with the UID of the copy."""


def departure_of(row: ServerMessage, copies: dict[str, int]) -> Departed:
    """How a mail that is no longer in the source has left it: moved by us if there is a copy."""
    return (
        Departed(row, MoveState.MOVED, copies[row.id]) if row.id in copies else Departed(row, MoveState.GONE)
    )
