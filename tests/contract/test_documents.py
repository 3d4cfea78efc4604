"""What the documents name exists."""

import re
from itertools import takewhile
from pathlib import Path

import pytest

from tests.support.settings import ROOT

DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: path.relative_to(ROOT).parts
)
PATH = re.compile(r"(?<![\w./-])(?:app|alembic|bench|deploy|docs|tests|tools)/[\w./-]*\w")
TEST_FILE = re.compile(r"`(test_\w+\.py)`")
TEST = re.compile(r"`(tests/[\w/]+\.py)((?:::\w+)*)`")
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
SECURITY = ROOT / "docs" / "security.md"
OUTSIDE = re.compile(r"[a-z]+:")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    named = PATH.findall(document.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_test_file_that_a_document_names_exists(document: Path) -> None:
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(TEST_FILE.findall(document.read_text(encoding="utf-8"))) <= tests


def test_every_test_that_the_list_of_threats_names_exists_and_no_threat_is_without_one() -> None:
    tables = SECURITY.read_text(encoding="utf-8").split("| threat |")[1:]
    threats = [
        row for table in tables for row in takewhile(lambda row: row[:1] == "|", table.splitlines()[2:])
    ]
    assert len(threats) > 40
    for row in threats:
        _, threat, measure, tests, _ = re.split(r" ?\| ?", row)
        named = TEST.findall(tests)
        assert all((threat, measure, named)), row
        assert len(named) == tests.count("`") // 2, row
        for path, names in named:
            text = (ROOT / path).read_text(encoding="utf-8")
            for name in names.split("::")[1:]:
                assert re.search(rf"^ *(?:class|def|async def) {name}\b", text, re.MULTILINE), (path, name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_within_the_repository_leads_to_a_file(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    within = [link for link in links if not OUTSIDE.match(link)]
    assert [link for link in within if not (document.parent / link).exists()] == []


def test_the_documents_that_matter_most_are_looked_at() -> None:
    looked_at = {name_of(path) for path in DOCUMENTS}
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"} <= looked_at


def test_every_decision_has_a_date_a_status_and_a_row_in_the_list() -> None:
    listed = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    records = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        lines = record.read_text(encoding="utf-8").splitlines()
        dated = re.fullmatch(r"Date: (\d{4}-\d\d-\d\d)\. Status: ([a-z][\w ]*)\.", lines[2])
        assert dated is not None, record.name
        number, title = lines[0].removeprefix("# ").split(". ", 1)
        assert int(number) == int(record.name[:4])
        assert f"| {number} | [{title}]({record.name}) | {dated[1]} | {dated[2]} |" in listed
