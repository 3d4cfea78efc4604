"""What Pydantic finds wrong with an input, as faults that name the field."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.errors import FieldFault

_PARTS_OF_A_REQUEST = frozenset({"body", "query", "path", "header"})


def faults_in(found: Iterable[Mapping[str, Any]]) -> list[FieldFault]:
    """Place and sentence of each; never the value, which may be a password."""
    return [_fault(each) for each in found]


def _fault(found: Mapping[str, Any]) -> FieldFault:
    if found["type"] == "json_invalid":  # its place is an offset in the text
        return FieldFault("", "is not JSON")
    place = [str(part) for part in found["loc"]]
    if place and place[0] in _PARTS_OF_A_REQUEST:
        place = place[1:]
    detail = str(found["msg"]).removeprefix("Value error, ")
    # A rule over several fields names the one at fault itself, as "/field: what is wrong".
    if detail.startswith("/"):
        field, _, detail = detail.partition(": ")
        place += field.strip("/").split("/")
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place)
    # An unknown field's name is the caller's text: a lone surrogate in it would break the answer.
    return FieldFault(pointer.encode(errors="replace").decode(), detail)
