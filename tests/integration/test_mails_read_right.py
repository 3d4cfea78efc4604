"""Awkward mails as people report them: what the API shows of each is what its sender meant.

One service in a process of its own, with its parser processes, fetches them all from a real mail server; each test
then looks at one mail over HTTP. `tests/data/mails/expected.json` says of each mail why it is there and what must be
read; only the fields it names are compared.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.callers import Callers
from tests.support.served_gateway import served_gateway
from tests.support.settings import ROOT
from tools.servers.dovecot import Dovecot

FOLDER = ROOT / "tests" / "data" / "mails"
EXPECTED: dict[str, dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
GROUP = "orders"

Json = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """What the API gives of the mails, by file name."""

    client: httpx.Client
    ids: dict[str, str]

    def message(self, name: str) -> Json:
        """The message, its id in links replaced by M."""
        answer = self.client.get(f"/messages/{self.ids[name]}")
        assert answer.status_code == 200, answer.text
        message: Json = answer.json()
        if message["html"] is not None:
            message["html"] = message["html"].replace(f"/messages/{message['id']}/", "/messages/M/")
        return message

    def bytes_of(self, name: str, n: int) -> bytes:
        answer = self.client.get(f"/messages/{self.ids[name]}/attachments/{n}")
        assert answer.status_code == 200, answer.text
        return answer.content


def as_received(name: str) -> bytes:
    """The mail with the line ends of the wire."""
    return re.sub(rb"\r?\n", b"\r\n", (FOLDER / name).read_bytes())


@pytest.fixture(scope="module")
def shown(
    dovecot: Dovecot, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shown]:
    """All mails, delivered and fetched."""
    folder = tmp_path_factory.mktemp("read-right")
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    user = dovecot.new_user()
    raws = {name: as_received(name) for name in EXPECTED}
    dovecot.deliver_all(user, list(raws.values()))
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder) as client:
        client.headers.update(Callers.user("administrator", groups=[GROUP], admin=True))
        fetch(client, dovecot, user)
        listed = client.get("/messages", params={"limit": "200"}).json()["data"]
        ids = {each["sha256"]: each["id"] for each in listed}
        yield Shown(client, {name: ids[hashlib.sha256(raw).hexdigest()] for name, raw in raws.items()})


def fetch(client: httpx.Client, dovecot: Dovecot, user: str) -> None:
    """Connect the mailbox and take in what waits there."""
    imap = {"host": dovecot.host, "port": dovecot.port, "security": "none", "username": user}
    body = {
        "name": "Orders",
        "kind": "shared",
        "email_address": "info@firma.cz",
        "imap": imap,
        "first_fetch": "all",
        "credentials": {"type": "password", "password": dovecot.password},
    }
    created = client.post("/connectors", json=body)
    assert created.status_code == 201, created.text
    connector_id = created.json()["id"]
    bound = client.post("/group-bindings", json={"connector_id": connector_id, "group": GROUP})
    assert bound.status_code == 201, bound.text
    fetched = client.post(f"/connectors/{connector_id}/fetch")
    assert (fetched.status_code, fetched.json().get("outcome")) == (200, "ok"), fetched.text


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_mail_shows_what_its_sender_meant(shown: Shown, name: str) -> None:
    message = shown.message(name)
    wanted = EXPECTED[name]["expect"]
    different = [line for key in wanted for line in differences(message, key, wanted[key])]
    if "attachments" in wanted:
        different += attachment_differences(shown, name, message["attachments"], wanted["attachments"])
    assert different == [], f"{EXPECTED[name]['because']}\n" + "\n".join(different)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_no_mail_stops_the_parser(shown: Shown, name: str) -> None:
    defects = [defect["code"] for defect in shown.message(name)["defects"]]
    assert [code for code in defects if code.startswith("parser_")] == []


def test_each_file_is_expected_and_each_expectation_has_its_file() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.eml")) == sorted(EXPECTED)
    known = {*PLAIN, *PEOPLE, *RULES, "attachments", "from", "date"}
    assert [key for each in EXPECTED.values() for key in each["expect"] if key not in known] == []


PLAIN = frozenset(
    {"subject", "message_id_header", "in_reply_to", "references", "text", "html", "snippet", "has_attachments",
     "is_auto_reply"}
)  # fmt: skip
PEOPLE = frozenset({"to", "cc", "reply_to"})


def differences(message: Json, key: str, wanted: Any) -> Iterator[str]:
    """A line for each difference in a field; `attachments` are looked at elsewhere."""
    if key in PLAIN and message[key] != wanted:
        yield unlike(key, message[key], wanted)
    elif key == "date" and instant(message["date_header"]) != instant(wanted):
        yield unlike(key, message["date_header"], wanted)
    elif key == "from" and part_of(message["from"], wanted) != wanted:
        yield unlike(key, message["from"], wanted)
    elif key in PEOPLE:
        found = [part_of(each, one) for each, one in zip(message[key], wanted, strict=False)]
        if len(message[key]) != len(wanted) or found != wanted:
            yield unlike(key, message[key], wanted)
    elif key in RULES:
        field, holds, says = RULES[key]
        value = message[field] or ""
        for each in wanted if isinstance(wanted, list) else [wanted]:
            if not holds(value, each):
                yield unlike(field, value, f"{says} {each!r}")


def attachment_differences(shown: Shown, name: str, found: list[Json], wanted: list[Json]) -> Iterator[str]:
    """The expected number of attachments, in order, each with the expected fields and bytes."""
    if len(found) != len(wanted):
        yield unlike("attachments", [each["name"] for each in found], wanted)
        return
    for got, want in zip(found, wanted, strict=True):
        stated = {key: value for key, value in want.items() if key != "sha256"}
        if part_of(got, stated) != stated:
            yield unlike(f"attachment {got['n']}", got, stated)
        if "sha256" in want:
            content = shown.bytes_of(name, got["n"])
            if hashlib.sha256(content).hexdigest() != want["sha256"]:
                yield unlike(f"bytes of attachment {got['n']}", content[:200], f"sha256 {want['sha256']}")


def unlike(field: str, got: object, wanted: object) -> str:
    return f"{field}:\n  got    {got!r}\n  wanted {wanted!r}"


def part_of(value: Json | None, wanted: Json) -> Json | None:
    return None if value is None else {key: value.get(key) for key in wanted}


def instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def hides(html: str, text: str) -> bool:
    """The text is not there, or only within an element that is not displayed."""
    hidden = re.compile(
        r'<(\w+)[^>]*style="[^"]*display:\s*none[^"]*"[^>]*>(?:(?!</\1>).)*' + re.escape(text), re.DOTALL
    )
    return text not in html or hidden.search(html) is not None


Rule = tuple[str, Callable[[str, Any], bool], str]
RULES: dict[str, Rule] = {
    **{
        f"{field}_{rule}": (field, holds, rule)
        for field in ("subject", "text", "html", "snippet")
        for rule, holds in {
            "contains": lambda value, part: part in value,
            "excludes": lambda value, part: part not in value,
            "starts": lambda value, part: value.startswith(part),
        }.items()
    },
    "html_absent_or_hidden": ("html", hides, "without, or hidden,"),
    "html_contains_or_excludes": (
        "html",
        lambda value, pair: pair[0] in value or pair[1] not in value,
        "either of",
    ),
}
