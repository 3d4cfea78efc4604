"""Nobody gets at mail, passwords or facts that are not theirs, by any sequence of allowed steps."""

import contextlib
import http.client
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app import clock
from tests.attacks.world import ADMIN, MAIL, PASSWORD, WAIT_S, Attacked, hidden, server_at, somebody
from tests.support.callers import Callers, bearer
from tools.servers.http_receiver import HttpReceiver
from tools.servers.process import wait_until
from tools.servers.scripted_imap import ScriptedImap
from tools.servers.smtp import SmtpServer

LATER = (clock.utc_now() + timedelta(days=300)).isoformat()


class Sealed:
    """A mailbox whose owner has entered the password with a token, with a mail that waits to be sent."""

    def __init__(self, attacked: Attacked, imap: ScriptedImap, smtp: SmtpServer) -> None:
        self.attacked = attacked
        self.owner, self.headers = somebody("jana")
        self.name = f"hr-{self.owner}"
        made = attacked.connected(
            ADMIN,
            imap,
            self.owner,
            external_id=self.name,
            smtp=server_at(smtp.port, self.owner),
            credentials=None,
            first_fetch="none",
        )
        self.id = str(made["id"])
        self.path = f"/connectors/{self.id}"
        attacked.well("PUT", f"{self.path}/credentials", self.headers, PASSWORD)

    def changed(self, **settings: Any) -> int:
        return int(self.attacked.call("PATCH", self.path, ADMIN, settings).status_code)

    def replaced(self, **settings: Any) -> int:
        """By external id, as scripts do it."""
        shown = self.attacked.well("GET", self.path, self.headers)
        names = ("name", "kind", "owner", "email_address", "imap", "smtp")
        body = {**{name: shown[name] for name in names}, **settings}
        path = f"/connectors/by-external-id/{self.name}"
        return int(self.attacked.call("PUT", path, ADMIN, body).status_code)

    def link(self) -> str:
        return str(self.attacked.well("POST", f"{self.path}/credential-links", ADMIN)["url"])

    def settings(self) -> dict[str, Any]:
        shown: dict[str, Any] = self.attacked.well("GET", self.path, self.headers)
        return shown


@pytest.fixture
def sealed(attacked: Attacked, imap: ScriptedImap, smtp_server: SmtpServer) -> Sealed:
    return Sealed(attacked, imap, smtp_server)


def pointed_at(sealed: Sealed, imap: ScriptedImap, smtp: SmtpServer) -> list[Callable[[], Any]]:
    """The steps of somebody who points both servers at their own, by various ways."""
    mine, theirs = server_at(imap.port, sealed.owner), server_at(smtp.port, sealed.owner)
    return [
        lambda: sealed.changed(smtp=theirs),
        lambda: (sealed.changed(smtp=None), sealed.changed(smtp=theirs)),
        lambda: sealed.replaced(smtp=theirs, imap=mine),
        lambda: (sealed.replaced(smtp=None), sealed.replaced(smtp=theirs)),
    ]


@pytest.mark.parametrize("way", range(4))
def test_whoever_points_a_sealed_mailbox_at_servers_of_their_own_gets_nothing_by_a_link(
    attacked: Attacked, sealed: Sealed, evil_imap: ScriptedImap, evil_smtp: SmtpServer, way: int
) -> None:
    waiting = attacked.submit(sealed.id, sealed.headers, send_at=LATER)
    pointed_at(sealed, evil_imap, evil_smtp)[way]()
    assert sealed.settings()["smtp"]["port"] == evil_smtp.port
    assert attacked.status(sealed.id, ADMIN) == "awaiting_credentials"
    url = sealed.link()
    page = attacked.client.get(url).text
    for step in ("check", "connect"):
        form = {"step": step, "seen": hidden(page, "seen"), "password": "any", "sealed": "x"}
        assert attacked.client.post(url, data=form).status_code == 403
    refused = attacked.call("PUT", f"{sealed.path}/credentials", ADMIN, PASSWORD)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert sealed.changed(credentials=PASSWORD) == 403
    for step in ("pause", "resume"):
        attacked.well("POST", f"{sealed.path}/{step}", ADMIN)
    assert attacked.call("POST", f"{sealed.path}/fetch", ADMIN).status_code == 409
    assert attacked.call("POST", f"{sealed.path}/test", ADMIN).status_code == 409
    assert attacked.status(sealed.id, ADMIN) == "awaiting_credentials"
    told = [each["data"] for each in attacked.events(sealed.headers, sealed.id)]
    assert [each["recipients"]["users"] for each in told if each.get("code") == "servers_changed"]
    assert (evil_imap.commands, evil_smtp.connections) == ([], 0)
    attacked.well("PUT", f"{sealed.path}/credentials", sealed.headers, PASSWORD)
    assert attacked.status(sealed.id, ADMIN) in {"active", "failing"}
    assert attacked.well("GET", f"/submissions/{waiting}", sealed.headers)["status"] == "queued"


