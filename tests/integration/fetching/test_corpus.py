"""Awkward mails among ordinary ones, through the service as it runs: `imap-gateway serve` with its jobs and its parser
processes. All are kept byte for byte and moved; what the API says of each is what a reader without a sandbox says, and
the reader fails over none.

The service gets a sample with a seed on each database, and all of them in `make soak`. The reader alone reads all of them
each time, and must find the pinned count of each defect. `PIN_CORPUS_DEFECTS=1` gives all mails to the service and writes
these counts anew, after a change of the reader.
"""

import hashlib
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from app.gateway import Gateway
from app.mime.model import PARSER_FAULTS, ParsedMail
from app.mime.parse import extract_attachment, parse_mail
from app.services.messages.inline_images import link_images
from tests.support.callers import bearer, user_token
from tests.support.fetched_mailbox import hashes, mailbox
from tests.support.figures import FIGURES
from tests.support.served_gateway import served_gateway
from tests.support.stored_mail import mail
from tools.corpus import mail_files
from tools.servers.dovecot import Dovecot

DATA = Path(__file__).resolve().parents[2] / "data"
PINNED = DATA / "corpus_defects.json"
FETCH_TIMEOUT_S = 300.0
# Each costs both readers a reading of the whole mail.
ATTACHMENTS_READ_MAX = 20
PIN = os.environ.get("PIN_CORPUS_DEFECTS") == "1"
SAMPLE = None if PIN else 60
SEED = int(os.environ.get("CRASH_SEED", "1"))


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """The served gateway, asked by a member of the group."""
    with served_gateway(database_url, tmp_path) as client:
        client.headers.update(bearer(user_token("jana", groups=["orders"])))
        yield client


