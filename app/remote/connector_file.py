"""The file of `imap-gateway apply`: connectors as their bodies in the API, in YAML or JSON.

    connectors:
      - external_id: orders
        kind: shared
        name: Orders
        email_address: orders@firma.cz
        imap: {host: imap.firma.cz, username: orders@firma.cz}
        groups: [orders]
        credentials: {type: password, password: {env: ORDERS_PASSWORD}}

A password is never in the file: `env` names the environment variable that has it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import yaml


@dataclass(frozen=True)
class Entry:
    """One connector of the file."""

    line: int
    external_id: str = ""
    body: dict[str, Any] = field(default_factory=dict, repr=False)
    fault: str | None = None
    """Why it cannot be applied."""


class NotAFile(Exception):
    """The file as a whole is not of this form; its text says why."""


def read(text: str, environment: Mapping[str, str]) -> list[Entry]:
    """The entries, in the order of the file. A faulty one says why, and does not concern the others.

    Raises:
        NotAFile
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as exc:
        raise NotAFile(str(exc)) from exc
    known: dict[str, int] = {}
    entries = []
    for node in _nodes(root):
        entry = _entry(node, environment)
        if entry.fault is None and entry.external_id in known:
            first = known[entry.external_id]
            entry = Entry(entry.line, entry.external_id, fault=f"external_id is that of line {first}, too")
        known.setdefault(entry.external_id, entry.line)
        entries.append(entry)
    return entries


def _nodes(root: yaml.Node | None) -> Iterator[yaml.Node]:
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value == "connectors" and isinstance(value, yaml.SequenceNode):
                yield from value.value
                return
    raise NotAFile("The file has no list `connectors`.")


def _entry(node: yaml.Node, environment: Mapping[str, str]) -> Entry:
    line = node.start_mark.line + 1
    try:
        values = yaml.SafeLoader("").construct_document(node)
    except yaml.YAMLError as exc:
        return Entry(line, fault=str(exc))
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        return Entry(line, fault="is not a connector")
    external_id = values.pop("external_id", None)
    if not isinstance(external_id, str) or not external_id:
        return Entry(line, fault="external_id is missing, or is not text")
    try:
        body = _as_json(values)
        _fill_in_password(body, environment)
    except ValueError as exc:
        return Entry(line, external_id, fault=str(exc))
    return Entry(line, external_id, body)


def _fill_in_password(body: dict[str, Any], environment: Mapping[str, str]) -> None:
    credentials = body.get("credentials")
    if not isinstance(credentials, dict) or "password" not in credentials:
        return
    reference = credentials["password"]
    if not isinstance(reference, dict) or set(reference) != {"env"}:
        raise ValueError("credentials/password must name an environment variable: {env: NAME}")
    password = environment.get(str(reference["env"]))
    if not password:
        raise ValueError(f"the environment variable {reference['env']} is not set")
    credentials["password"] = password


def _as_json(value: Any) -> Any:
    """YAML knows dates; JSON does not."""
    if isinstance(value, dict):
        return {str(name): _as_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"a value of the kind {type(value).__name__} is none that JSON has")
