"""Trees of any shape through the real parser process: what is well-formed is read whole, what is broken is answered."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from app.adapters.parser import AttachmentUnreadable, ParserProcess

from .trees import Tree, broken, trees

pytestmark = pytest.mark.slow

EXAMPLES, SOAK_EXAMPLES = 120, 5000
_BOUNDED = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
_SOAKED = {"deadline": None, "max_examples": SOAK_EXAMPLES, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module")
def process() -> Iterator[ParserProcess]:
    with ParserProcess() as started:
        yield started


@settings(max_examples=EXAMPLES, **_BOUNDED)  # type: ignore[arg-type]
@given(trees())
def test_a_well_formed_tree_is_read_whole(process: ParserProcess, tree: Tree) -> None:
    check_whole(process, tree)


@settings(max_examples=EXAMPLES, **_BOUNDED)  # type: ignore[arg-type]
@given(broken())
def test_a_broken_tree_is_answered(process: ParserProcess, raw: bytes) -> None:
    check_answered(process, raw)


@pytest.mark.soak
@settings(**_SOAKED)  # type: ignore[arg-type]
@given(trees())
def test_thousands_of_well_formed_trees_are_read_whole(process: ParserProcess, tree: Tree) -> None:
    check_whole(process, tree)


@pytest.mark.soak
@settings(**_SOAKED)  # type: ignore[arg-type]
@given(broken())
def test_thousands_of_broken_trees_are_answered(process: ParserProcess, raw: bytes) -> None:
    check_answered(process, raw)


def check_whole(process: ParserProcess, tree: Tree) -> None:
    """No fault of the parser; every text is in the text, every file is an attachment with its name and its octets."""
    parsed = check_answered(process, tree.raw)
    text = _pressed(parsed)
    assert [each for each in tree.texts if " ".join(each.split()) not in text] == []
    found = [process.attachment(tree.raw, info.n) for info in process.parse(tree.raw).attachments]
    contents = [each.content for each in found if each is not None]
    assert [octets for octets in tree.files if octets not in contents] == []
    names = {each.content: each.info.name for each in found if each is not None}
    wanted = [(name, octets) for name, octets in zip(tree.names, tree.files, strict=True) if name is not None]
    assert [(name, names[octets]) for name, octets in wanted if names[octets] != name] == []


def check_answered(process: ParserProcess, raw: bytes) -> str:
    """The parser neither fails nor dies, and gives each attachment as it is listed; the text it found."""
    parsed = process.parse(raw)
    assert [defect for defect in parsed.defects if defect.code.startswith("parser_")] == []
    for info in parsed.attachments[:10]:
        try:
            found = process.attachment(raw, info.n)
        except AttachmentUnreadable as exc:
            pytest.fail(f"attachment {info.n}: {exc}")
        assert found is not None
        assert (found.info, len(found.content)) == (info, info.size_octets)
    return parsed.text or ""


def _pressed(text: str) -> str:
    return re.sub(r"\s+", " ", text)