@pytest.mark.parametrize(
    ("database_url", "sample"),
    [
        pytest.param("postgresql", SAMPLE, id="postgresql"),
        pytest.param("sqlite", SAMPLE, id="sqlite"),
        pytest.param("postgresql", None, id="postgresql-all", marks=pytest.mark.soak),
        pytest.param("sqlite", None, id="sqlite-all", marks=pytest.mark.soak),
    ],
    indirect=["database_url"],
)
def test_what_the_api_says_of_every_mail_is_what_a_reader_without_a_sandbox_says(
    service: httpx.Client, database_url: str, dovecot: Dovecot, corpus: Path, sample: int | None
) -> None:
    files = mail_files(corpus)
    assert files, f"no mails in {corpus}"
    if sample is not None:
        dice = random.Random(f"{SEED} {make_url(database_url).get_backend_name()}")
        files = dice.sample(files, min(sample, len(files)))
    awkward = [path.read_bytes() for path in files]
    user = dovecot.new_user()
    ordinary = [mail(f"ordinary {number}") for number in range(len(awkward) // 2)]
    dovecot.deliver_all(user, [*(raw for raw in awkward if raw and b"\0" not in raw), *ordinary])
    for raw in awkward:
        if not raw or b"\0" in raw:
            dovecot.put_in_maildir(user, raw)
    seen = [each.raw for each in dovecot.messages(user)]
    assert len(seen) == len(awkward) + len(ordinary)

    rows = fetched_rows(service, dovecot, user, len(seen))

    assert dovecot.messages(user) == []
    assert hashes([each.raw for each in dovecot.messages(user, "Trash")]) == hashes(seen)
    counts: Counter[str] = Counter()
    sources: list[bytes] = []
    differing: list[tuple[str, str]] = []
    for row in rows:
        detail = ask(service, f"/messages/{row['id']}").json()
        sources.append(ask(service, f"/messages/{row['id']}/source").content)
        assert row["sha256"] == hashlib.sha256(sources[-1]).hexdigest()
        counts.update({defect["code"] for defect in detail["defects"]})
        fields = differences(service, row, detail, sources[-1])
        differing += [(row["sha256"], field) for field in fields]
    assert differing == [], differing
    assert hashes(sources) == hashes(seen)
    FIGURES["mails of the corpus, over HTTP"] += len(awkward)
    assert_counted(service, counts, len(seen))
    if sample is None:
        assert_pinned(corpus, counts)


def test_the_reader_finds_each_defect_of_the_corpus_as_often_as_before(corpus: Path) -> None:
    raws = [given_by_dovecot(path.read_bytes()) for path in mail_files(corpus)]
    assert raws, f"no mails in {corpus}"
    assert_pinned(
        corpus, Counter(code for raw in raws for code in {each.code for each in parse_mail(raw).defects})
    )
    FIGURES["mails of the corpus, by the reader alone"] += len(raws)


def given_by_dovecot(raw: bytes) -> bytes:
    """A mail as Dovecot gives it, which has neither bare LF nor NUL."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", raw).replace(b"\0", b"\x80")


def ask(service: httpx.Client, path: str, **params: str | int) -> httpx.Response:
    """Ask for something that is there."""
    answer = service.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer


def fetched_rows(service: httpx.Client, dovecot: Dovecot, user: str, mails: int) -> list[dict[str, Any]]:
    """Set up the mailbox over the API, follow the feed until so many mails are there, and have the last cycle end."""
    admin = bearer(user_token("administrator", admin=True))
    body = {
        "name": "Orders",
        "kind": "shared",
        "email_address": "orders@firma.cz",
        "imap": {"host": dovecot.host, "port": dovecot.port, "security": "none", "username": user},
        "credentials": {"type": "password", "password": dovecot.password},
        "first_fetch": "all",
        "poll_interval_s": 1,
    }
    made = service.post("/connectors", headers=admin, json=body)
    assert made.status_code == 201, made.text
    connector = f"/connectors/{made.json()['id']}"
    binding = {"connector_id": made.json()["id"], "group": "orders"}
    assert service.post("/group-bindings", headers=admin, json=binding).status_code == 201
    rows: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    until = time.monotonic() + FETCH_TIMEOUT_S
    while len(rows) < mails:
        assert time.monotonic() < until, f"{len(rows)} of {mails} mails were fetched"
        page = ask(service, "/messages", limit=200, wait_s=10, **after).json()
        rows += page["data"]
        after = {"after": page["next_cursor"]}
    last = service.post(f"{connector}/fetch", headers=admin)  # waits for the one that still moves
    assert (last.status_code, last.json().get("found")) == (200, 0), last.text
    for cycle in service.get(f"{connector}/cycles", headers=admin).json()["data"]:
        assert (cycle["error"], cycle["quarantined"], cycle["left"]) == (None, 0, 0), cycle
    assert ask(service, "/messages", **after).json()["data"] == []
    return rows


def differences(service: httpx.Client, row: dict[str, Any], detail: dict[str, Any], raw: bytes) -> list[str]:
    """The fields in which the API differs from a reader without a sandbox, and faults of the reader."""
    found = [defect["code"] for defect in detail["defects"] if defect["code"] in PARSER_FAULTS]
    values = expected(parse_mail(raw), detail["id"])
    found += [name for name, value in values.items() if detail[name] != value]
    found += [f"{name} in the list" for name in row.keys() & values.keys() if row[name] != detail[name]]
    for attachment in islice(detail["attachments"], ATTACHMENTS_READ_MAX):
        n = attachment["n"]
        taken = extract_attachment(raw, n)
        answer = ask(service, f"/messages/{detail['id']}/attachments/{n}")
        if taken is None or answer.content != taken.content:
            found.append(f"attachment {n}")
        assert len(answer.content) == attachment["size_octets"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    return found


def expected(parsed: ParsedMail, message_id: str) -> dict[str, Any]:
    """What the API is to say of a mail that was read so."""
    shown = ("n", "name", "content_type", "size_octets", "content_id", "inline")
    attachments = f"/messages/{message_id}/attachments"
    links = {f"attachment-{each.n}": f"{attachments}/{each.n}" for each in parsed.attachments}
    links |= {
        each.content_id: f"{attachments}/{each.n}" for each in parsed.attachments[::-1] if each.content_id
    }
    return {
        "subject": parsed.subject,
        "from": asdict(parsed.from_) if parsed.from_ else None,
        **{name: [asdict(each) for each in getattr(parsed, name)] for name in ("to", "cc", "reply_to")},
        "date_header": parsed.date_header and parsed.date_header.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "message_id_header": parsed.message_id_header,
        "in_reply_to": parsed.in_reply_to,
        "references": list(parsed.references),
        "text": parsed.text,
        "html": parsed.html and link_images(parsed.html, links),
        "snippet": parsed.snippet,
        "has_attachments": parsed.has_attachments,
        "is_auto_reply": parsed.is_auto_reply,
        "attachments": [{name: getattr(each, name) for name in shown} for each in parsed.attachments],
        "defects": [{"code": each.code.value, "detail": each.detail} for each in parsed.defects],
    }


def assert_counted(service: httpx.Client, counts: Counter[str], mails: int) -> None:
    """The metrics say the same as the messages."""
    page = service.get("/metrics").text
    assert f"gateway_mails_stored_total {float(mails)}" in page
    for code, count in counts.items():
        assert f'gateway_mail_defects_total{{code="{code}"}} {float(count)}' in page


def assert_pinned(corpus: Path, counts: Counter[str]) -> None:
    """The counts of the known corpus are those in the data file."""
    manifest = corpus / "manifest.json"
    found = hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.exists() else None
    if PIN:
        pinned = {"manifest_sha256": found, "defects": dict(sorted(counts.items()))}
        PINNED.write_text(json.dumps(pinned, indent=1) + "\n")
    pinned = json.loads(PINNED.read_text())
    if found == pinned["manifest_sha256"]:
        assert dict(counts) == pinned["defects"]


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"no header\r\n"], ids=["0 octets", "empty line", "no header"])
def test_a_mail_of_next_to_nothing_is_a_message(gateway: Gateway, dovecot: Dovecot, raw: bytes) -> None:
    box = mailbox(gateway, dovecot)
    dovecot.put_in_maildir(box.user, raw)
    seen = box.raws("INBOX")
    assert box.fetch_well().moved == 1
    assert box.sources() == seen