def test_what_a_sealed_mailbox_reads_keeps_and_moves_is_the_owners_choice(
    attacked: Attacked, sealed: Sealed
) -> None:
    before = sealed.settings()
    for settings in (
        {"first_fetch": "all"},
        {"first_fetch": {"since": "2020-01-01"}},
        {"first_fetch": None},
        {"retention": {"delete_processed_after_days": 1}},
        {"retention": {"delete_sent_after_days": 1}},
        {"source_folder": "Private"},
        {"processed_folder": "Elsewhere"},
        {"email_address": "other@firma.cz"},
        {"aliases": ["boss@firma.cz"]},
        {"from_name": "The boss"},
    ):
        assert sealed.changed(**settings) == 403, settings
        if settings != {"first_fetch": None}:
            assert sealed.replaced(**settings) == 403, settings
    same = {name: before[name] for name in ("first_fetch", "retention", "source_folder", "processed_folder")}
    assert (sealed.changed(**same), sealed.replaced(**same), sealed.replaced(name="New")) == (200, 200, 200)
    assert {**sealed.settings(), "updated_at": None, "name": None} == {
        **before,
        "updated_at": None,
        "name": None,
        "status": sealed.settings()["status"],
        "last_error": sealed.settings()["last_error"],
        "last_success_at": sealed.settings()["last_success_at"],
    }


@pytest.mark.parametrize(
    "change", ["imap_port = {imap}", "smtp_port = {smtp}", "imap_host = 'localhost'", "imap_username = 'x'"]
)
def test_whoever_writes_the_database_without_a_key_gets_no_password(
    attacked: Attacked,
    imap: ScriptedImap,
    smtp_server: SmtpServer,
    evil_imap: ScriptedImap,
    evil_smtp: SmtpServer,
    change: str,
) -> None:
    owner, headers = somebody("jana")
    made = attacked.connected(headers, imap, owner, smtp=server_at(smtp_server.port, owner))
    wait_until(lambda: attacked.status(made["id"], headers) == "active", WAIT_S, "the connector")
    values = change.format(imap=evil_imap.port, smtp=evil_smtp.port)
    with contextlib.closing(sqlite3.connect(attacked.database, timeout=WAIT_S)) as database, database:
        database.execute(f"UPDATE connectors SET {values} WHERE id = ?", (made["id"],))
    logins = len(imap.sent("LOGIN"))
    attacked.submit(made["id"], headers)

    def code() -> str | None:
        error = attacked.well("GET", f"/connectors/{made['id']}", headers)["last_error"]
        return error["code"] if error else None

    wait_until(lambda: code() == "secret_unreadable", WAIT_S, "the refusal to use the password")
    assert len(imap.sent("LOGIN")) <= logins + 1  # of a cycle that had begun
    assert (evil_imap.commands, evil_smtp.connections) == ([], 0)


def test_a_password_goes_only_to_the_servers_that_its_owner_has_seen(
    attacked: Attacked, imap: ScriptedImap, evil_imap: ScriptedImap
) -> None:
    owner, headers = somebody("jana")
    path = f"/connectors/{attacked.connected(ADMIN, imap, owner, credentials=None)['id']}"
    seen = attacked.call("GET", path, headers).headers["etag"]
    attacked.well("PATCH", path, ADMIN, {"imap": {"port": evil_imap.port}})
    for etag in ("*", '"x"', f"W/{seen}", seen, seen.strip('"'), f"{seen}, {seen}", '"', ""):
        answer = attacked.call("PUT", f"{path}/credentials", headers, PASSWORD, **{"If-Match": etag})
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed"), etag
    assert evil_imap.commands == []
    attacked.well("PATCH", path, ADMIN, {"imap": {"port": imap.port}})
    present = attacked.call("GET", path, headers).headers["etag"]
    stored = attacked.call("PUT", f"{path}/credentials", headers, PASSWORD, **{"If-Match": present})
    assert stored.status_code == 200
    wait_until(lambda: attacked.status(path.rpartition("/")[2], headers) == "active", WAIT_S, "a cycle")
    # Cycles do not change the version.
    assert attacked.call("GET", path, headers).headers["etag"] == stored.headers["etag"]


