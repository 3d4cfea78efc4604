"""The counts of a fetch cycle."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """The counts of one cycle: `found` = `stored` + `known` + `returned` + `quarantined` + `left`."""

    found: int = 0
    """Mails in the source folder without the flag `\\Deleted`."""
    stored: int = 0
    known: int = 0
    """Mails that an earlier cycle took in."""
    returned: int = 0
    """Mails that somebody put back after they had been moved away."""
    defects: Counter[str] = field(default_factory=Counter)
    """The number of stored mails with each defect, by its code."""
    quarantined: int = 0
    """Mails that cannot be taken in, including those of earlier cycles."""
    moved: int = 0
    """Mails that are proved to be in the processed folder. An earlier cycle may have stored some of them."""
    has_more: bool = False
    """The cycle ended because its turn was over; another should follow at once."""
    awaits_confirmation: bool = False
    alert: str | None = None
    """The text that the mail server asked to show to its user."""

    @property
    def left(self) -> int:
        """Mails that are neither taken in nor quarantined, because of `first_fetch`, or because another cycle will try them."""
        return self.found - self.stored - self.known - self.returned - self.quarantined
