"""Awkward mails among ordinary ones, from the server to the HTTP interface: all are kept byte for byte, moved, and
can be listed, read and downloaded; none keeps another from being taken in."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.gateway import Gateway
from tests.servers.dovecot import Dovecot
from tests.support.callers import UserHeaders
from tests.support.corpus import mail_files
from tests.support.fetched_mailbox import hashes, mailbox
from tests.support.figures import FIGURES
from tests.support.stored_mail import mail


def test_every_mail_is_stored_moved_and_readable(
    gateway: Gateway, client: TestClient, dovecot: Dovecot, corpus: Path, as_user: UserHeaders
) -> None:
    awkward = [path.read_bytes() for path in mail_files(corpus)]
    assert awkward, f"no mails in {corpus}"
    box = mailbox(gateway, dovecot, first_fetch="all")
    ordinary = [mail(f"ordinary {number}") for number in range(100)]
    appended = [raw for raw in awkward if raw and b"\0" not in raw]
    dovecot.deliver_all(box.user, [*appended, *ordinary])
    for raw in awkward:
        if not raw or b"\0" in raw:
            dovecot.put_in_maildir(box.user, raw)
    seen = box.raws("INBOX")
    assert len(seen) == len(awkward) + len(ordinary)

    cycle = box.fetch_well()

    assert (cycle.stored, cycle.moved, cycle.quarantined) == (len(seen), len(seen), 0)
    assert box.sources() == seen
    assert hashes(box.raws("Trash")) == hashes(seen)
    assert box.raws("INBOX") == []
    FIGURES["mails of the corpus"] += len(awkward)
    listed = read_all(client, as_user("jana", groups=["orders"]))
    assert hashes(listed) == hashes(seen)


def read_all(client: TestClient, headers: dict[str, str]) -> list[bytes]:
    """The sources of all messages, by way of every page, every detail and every attachment."""
    sources: list[bytes] = []
    after: str | None = None
    while True:
        params = {"limit": "200", **({"after": after} if after else {})}
        page = client.get("/messages", params=params, headers=headers)
        assert page.status_code == 200, page.text
        for row in page.json()["data"]:
            sources.append(read(client, row["id"], headers))
        after = page.json()["next_cursor"]
        if not page.json()["has_more"]:
            return sources


def read(client: TestClient, message_id: str, headers: dict[str, str]) -> bytes:
    detail = client.get(f"/messages/{message_id}", headers=headers)
    assert detail.status_code == 200, detail.text
    for attachment in detail.json()["attachments"]:
        part = client.get(f"/messages/{message_id}/attachments/{attachment['n']}", headers=headers)
        if part.status_code == 409:
            assert part.json()["code"] == "attachment_unreadable"
            continue
        assert part.status_code == 200, part.text
        assert len(part.content) == attachment["size_octets"]
        assert part.headers["X-Content-Type-Options"] == "nosniff"
    source = client.get(f"/messages/{message_id}/source", headers=headers)
    assert source.status_code == 200
    content: bytes = source.content
    return content


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"no header\r\n"], ids=["0 octets", "empty line", "no header"])
def test_a_mail_of_next_to_nothing_is_a_message(gateway: Gateway, dovecot: Dovecot, raw: bytes) -> None:
    box = mailbox(gateway, dovecot)
    dovecot.put_in_maildir(box.user, raw)
    seen = box.raws("INBOX")
    assert box.fetch_well().moved == 1
    assert box.sources() == seen
