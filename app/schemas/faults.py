"""Turns the errors that Pydantic finds in an input into faults that name the field."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.errors import FieldFault

_PARTS_OF_A_REQUEST = frozenset({"body", "query", "path", "header"})
_NO_OBJECT = frozenset({"model_type", "model_attributes_type", "dict_type"})
# If an input may have several forms, Pydantic also names the form. The names of fields begin with a small letter.
_FORM = re.compile(r"[A-Z]\w*$|literal\[")
_PATTERNS_IN_WORDS = {
    "host": "must be the name or address of a host alone, without a scheme, in ASCII",
    "email_address": "must be an e-mail address",
    "url": "must be a web address that begins with https://, in ASCII",
}


def faults_in(found: Iterable[Mapping[str, Any]]) -> list[FieldFault]:
    """The place and the sentence of each error, never the value, which may be a password."""
    return [_fault(each) for each in found]


def unknown_field(name: str) -> FieldFault:
    """The fault of a query parameter that the route does not know."""
    return _fault({"type": "extra_forbidden", "loc": ("query", name)})


def _fault(found: Mapping[str, Any]) -> FieldFault:
    if found["type"] == "json_invalid":  # its place is an offset in the text
        return FieldFault("", "is not JSON")
    place = _place(found)
    if not place and found["type"] in _NO_OBJECT:
        return FieldFault("", "must be a JSON object, sent with Content-Type: application/json")
    detail = _sentence(found, place)
    # A rule over several fields names the wrong field itself, as "/field: what is wrong".
    if detail.startswith("/"):
        field, _, detail = detail.partition(": ")
        place += field.strip("/").split("/")
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place)
    # The name of an unknown field comes from the caller: a lone surrogate in it would break the answer.
    return FieldFault(pointer.encode(errors="replace").decode(), detail)


def _place(found: Mapping[str, Any]) -> list[str]:
    parts = [str(part) for part in found["loc"]]
    if parts and parts[0] in _PARTS_OF_A_REQUEST:
        parts = parts[1:]
    # If the field is unknown, the last part is text from the caller.
    named = parts[-1:] if found["type"] == "extra_forbidden" else []
    return [part for part in parts[: len(parts) - len(named)] if not _FORM.match(part)] + named


def _sentence(found: Mapping[str, Any], place: list[str]) -> str:
    if found["type"] == "extra_forbidden":
        return "is not known here"
    if found["type"] == "string_pattern_mismatch" and place and place[-1] in _PATTERNS_IN_WORDS:
        return _PATTERNS_IN_WORDS[place[-1]]
    return str(found["msg"]).removeprefix("Value error, ")
