"""Who is right where the two readings differ: by rules, each with its reason, and by mail in `agreement.json`.

The file has, by the sha256 of a mail and by field, `[right, reason]`; right is `ours`, `theirs` or `both`. A rule is
for a cause that can be told from the mail itself; what only a person can judge is in the file.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.mime.headers import Fields
from app.mime.model import Defects
from app.mime.structure import normalise, read_tree
from tools.agreement.compare import Disagreement, Ours, words

FILE = Path(__file__).resolve().parents[2] / "tests" / "data" / "agreement.json"
PEOPLE = frozenset({"from", "to", "cc", "reply_to"})

Verdict = tuple[str, str]
Known = Mapping[str, Mapping[str, Verdict]]


def known_verdicts() -> dict[str, dict[str, Verdict]]:
    """The file, by sha256 and field."""
    loaded: dict[str, dict[str, Verdict]] = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded


def verdict(known: Known, sha256: str, ours: Ours, found: Disagreement) -> Verdict | None:
    """Which reader is right, and why. None: nobody has judged it."""
    stated = known.get(sha256, {}).get(found.field)
    if stated is not None:
        return stated
    rule = next((rule for rule in RULES if rule.applies(ours, found)), None)
    return None if rule is None else (rule.right, rule.reason)


@dataclass(frozen=True)
class Rule:
    """A cause of disagreements."""

    applies: Callable[[Ours, Disagreement], bool]
    right: str
    reason: str


def _library_raised(_: Ours, found: Disagreement) -> bool:
    return isinstance(found.theirs, dict) and "error" in found.theirs


def _header_torn(ours: Ours, found: Disagreement) -> bool:
    """We read a field that the mail has, and the library does not see it."""
    return not found.theirs and bool(found.ours) and _field_name(found) in _fields(ours)


def _header_shown_as_text(ours: Ours, found: Disagreement) -> bool:
    head, _, _ = ours.raw.replace(b"\r\n", b"\n").partition(b"\n\n")
    inside = set(words(head.decode("utf-8", "replace")))
    return found.field == "lost_text" and inside.issuperset(found.theirs)


def _multipart_not_split(ours: Ours, found: Disagreement) -> bool:
    return (
        found.field == "lost_attachment"
        and all(kind.startswith("multipart/") for kind, *_ in found.theirs)
        and bool(ours.parsed.text or ours.parsed.attachments)
    )


def _undecoded(_: Ours, found: Disagreement) -> bool:
    text = json.dumps(found.theirs)
    return found.field in {*PEOPLE, "subject"} and re.search(r"\\udc[89a-f]|\\ufffd|=\?", text) is not None


def _name_in_comment(ours: Ours, found: Disagreement) -> bool:
    """The addresses are the same; the name follows in brackets, as before RFC 822."""
    if found.field not in PEOPLE or not _same_addresses(found):
        return False
    header = b" ".join(_fields(ours).get(_field_name(found), [])).decode("utf-8", "replace")
    return all(
        theirs == mine or (not theirs and f"({mine})" in " ".join(header.split()))
        for (mine, _), (theirs, _) in zip(found.ours, found.theirs, strict=True)
    )


def _split_words(_: Ours, found: Disagreement) -> bool:
    """A name or subject in several encoded words: white space between them is no text (RFC 2047 §6.2)."""
    pressed = [re.sub(r"\s", "", json.dumps(value)) for value in (found.ours, found.theirs)]
    return found.field in {*PEOPLE, "subject"} and pressed[0] == pressed[1]


def _repeated_field(ours: Ours, found: Disagreement) -> bool:
    """A field that must not be there twice: we join the lists, the library takes one."""
    return (
        found.field in PEOPLE
        and len(_fields(ours).get(_field_name(found), [])) > 1
        and (found.field == "from" or all(each in found.ours for each in found.theirs))
    )


def _without_brackets(_: Ours, found: Disagreement) -> bool:
    return found.field in {"message_id", "in_reply_to"} and found.ours == f"<{found.theirs}>"


def _year_out_of_range(_: Ours, found: Disagreement) -> bool:
    is_date = found.field == "date" and found.ours is None and isinstance(found.theirs, str)
    return is_date and not "1970" <= found.theirs[:4] <= "2100"


def _same_addresses(found: Disagreement) -> bool:
    return isinstance(found.theirs, list) and [each[1] for each in found.ours] == [
        each[1] for each in found.theirs
    ]


def _field_name(found: Disagreement) -> bytes:
    return found.field.replace("_", "-").encode()


def _fields(ours: Ours) -> Fields:
    defects = Defects()
    return read_tree(normalise(ours.raw, defects), defects).fields


RULES = (
    Rule(_library_raised, "ours", "the library raises on this field"),
    Rule(
        _header_torn,
        "ours",
        "the library ends the header at a line that is no field, or does not know the field's form",
    ),
    Rule(_header_shown_as_text, "ours", "the library shows lines of the header as text"),
    Rule(_multipart_not_split, "ours", "the library does not find the boundary of this multipart"),
    Rule(_undecoded, "ours", "the library leaves octets or encoded words undecoded"),
    Rule(_name_in_comment, "ours", "the name stands in a comment behind the address; the library drops it"),
    Rule(_split_words, "ours", "the library puts white space between encoded words (RFC 2047 §6.2)"),
    Rule(_repeated_field, "both", "the field is there more than once: the library takes one, we join them"),
    Rule(_without_brackets, "ours", "ids are given with their brackets"),
    Rule(_year_out_of_range, "both", "a year outside 1970 to 2100 is no date that a mail was sent at"),
)


def listed(value: Any) -> str:
    """A value in a line, cut."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 300 else text[:300] + "…"
