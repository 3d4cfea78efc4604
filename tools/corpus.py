"""The folder of awkward mails: which of its files are mails."""

from pathlib import Path

NOT_MAILS = frozenset({"LICENSE", "SOURCE.md", "README.md", "manifest.json"})


def mail_files(folder: Path) -> list[Path]:
    """All mails in a folder and those below it, by path."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_MAILS)
