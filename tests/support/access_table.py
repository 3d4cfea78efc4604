"""The tables of docs/access.md as data. The tests of the routes expect what the document says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.services.access.rules import Action
from tests.support.settings import ROOT

TITLES = {
    "A shared connector": "shared",
    "A personal connector": "personal",
    "A personal connector, sealed": "sealed",
}


@dataclass(frozen=True)
class AccessTable:
    """`cells[kind][action][column]` is `yes`, `403` or `404`. `scopes[action]` is the scope that a key needs."""

    cells: Mapping[str, Mapping[Action, Mapping[str, str]]]
    scopes: Mapping[Action, str]

    def outcome(self, kind: str, action: Action, columns: tuple[str, ...]) -> str:
        """The best outcome of these columns: a caller with two roles may do what either role may do. A caller without a column
        in a table belongs to the others."""
        row = self.cells[kind][action]
        said = {row[column] for column in columns if column in row} or {row["others"]}
        return next(outcome for outcome in ("yes", "403", "404") if outcome in said)


def read() -> AccessTable:
    """The documented tables."""
    page = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")
    cells: dict[str, dict[Action, dict[str, str]]] = {}
    scopes: dict[Action, str] = {}
    for section in page.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        head, *rows = _rows(text)
        table = cells[TITLES[title]] = {}
        for name, *answers, scope in rows:
            table[Action(name)] = dict(zip(head[1:-1], answers, strict=True))
            scopes[Action(name)] = scope.strip("`")
    return AccessTable(cells, scopes)


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("| ---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]
