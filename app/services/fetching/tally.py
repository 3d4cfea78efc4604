"""What a fetch cycle counts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """One cycle's figures: `found` = `stored` + `known` + `returned` + `quarantined` + `left`."""

    found: int = 0
    """Mails in the source folder that nobody has flagged `\\Deleted`."""
    stored: int = 0
    known: int = 0
    """Taken in by an earlier cycle."""
    returned: int = 0
    """Put back by somebody after they had been moved away."""
    defects: Counter[str] = field(default_factory=Counter)
    """Of the mails that were stored, how many have each defect, by its code."""
    quarantined: int = 0
    """Not to be taken in: those of earlier cycles too."""
    moved: int = 0
    """Proved to be in the processed folder; some may have been stored by an earlier cycle."""
    has_more: bool = False
    """The cycle ended its turn; another should follow at once."""
    awaits_confirmation: bool = False
    alert: str | None = None
    """What the mail server asked to show to its user."""

    @property
    def left(self) -> int:
        """Neither taken in nor quarantined: by `first_fetch`, or for another cycle to try."""
        return self.found - self.stored - self.known - self.returned - self.quarantined
