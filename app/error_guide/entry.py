"""The form of an entry."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """What happened, and what to do. Words in backticks are code."""

    happened: str
    to_do: str
