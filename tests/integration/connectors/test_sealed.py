"""A mailbox that its owner has sealed: others may point it elsewhere, and get nothing by it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlmodel import col

from app.gateway import Gateway
from app.models import Connector, Event, Submission
from app.services.access.audit import NamedActor
from app.services.connectors.status import settle
from app.services.mailboxes import credentials
from app.services.sending.sender import Sender
from app.states import SealedBy
from tests.support.callers import Callers
from tests.support.connector_bodies import PASSWORD, created, personal
from tests.support.links import link
from tools.servers.smtp import SmtpServer

ADMIN = Callers.user("administrator", admin=True)
KEPT_FOR_EVER = {
    "delete_processed_after_days": None,
    "delete_sent_after_days": None,
    "delete_failed_after_days": None,
}
JANA = Callers.user("jana")


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as made:
        yield made


@pytest.fixture
def elsewhere() -> Iterator[SmtpServer]:
    """A server of somebody else, that takes any password."""
    with SmtpServer() as made:
        yield made


def smtp(server: SmtpServer) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "security": "none", "username": "jana"}


def prepared(client: TestClient, server: SmtpServer, **changes: Any) -> str:
    imap = {"host": "127.0.0.1", "port": 1, "security": "none", "username": "jana"}
    body = personal(external_id="jana-1", imap=imap, smtp=smtp(server), **changes)
    connector_id: str = created(client, ADMIN, body)["id"]
    return connector_id


def enter(client: TestClient, connector_id: str) -> None:
    path = f"/connectors/{connector_id}/credentials"
    assert client.put(path, json=PASSWORD, headers=JANA).status_code == 200


def enter_by_link(gateway: Gateway, connector_id: str) -> None:
    """What the page does when somebody confirms."""
    with gateway.db.unit_of_work() as session:
        row = session.get_one(Connector, connector_id)
        assert credentials.takes_links(row)
        credentials.enter(session, gateway, row, "by link", by=NamedActor("link:1"), sealing=SealedBy.LINK)
        settle(session, row, anew=True)


def queued(client: TestClient, connector_id: str) -> str:
    body = {"connector_id": connector_id, "to": ["doctor@example.com"], "text": "secret"}
    answer = client.post("/submissions", json=body, headers=JANA)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def change(client: TestClient, connector_id: str, headers: dict[str, str], **settings: Any) -> httpx.Response:
    answer: httpx.Response = client.patch(f"/connectors/{connector_id}", json=settings, headers=headers)
    return answer


def send_due(gateway: Gateway) -> None:
    """Let everything that waits be looked at now."""
    with gateway.db.unit_of_work() as session:
        for row in session.execute(select(Submission)).scalars():
            if row.next_attempt_at is not None:
                row.next_attempt_at = row.created_at
    sender = Sender(gateway)
    sender.send_due()
    assert sender.wait(60)


def status(client: TestClient, connector_id: str) -> str:
    return str(client.get(f"/connectors/{connector_id}", headers=JANA).json()["status"])


class TestSealedByToken:
    @pytest.mark.parametrize(
        "imap", [None, {"port": 2}, {"username": "another"}, {"security": "starttls"}, {"host": "127.0.0.2"}]
    )
    def test_what_waits_goes_to_no_other_server_before_the_owner_says_so(
        self,
        client: TestClient,
        gateway: Gateway,
        server: SmtpServer,
        elsewhere: SmtpServer,
        imap: dict[str, Any] | None,
    ) -> None:
        at = prepared(client, server)
        enter(client, at)
        queued(client, at)
        settings = {"smtp": {"port": elsewhere.port}} if imap is None else {"imap": imap}
        assert change(client, at, ADMIN, **settings).status_code == 200
        assert status(client, at) == "awaiting_credentials"
        url = link(client, at)
        page = client.get(url)
        assert (page.status_code, "Only its owner" in page.text) == (200, True)
        answer = client.post(url, data={"step": "check", "seen": "", "password": "any"})
        assert answer.status_code == 403
        assert client.put(f"/connectors/{at}/credentials", json=PASSWORD, headers=ADMIN).status_code == 403
        client.post(f"/connectors/{at}/resume", headers=ADMIN)
        send_due(gateway)
        assert (server.mails, elsewhere.mails) == ([], [])
        enter(client, at)
        assert status(client, at) == "active"
        send_due(gateway)
        assert len((elsewhere if imap is None else server).mails) == 1

    def test_a_change_back_does_not_end_the_wait(
        self, client: TestClient, gateway: Gateway, server: SmtpServer, elsewhere: SmtpServer
    ) -> None:
        at = prepared(client, server)
        enter(client, at)
        queued(client, at)
        change(client, at, ADMIN, smtp={"port": elsewhere.port})
        change(client, at, ADMIN, smtp={"port": server.port})
        assert client.post(link(client, at), data={"step": "check", "password": "any"}).status_code == 403
        send_due(gateway)
        assert server.mails == []

    def test_the_owner_may_change_the_servers(
        self, client: TestClient, gateway: Gateway, server: SmtpServer, elsewhere: SmtpServer
    ) -> None:
        at = prepared(client, server)
        enter(client, at)
        queued(client, at)
        change(client, at, JANA, smtp={"port": elsewhere.port}, credentials=PASSWORD)
        send_due(gateway)
        assert (len(server.mails), len(elsewhere.mails)) == (0, 1)

    def test_the_owner_is_told_also_of_a_paused_one(
        self, client: TestClient, gateway: Gateway, server: SmtpServer
    ) -> None:
        at = prepared(client, server)
        enter(client, at)
        client.post(f"/connectors/{at}/pause", headers=JANA)
        change(client, at, ADMIN, imap={"port": 2})
        with gateway.db.reading() as session:
            statement = (
                select(Event).where(col(Event.connector_id) == at).order_by(col(Event.position).desc())
            )
            event = session.execute(statement).scalars().first()
        assert event is not None
        assert "credentials_required" in event.type
        assert event.data["code"] == "servers_changed"
        assert event.data["recipients"]["users"] == ["jana"]


class TestSealedByALinkAlone:
    def test_a_new_link_ends_the_wait_and_what_was_queued_waits_for_the_owner(
        self, client: TestClient, gateway: Gateway, server: SmtpServer, elsewhere: SmtpServer
    ) -> None:
        at = prepared(client, server)
        enter_by_link(gateway, at)
        before = queued(client, at)
        change(client, at, ADMIN, smtp={"port": elsewhere.port})
        enter_by_link(gateway, at)
        assert status(client, at) == "active"
        send_due(gateway)
        assert (server.mails, elsewhere.mails) == ([], [])
        after = queued(client, at)
        send_due(gateway)
        assert len(elsewhere.mails) == 1
        shown = client.get(f"/submissions/{before}", headers=JANA).json()
        assert (shown["status"], "waits until the owner" in shown["recipients"][0]["detail"]) == (
            "queued",
            True,
        )
        assert client.get(f"/submissions/{after}", headers=JANA).json()["status"] == "sent"
        enter(client, at)
        send_due(gateway)
        assert len(elsewhere.mails) == 2


class TestWhatIsTheOwners:
    @pytest.mark.parametrize(
        "sent",
        [
            {"first_fetch": "all"},
            {"first_fetch": None},
            {"first_fetch": {"since": "2026-01-01"}},
            {"retention": {"delete_processed_after_days": 1}},
            {"retention": None},
            {"source_folder": "Private"},
            {"processed_folder": "Done"},
            {"email_address": "another@firma.cz"},
        ],
    )
    def test_others_do_not_change_it(
        self, client: TestClient, server: SmtpServer, sent: dict[str, Any]
    ) -> None:
        at = prepared(client, server, first_fetch="none", retention={"delete_processed_after_days": 30})
        enter(client, at)
        before = client.get(f"/connectors/{at}", headers=JANA)
        assert change(client, at, ADMIN, **sent).status_code == 403
        assert client.get(f"/connectors/{at}", headers=JANA).headers["etag"] == before.headers["etag"]
        owner = change(client, at, JANA, **sent)
        assert owner.status_code == 200, owner.text

    def test_a_replacement_that_leaves_it_out_keeps_it(self, client: TestClient, server: SmtpServer) -> None:
        at = prepared(client, server)
        enter(client, at)
        chosen = {
            "first_fetch": "none",
            "retention": {**KEPT_FOR_EVER, "delete_processed_after_days": 30},
            "processed_folder": "Done",
        }
        assert change(client, at, JANA, **chosen).status_code == 200
        shown = client.get(f"/connectors/{at}", headers=JANA).json()
        body = {name: shown[name] for name in ("name", "kind", "owner", "email_address", "imap", "smtp")}
        path = "/connectors/by-external-id/jana-1"
        for sent in (
            {**body, "source_folder": "AyMINE"},
            {**body, "name": "Another"},
            {**body, "retention": {}},
            {**body, **chosen},
        ):
            answer = client.put(path, json=sent, headers=ADMIN)
            assert answer.status_code == 200, answer.text
            after = answer.json()
            assert {name: after[name] for name in chosen} == chosen
            assert after["source_folder"] == "AyMINE"
        for other in ({"first_fetch": "all"}, {"retention": {"delete_processed_after_days": 1}}):
            assert client.put(path, json={**body, **other}, headers=ADMIN).status_code == 403
