"""The counts of the tests, printed at the end of a run."""

from collections import Counter

FIGURES: Counter[str] = Counter()
"""By the test that runs."""
TOTALS: Counter[str] = Counter()
"""By all that have ended."""
