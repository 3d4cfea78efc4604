"""The distributions that are installed in the environment of the tests."""

import contextlib
import re
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement


def pins(lock: Path) -> dict[str, str]:
    """The versions in a lock file, by name."""
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def copied_to(environment: Path, names: Iterable[str]) -> None:
    """Copy distributions, without their commands, to another environment of the same Python. What is for other systems alone
    is not installed here, and not copied."""
    (site,) = (environment / "lib").glob("python*/site-packages")
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            for file in distribution(name).files or ():
                source = Path(str(file.locate()))
                if ".." not in file.parts and source.exists():
                    (site / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(source, site / file)


def with_needs(*names: str) -> set[str]:
    """The distributions, and all that they need."""
    found: set[str] = set()
    ahead = [*names]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            needed = map(Requirement, requires(name) or ())
            ahead += [each.name for each in needed if not each.marker or each.marker.evaluate({"extra": ""})]
    return found