def test_groups_that_are_bound_behind_the_owners_back_are_shown_and_confirmed(
    attacked: Attacked, imap: ScriptedImap
) -> None:
    made = attacked.connected(ADMIN, imap, None, credentials=None)
    url = attacked.well("POST", f"/connectors/{made['id']}/credential-links", ADMIN)["url"]
    page = attacked.client.get(url).text
    checked = attacked.client.post(url, data={"step": "check", "seen": hidden(page, "seen"), "password": "p"})
    assert checked.status_code == 200
    attacked.well("POST", "/group-bindings", ADMIN, {"connector_id": made["id"], "group": "nosy-people"})
    form = {"step": "connect", "seen": hidden(checked.text, "seen"), "sealed": hidden(checked.text, "sealed")}
    refused = attacked.client.post(url, data=form)
    assert (refused.status_code, "nosy-people" in refused.text) == (409, True)
    assert attacked.status(made["id"], ADMIN) == "awaiting_credentials"


def test_events_that_wait_for_one_principal_never_go_to_another(
    attacked: Attacked, imap: ScriptedImap
) -> None:
    owner, headers = somebody("jana")
    with HttpReceiver() as down, HttpReceiver() as mine:
        down.answer_with(503)
        hook = attacked.well("POST", "/webhooks", ADMIN, {"url": f"{down.url}/"})
        made = attacked.connected(headers, imap, owner)
        imap.inbox.add(MAIL % 1)
        wait_until(lambda: down.requests != [], WAIT_S, "a delivery that fails")
        scopes = ["webhooks:write", "events:read"]
        key = attacked.well("POST", "/api-keys", ADMIN, {"name": "k", "scopes": scopes})
        taken = {"url": f"{mine.url}/", "active": True}
        attacked.well("PATCH", f"/webhooks/{hook['id']}", bearer(key["key"]), taken)
        shared = attacked.connected(ADMIN, imap, None)
        attacked.well("POST", f"/connectors/{shared['id']}/pause", ADMIN)
        attacked.well("DELETE", f"/connectors/{shared['id']}/credentials", ADMIN)
        attacked.well("POST", f"/connectors/{shared['id']}/resume", ADMIN)
        wait_until(
            lambda: any(shared["id"].encode() in each.body for each in mine.requests), WAIT_S, "an event"
        )
        assert not [each.body for each in mine.requests if made["id"].encode() in each.body]
        attacked.well("DELETE", f"/webhooks/{hook['id']}", ADMIN)


def test_a_stranger_neither_keeps_an_owner_out_nor_learns_that_there_is_one(
    attacked: Attacked, imap: ScriptedImap
) -> None:
    """By squatting, by a 409, by a ring of moves; before and after the owner has connected."""
    owner, jana = somebody("jana")
    squatter, bob = somebody("bob")
    username = f"box-{owner}"
    server = server_at(imap.port, username)
    early = attacked.connected(bob, imap, squatter, imap=server, credentials=None)
    mine = attacked.connected(jana, imap, owner, imap=server, external_id="crm")
    wait_until(lambda: attacked.status(mine["id"], jana) == "active", WAIT_S, "the owner's first cycle")
    ring = {"source_folder": "Trash", "processed_folder": "INBOX", "credentials": None}
    late = attacked.connected(bob, imap, squatter, imap=server, external_id="crm")
    attacked.connected(bob, imap, squatter, imap=server, **ring)
    free = attacked.connected(bob, imap, squatter, external_id="free")
    assert late.keys() == free.keys()
    for path in (f"/connectors/{early['id']}", f"/connectors/{free['id']}"):
        moved = attacked.call("PATCH", path, bob, {"imap": server, "external_id": None})
        assert moved.status_code == 200

    def error() -> Any:
        return (attacked.well("GET", f"/connectors/{late['id']}", bob)["last_error"] or {}).get("code")

    wait_until(lambda: error() == "mailbox_taken", WAIT_S, "the later one to be stopped")
    imap.inbox.add(MAIL % 2)
    path = f"/messages?connector_id={mine['id']}"
    wait_until(lambda: len(attacked.well("GET", path, jana)["data"]) == 1, WAIT_S, "the owner's mail")
    assert attacked.well("GET", "/messages", bob)["data"] == []
    assert attacked.status(mine["id"], jana) == "active"


