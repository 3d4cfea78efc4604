"""Rules for every file of the repository."""

import ast
import json
import re
import subprocess

import pytest

from tests.support.long_files import LONG_FILES
from tests.support.settings import ROOT

PYTHON_FILES = sorted(
    path for room in ("app", "tests", "bench", "tools") for path in (ROOT / room).rglob("*.py")
)


def tracked_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.splitlines()


def test_every_module_with_code_says_why_it_exists() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in PYTHON_FILES
        if (tree := ast.parse(path.read_text(encoding="utf-8"))).body and ast.get_docstring(tree) is None
    ]
    assert silent == []


def test_only_the_settings_read_the_environment() -> None:
    reading = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "app").rglob("*.py")
        if re.search(r"os\.environ|getenv", path.read_text(encoding="utf-8"))
    ]
    assert reading == ["app/config.py"]


def test_only_the_clock_reads_the_time_of_day() -> None:
    reading = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "app").rglob("*.py")
        if re.search(r"datetime\.now|datetime\.utcnow|time\.time\(\)", path.read_text(encoding="utf-8"))
    ]
    assert reading == ["app/clock.py"]


@pytest.mark.parametrize(
    ("name", "at_least"),
    [
        ("requirements.lock", 80),
        ("requirements-production.lock", 40),
        ("requirements-build.lock", 5),
        ("tools/clients/openapi-python-client.lock", 20),
    ],
)
def test_a_lock_pins_by_hash_and_names_no_index(name: str, at_least: int) -> None:
    lock = (ROOT / name).read_text()
    requirements = re.findall(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE)
    assert len(requirements) > at_least
    assert "://" not in lock
    assert "--index" not in lock
    blocks = re.split(r"^(?=[A-Za-z0-9_.-]+==)", lock, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_lock_of_packages_for_node_pins_by_hash_and_names_no_registry() -> None:
    lock = json.loads((ROOT / "tools/clients/package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) > 200
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


@pytest.mark.parametrize(
    "pattern",
    [*(rf"(?<![\w.-])/{home}/\w" for home in ("home", "root", "Users")), r"pypi\.org" + "/simple"],
)
def test_no_file_names_a_path_of_a_machine_or_an_index(pattern: str) -> None:
    naming = [
        name
        for name in tracked_files()
        if name != "tests/contract/test_repository.py"
        and re.search(pattern, (ROOT / name).read_text(encoding="utf-8", errors="replace"))
    ]
    assert naming == []


def test_each_file_of_tests_that_goes_first_exists() -> None:
    assert [name for name in LONG_FILES if not (ROOT / "tests" / name).is_file()] == []
