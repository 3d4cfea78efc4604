"""What the long tests have counted, told at the end of a run."""

from collections import Counter

FIGURES: Counter[str] = Counter()