def test_cursors_do_not_count_what_others_get(attacked: Attacked, imap: ScriptedImap) -> None:
    _, eve = somebody("eve")
    owner, jana = somebody("jana")
    before = [attacked.well("GET", f"/{each}", eve)["next_cursor"] for each in ("events", "messages")]
    made = attacked.connected(jana, imap, owner)
    for number in range(3):
        imap.inbox.add(MAIL % (100 + number))
    path = f"/messages?connector_id={made['id']}"
    wait_until(lambda: len(attacked.well("GET", path, jana)["data"]) == 3, WAIT_S, "the mails")
    after = [attacked.well("GET", f"/{each}", eve)["next_cursor"] for each in ("events", "messages")]
    assert {len(each) for each in before + after} == {len(before[0])}
    assert len(set(before + after)) == 4
    assert all(
        attacked.well("GET", f"/events?after={each}", eve)["data"] == [] for each in (before[0], after[0])
    )
    for plain in ("MQ", "Mg", "OTk5", "MTAwMDAw"):  # numbers, as cursors were once
        for each in ("events", "messages"):
            assert attacked.call("GET", f"/{each}?after={plain}", eve).status_code == 422


def test_totals_are_for_the_operator_alone(attacked: Attacked) -> None:
    assert attacked.client.get("/metrics").status_code == 200
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP", "X-Forwarded-Port"):
        assert attacked.client.get("/metrics", headers={name: "127.0.0.1"}).status_code == 401, name


@pytest.mark.parametrize("path", ["/connectors/", "/credential-links/x/", "/health/live/", "//evil.example/"])
def test_no_redirect_is_built_from_the_host_header(attacked: Attacked, path: str) -> None:
    line = http.client.HTTPConnection("127.0.0.1", attacked.client.base_url.port, timeout=WAIT_S)
    with contextlib.closing(line):
        for method in ("GET", "POST"):
            line.putrequest(method, path, skip_host=True)
            line.putheader("Host", "evil.example")
            line.putheader("Content-Length", "0")
            line.endheaders()
            answer = line.getresponse()
            answer.read()
            assert answer.getheader("Location") is None
            assert answer.status in {401, 404, 405}


def test_whoever_reads_or_changes_mail_is_in_the_audit_trail(
    attacked: Attacked, imap: ScriptedImap, smtp_server: SmtpServer
) -> None:
    made = attacked.connected(ADMIN, imap, None, smtp=server_at(smtp_server.port, "info"))
    group = f"readers-{made['id']}"
    attacked.well("POST", "/group-bindings", ADMIN, {"connector_id": made["id"], "group": group})
    name, _ = somebody("petr")
    petr = Callers.user(name, groups=[group])
    head, _, text = (MAIL % 7).partition(b"\r\n\r\n")
    imap.inbox.add(
        head
        + b"\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment\r\n\r\n"
        + text
    )
    listed = f"/messages?connector_id={made['id']}"
    wait_until(lambda: attacked.well("GET", listed, petr)["data"] != [], WAIT_S, "the mail")
    path = f"/messages/{attacked.well('GET', listed, petr)['data'][0]['id']}"
    for each in ("", "/attachments/1", "/source"):
        assert attacked.call("GET", path + each, petr).status_code == 200
    attacked.well("PATCH", path, petr, {"state": "processed"})
    attacked.submit(made["id"], petr, send_at=LATER)
    attacked.well("POST", "/messages/delete", petr, {"connector_id": made["id"]})
    trail = attacked.well("GET", f"/audit?limit=200&actor=user:{name}", ADMIN)["data"]
    assert [each["action"] for each in reversed(trail)] == [
        "message.read",
        "message.attachment_read",
        "message.source_read",
        "message.state_changed",
        "submission.created",
        "messages.deleted",
    ]
    assert attacked.well("GET", f"/audit?actor=user:{name}&until={trail[-1]['at']}", ADMIN)["data"] == []
