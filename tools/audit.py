"""`make audit`: looks for known weaknesses in the locked dependencies, with pip-audit.

pip-audit has an environment of its own (`.audit`): it is no dependency of the gateway. It asks PyPI about every package of each
lock, and calls it a success also where PyPI knows none of them, as behind a mirror. So this program counts itself: it ends with 1 if
there is a weakness, with 2 if something could not be asked, with 0 only if everything was asked and nothing found.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 15
NOTHING_FOUND, WEAK, NOT_ASKED = 0, 1, 2


@dataclass
class Findings:
    """What became known about the packages of one lock."""

    checked: int = 0
    weaknesses: list[str] = field(default_factory=list)
    not_asked: list[str] = field(default_factory=list)
    """The packages that could not be checked; or why none was."""


def read(report: str, said: str) -> Findings:
    """The findings in a report of pip-audit (JSON). `said` is what it wrote beside it, as where it made no report."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError):
        last = said.strip().splitlines()[-1:] or ["pip-audit made no report"]
        return Findings(not_asked=last)
    found = Findings()
    for each in dependencies:
        if "skip_reason" in each:
            found.not_asked.append(f"{each['name']}: {each['skip_reason']}")
            continue
        found.checked += 1
        for weakness in each["vulns"]:
            fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
            found.weaknesses.append(f"{each['name']} {each['version']}: {weakness['id']}, mended in {fixed}")
    return found


def status_of(found: list[Findings]) -> int:
    """The exit status."""
    if any(each.weaknesses for each in found):
        return WEAK
    return NOT_ASKED if any(each.not_asked for each in found) else NOTHING_FOUND


def main() -> None:
    """Audit every lock and say what was found, and what could not be asked."""
    found = []
    for lock in sorted(ROOT.glob("requirements*.lock")):
        command = [str(ROOT / ".audit/bin/pip-audit"), "--require-hashes", "--disable-pip", "-r", str(lock)]
        options = ["--format", "json", "--progress-spinner", "off", "--timeout", str(TIMEOUT_S)]
        done = subprocess.run([*command, *options], check=False, capture_output=True, text=True)
        findings = read(done.stdout, done.stderr)
        found.append(findings)
        print(
            f"audit: {lock.name}: {findings.checked} packages checked, {len(findings.weaknesses)} weaknesses"
        )
        for line in findings.weaknesses:
            print(f"  weak: {line}")
        for line in findings.not_asked:
            print(f"  not checked: {line}")
    sys.exit(status_of(found))


if __name__ == "__main__":
    main()
