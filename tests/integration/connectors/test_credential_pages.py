"""The link by which the owner of a mailbox enters its password, over HTTP and against a real mail server."""

import re
import threading
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import time_machine
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlmodel import col

from app import clock
from app.errors import NotFound, TooManyRequests
from app.gateway import Gateway
from app.main import create_app
from app.models import Connector, Credential, CredentialLink
from app.services.connectors import credential_links
from app.services.fetching import fetch_cycle
from app.services.mailboxes import credentials
from app.states import ConnectorStatus
from app.web_pages.page import language_of
from app.web_pages.texts import CZECH, ENGLISH, TEXTS
from tests.support.callers import Callers
from tests.support.links import ADMIN, OWNER, body_for, link, mailbox_with, prepared
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import ImapProxy
from tools.servers.process import free_port
from tools.servers.smtp import SmtpServer

OTHER = Callers.user("eva")


def stored_password(gateway: Gateway, connector_id: str) -> str:
    with gateway.db.reading() as session:
        found = credentials.with_settings(session, connector_id)
        assert found is not None
        assert found[1] is not None
        secret = credentials.stored(session, found[0], found[1])
    return credentials.decrypted(gateway, secret)


class Page:
    """What a browser would make of an answer: the sentences, and the form with its hidden fields."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status = answer.status_code
        self.headers = answer.headers
        self.html = answer.text
        without_style = re.sub(r"<style>.*</style>", "", self.html, flags=re.DOTALL)
        self.text = unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</?b>", "", without_style)))
        self.fields = {
            name: unescape(value)
            for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', self.html)
        }

    def says(self, text: str) -> bool:
        """Whether the page contains a text of ours, whatever values are filled in."""
        pattern = ".+?".join(re.escape(part) for part in re.split(r"{\w+}", text))
        return re.search(pattern, self.text, re.DOTALL) is not None


class Owner:
    """Somebody with a link and a browser that speaks a language."""

    def __init__(self, client: TestClient, url: str, language: str = "en") -> None:
        self._client = client
        self._path = urlsplit(url).path
        self._headers = {"Accept-Language": language}

    def look(self) -> Page:
        return Page(self._client.get(self._path, headers=self._headers))

    def send(self, page: Page, **fields: str) -> Page:
        return Page(self._client.post(self._path, data={**page.fields, **fields}, headers=self._headers))

    def check(self, password: str) -> Page:
        return self.send(self.look(), password=password)


def status_of(client: TestClient, connector_id: str) -> str:
    return str(client.get(f"/connectors/{connector_id}", headers=ADMIN).json()["status"])


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    """A mailbox with a folder for AyMINE, and mail in it."""
    return mailbox_with(dovecot, 3)


@pytest.fixture
def connector_id(client: TestClient, dovecot: Dovecot, user: str) -> str:
    return prepared(client, body_for(dovecot, user))


@pytest.fixture
def owner(client: TestClient, connector_id: str) -> Owner:
    return Owner(client, link(client, connector_id))


class TestTheWayThrough:
    def test_the_owner_sees_checks_confirms_and_mail_is_fetched(
        self,
        client: TestClient,
        gateway: Gateway,
        dovecot: Dovecot,
        user: str,
        connector_id: str,
        owner: Owner,
    ) -> None:
        first = owner.look()
        assert first.status == 200
        for shown in ("jana.novakova@firma.cz", dovecot.host, user, "AyMINE", "Trash"):
            assert shown in first.text
        second = owner.send(first, password=dovecot.password)
        assert second.status == 200
        assert second.says(ENGLISH.accepted)
        assert second.says(ENGLISH.waiting)
        assert "3" in second.text
        assert status_of(client, connector_id) == "awaiting_credentials", (
            "nothing is stored before it is confirmed"
        )
        last = owner.send(second)
        assert (last.status, last.says(ENGLISH.done)) == (200, True)
        cycle = fetch_cycle.run(gateway, connector_id)
        assert cycle is not None
        assert (cycle.outcome, cycle.stored, cycle.moved) == ("ok", 3, 3)

    def test_a_password_by_the_link_seals_the_connector(
        self, client: TestClient, dovecot: Dovecot, connector_id: str, owner: Owner
    ) -> None:
        owner.send(owner.check(dovecot.password))
        path = f"/connectors/{connector_id}"
        refused = client.patch(path, json={"source_folder": "INBOX"}, headers=ADMIN)
        assert refused.status_code == 403, "sealed: an administrator does not change the folders any more"
        entered = {"type": "password", "password": "another"}
        assert client.put(f"{path}/credentials", json=entered, headers=ADMIN).status_code == 403
        trail = client.get("/audit", params={"connector_id": connector_id}, headers=ADMIN).json()["data"]
        by = {record["action"]: record["actor"] for record in trail}
        assert by["credential_link.created"] == "user:administrator"
        assert by["credentials.entered"].startswith("link:")

    def test_a_shared_mailbox_has_links_too(
        self, client: TestClient, gateway: Gateway, dovecot: Dovecot, user: str
    ) -> None:
        made = prepared(client, body_for(dovecot, user, kind="shared", owner=None))
        by_link = Owner(client, link(client, made))
        assert by_link.send(by_link.check(dovecot.password)).status == 200
        assert stored_password(gateway, made) == dovecot.password

    def test_a_new_password_comes_the_same_way(
        self, client: TestClient, gateway: Gateway, dovecot: Dovecot, connector_id: str, owner: Owner
    ) -> None:
        owner.send(owner.check(dovecot.password))
        with gateway.db.unit_of_work() as session:
            row = session.get(Connector, connector_id)
            assert row is not None
            row.status = ConnectorStatus.STOPPED
        again = Owner(client, link(client, connector_id))
        again.send(again.check(dovecot.password))
        assert status_of(client, connector_id) == "active"

    def test_a_full_folder_asks_what_to_take(
        self,
        client: TestClient,
        gateway: Gateway,
        dovecot: Dovecot,
        user: str,
        connector_id: str,
        owner: Owner,
    ) -> None:
        for number in range(100):
            dovecot.deliver(user, mail(f"old {number}"), folder="AyMINE")
        asked = owner.check(dovecot.password)
        assert asked.says(ENGLISH.choose)
        without_a_day = owner.send(asked, first_fetch="since", since="")
        assert (without_a_day.status, without_a_day.says(ENGLISH.date_missing)) == (422, True)
        assert owner.send(without_a_day, first_fetch="none").status == 200
        cycle = fetch_cycle.run(gateway, connector_id)
        assert cycle is not None
        assert (cycle.outcome, cycle.found, cycle.stored) == ("ok", 103, 0)

    @pytest.mark.parametrize(
        "choice", [{"first_fetch": "all"}, {"first_fetch": "since", "since": "2020-02-29"}]
    )
    def test_a_choice_is_kept(
        self,
        client: TestClient,
        dovecot: Dovecot,
        connector_id: str,
        owner: Owner,
        choice: dict[str, str],
    ) -> None:
        owner.send(owner.check(dovecot.password), **choice)
        kept = client.get(f"/connectors/{connector_id}", headers=ADMIN).json()["first_fetch"]
        assert kept == ("all" if choice["first_fetch"] == "all" else {"since": "2020-02-29"})
        changed = client.get("/audit", params={"action": "connector.changed"}, headers=ADMIN).json()["data"]
        assert changed[0]["actor"].startswith("link:")
        expected = {"first_fetch": "all"} if kept == "all" else {"first_fetch.since": "2020-02-29"}
        assert changed[0]["changes"] == {name: [None, value] for name, value in expected.items()}


class TestWhatIsShown:
    def test_who_will_read_the_mail(self, client: TestClient, dovecot: Dovecot, user: str) -> None:
        personal = Owner(client, link(client, prepared(client, body_for(dovecot, user)))).look()
        assert "only the user jana" in personal.text
        assert personal.says(ENGLISH.only_this_folder)
        shared_id = prepared(
            client, body_for(dovecot, user, kind="shared", owner=None, source_folder="INBOX")
        )
        shared = Owner(client, link(client, shared_id))
        assert shared.look().says(ENGLISH.chosen_groups)
        assert shared.look().says(ENGLISH.shared_folder)
        bound = {"connector_id": shared_id, "group": "sales"}
        assert client.post("/group-bindings", json=bound, headers=ADMIN).status_code == 201
        assert "members of: sales" in shared.look().text

    def test_who_will_read_the_mail_is_what_is_confirmed(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        shared_id = prepared(
            client, body_for(dovecot, user, kind="shared", owner=None, source_folder="INBOX")
        )
        owner = Owner(client, link(client, shared_id))
        bound = {"connector_id": shared_id, "group": "sales"}
        binding = client.post("/group-bindings", json=bound, headers=ADMIN).json()["id"]
        first = owner.look()
        client.patch(f"/group-bindings/{binding}", json={"group": "everybody"}, headers=ADMIN)
        again = owner.send(first, password=dovecot.password)
        assert (again.status, "members of: everybody" in again.text) == (409, True)
        second = owner.send(again, password=dovecot.password)
        assert second.status == 200
        client.post("/group-bindings", json={**bound, "group": "guests"}, headers=ADMIN)
        again = owner.send(second)
        assert (again.status, "guests" in again.text) == (409, True)
        assert status_of(client, shared_id) == "awaiting_credentials"
        assert owner.send(owner.check(dovecot.password)).status == 200
        told = client.get("/audit", params={"action": "credential_link.used"}, headers=ADMIN).json()["data"]
        assert [(each["connector_id"], each["actor"][:5]) for each in told] == [(shared_id, "link:")]

    def test_every_server_that_gets_the_password(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        smtp = {"host": "127.0.0.2", "port": 2525, "security": "none", "username": user}
        page = Owner(client, link(client, prepared(client, body_for(dovecot, user, smtp=smtp)))).look()
        assert f"{dovecot.host}:{dovecot.port}" in page.text
        assert "127.0.0.2:2525" in page.text
        assert page.says(ENGLISH.sending_server)
        assert page.says(ENGLISH.plain)

    @pytest.mark.parametrize("first_fetch", ["none", {"since": "2026-01-01"}])
    def test_no_promise_to_take_what_is_not_to_be_taken(
        self, client: TestClient, dovecot: Dovecot, user: str, first_fetch: Any
    ) -> None:
        body = body_for(dovecot, user, first_fetch=first_fetch)
        found = Owner(client, link(client, prepared(client, body))).check(dovecot.password)
        assert found.says(ENGLISH.waiting)
        assert not found.says(ENGLISH.will_move)

    def test_that_downloading_is_paused(
        self, client: TestClient, dovecot: Dovecot, connector_id: str, owner: Owner
    ) -> None:
        assert client.post(f"/connectors/{connector_id}/pause", headers=ADMIN).status_code == 200
        assert owner.send(owner.check(dovecot.password)).says(ENGLISH.done_paused)


class TestWhatIsFound:
    def test_folders_that_are_not_there_are_told(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        body = body_for(dovecot, user, source_folder="Nowhere", processed_folder="Neither")
        by_link = Owner(client, link(client, prepared(client, body)))
        found = by_link.check(dovecot.password)
        assert found.status == 200
        assert found.says(ENGLISH.source_missing)
        assert found.says(ENGLISH.target_missing)

    def test_an_empty_folder_is_told(self, client: TestClient, dovecot: Dovecot) -> None:
        body = body_for(dovecot, dovecot.new_user(), source_folder="INBOX")
        by_link = Owner(client, link(client, prepared(client, body)))
        assert by_link.check(dovecot.password).says(ENGLISH.nothing_waits)

    def test_a_server_for_sending_that_refuses_is_told_and_stops_nothing(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        smtp = {"host": "127.0.0.1", "port": free_port(), "security": "none", "username": user}
        connector_id = prepared(client, body_for(dovecot, user, smtp=smtp))
        by_link = Owner(client, link(client, connector_id))
        found = by_link.check(dovecot.password)
        assert found.says(ENGLISH.sending_fails)
        assert by_link.send(found).status == 200
        assert status_of(client, connector_id) == "active"

    def test_a_server_that_is_away_costs_no_try(
        self, client: TestClient, gateway: Gateway, dovecot: Dovecot, user: str
    ) -> None:
        away = {"host": dovecot.host, "port": free_port(), "security": "none", "username": user}
        by_link = Owner(client, link(client, prepared(client, body_for(dovecot, user, imap=away))))
        for _ in range(credential_links.MAX_REFUSED_LOGINS + 1):
            answer = by_link.check(dovecot.password)
            assert (answer.status, answer.says(ENGLISH.unreachable)) == (422, True)
        with gateway.db.reading() as session:
            assert session.execute(select(col(CredentialLink.refused_logins))).scalar_one() == 0

    def test_a_certificate_that_proves_nothing_gets_no_password(
        self, client: TestClient, dovecot_tls: Dovecot, user: str
    ) -> None:
        imap = {"host": dovecot_tls.host, "port": dovecot_tls.tls_port, "username": user}
        by_link = Owner(client, link(client, prepared(client, body_for(dovecot_tls, user, imap=imap))))
        answer = by_link.check(dovecot_tls.password)
        assert (answer.status, answer.says(ENGLISH.certificate)) == (422, True)


class TestALink:
    def test_success_uses_the_link_up(self, gateway: Gateway, dovecot: Dovecot, owner: Owner) -> None:
        confirmation = owner.check(dovecot.password)
        assert owner.send(confirmation).status == 200
        assert owner.send(confirmation, step="check", password="another").says(ENGLISH.done)
        with gateway.db.reading() as session:
            credential = session.execute(select(Credential)).scalar_one()
        assert stored_password(gateway, credential.connector_id) == dovecot.password

    def test_a_second_click_on_the_link_says_that_everything_is_done(
        self, dovecot: Dovecot, owner: Owner
    ) -> None:
        confirmation = owner.check(dovecot.password)
        for answer in (owner.send(confirmation), owner.send(confirmation), owner.look()):
            assert (answer.status, answer.says(ENGLISH.done)) == (200, True)

    def test_looking_uses_nothing_up(self, owner: Owner) -> None:
        assert [owner.look().status for _ in range(20)] == [200] * 20

    def test_a_link_ends_after_a_day(self, gateway: Gateway, owner: Owner) -> None:
        with time_machine.travel(clock.utc_now() + credential_links.VALID_FOR - timedelta(minutes=1)):
            assert owner.look().status == 200
        with time_machine.travel(clock.utc_now() + credential_links.VALID_FOR):
            assert owner.look().status == 404
            credential_links.delete_expired(gateway)
        assert links_left(gateway) == 0

    def test_a_newer_one_voids_it(self, client: TestClient, connector_id: str, owner: Owner) -> None:
        newer = Owner(client, link(client, connector_id))
        assert (owner.look().status, newer.look().status) == (404, 200)

    def test_withdrawing_voids_it(self, client: TestClient, connector_id: str, owner: Owner) -> None:
        path = f"/connectors/{connector_id}/credential-links"
        assert client.delete(path, headers=ADMIN).status_code == 204
        assert client.delete(path, headers=ADMIN).status_code == 204
        assert owner.look().status == 404

    def test_another_server_voids_it(self, client: TestClient, connector_id: str, owner: Owner) -> None:
        change = {"imap": {"host": "elsewhere.firma.invalid", "port": 993, "security": "tls"}}
        assert client.patch(f"/connectors/{connector_id}", json=change, headers=ADMIN).status_code == 200
        assert owner.look().status == 404

    def test_a_password_that_was_entered_otherwise_voids_it(
        self, client: TestClient, dovecot: Dovecot, connector_id: str, owner: Owner
    ) -> None:
        entered = {"type": "password", "password": dovecot.password}
        client.put(f"/connectors/{connector_id}/credentials", json=entered, headers=OWNER)
        assert owner.look().status == 404

    def test_a_link_is_deleted_with_its_connector(
        self, client: TestClient, connector_id: str, owner: Owner
    ) -> None:
        assert client.delete(f"/connectors/{connector_id}", headers=ADMIN).status_code == 204
        assert owner.look().status == 404

    def test_a_link_is_stored_as_a_hash(
        self, gateway: Gateway, client: TestClient, connector_id: str
    ) -> None:
        token = link(client, connector_id).rpartition("/")[2]
        assert len(token) == 43
        with gateway.db.reading() as session:
            row = session.execute(select(CredentialLink)).scalar_one()
        assert token not in str(row.model_dump())

    def test_callers_who_manage_the_connector_make_links(
        self, client: TestClient, callers: Callers, connector_id: str
    ) -> None:
        path = f"/connectors/{connector_id}/credential-links"
        statuses = {
            name: client.post(path, headers=headers).status_code
            for name, headers in {
                "owner": OWNER,
                "key": callers.key(["connectors:write"]),
                "other": OTHER,
                "key without the scope": callers.key(["connectors:read"]),
                "nobody": {},
            }.items()
        }
        assert statuses == {
            "owner": 201,
            "key": 201,
            "other": 404,
            "key without the scope": 403,
            "nobody": 401,
        }

    def test_its_address_begins_as_people_reach_the_gateway(
        self, client: TestClient, settings: SettingsFactory, connector_id: str
    ) -> None:
        assert link(client, connector_id).startswith("http://localhost/credential-links/")
        path = f"/connectors/{connector_id}/credential-links"
        # A password must not be typed wherever a caller's Host header points to.
        refused = client.post(path, headers={**ADMIN, "Host": "evil.example"})
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
        with TestClient(create_app(settings(public_url="https://mail.firma.cz/gateway/"))) as public:
            assert link(public, connector_id).startswith("https://mail.firma.cz/gateway/credential-links/")

    def test_so_many_a_minute(self, settings: SettingsFactory, connector_id: str) -> None:
        path = f"/connectors/{connector_id}/credential-links"
        with TestClient(create_app(settings(links_per_minute=3)), base_url="http://localhost") as client:
            answers = [client.post(path, headers=ADMIN) for _ in range(4)]
        assert [each.status_code for each in answers] == [201] * 3 + [429]
        assert int(answers[-1].headers["Retry-After"]) > 0


class TestPasswords:
    def test_five_that_are_refused_end_it(
        self, client: TestClient, dovecot: Dovecot, connector_id: str, owner: Owner
    ) -> None:
        for left in range(credential_links.MAX_REFUSED_LOGINS - 1, 0, -1):
            answer = owner.check("wrong")
            assert (answer.status, answer.says(ENGLISH.refused)) == (422, True)
            assert f"Tries left: {left}." in answer.text
        assert answer.says(ENGLISH.last_try)
        spent = owner.check("wrong")
        assert (spent.status, spent.says(ENGLISH.spent)) == (403, True)
        assert owner.check(dovecot.password).status == 404
        trail = client.get("/audit", params={"connector_id": connector_id}, headers=ADMIN).json()["data"]
        refused = [each for each in trail if each["action"] == "credential_link.password_refused"]
        assert len(refused) == credential_links.MAX_REFUSED_LOGINS
        assert len({each["actor"] for each in refused}) == 1

    def test_many_at_once_are_no_more_tries(
        self, gateway: Gateway, client: TestClient, dovecot: Dovecot, user: str, imap_proxy: ImapProxy
    ) -> None:
        imap = {"host": "127.0.0.1", "port": imap_proxy.port, "security": "none", "username": user}
        url = link(client, prepared(client, body_for(dovecot, user, imap=imap)))
        token = url.rpartition("/")[2]
        seen = credential_links.view(gateway, token).seen
        logins: list[str] = []

        def guess(number: int) -> None:
            try:
                credential_links.check(gateway, token, f"guess {number}", seen=seen, origin=None)
                logins.append("asked")
            except (NotFound, TooManyRequests) as exc:
                logins.append(type(exc).__name__)

        threads = [threading.Thread(target=guess, args=(number,)) for number in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(logins) == 9
        assert len(imap_proxy.sent("LOGIN|AUTHENTICATE")) == credential_links.MAX_REFUSED_LOGINS
        with pytest.raises(NotFound):
            credential_links.view(gateway, token)

    def test_passwords_of_one_mailbox_are_limited_over_all_links_of_a_maker(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        connector_id = prepared(client, body_for(dovecot, user))
        statuses = [Owner(client, link(client, connector_id)).check("guess").status for _ in range(11)]
        assert statuses == [422] * 10 + [429]

    def test_the_server_for_sending_gets_a_password_only_after_it_was_accepted(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        with SmtpServer(user=user, password=dovecot.password) as smtp_server:
            smtp = {"host": "127.0.0.1", "port": smtp_server.port, "security": "none", "username": user}
            by_link = Owner(client, link(client, prepared(client, body_for(dovecot, user, smtp=smtp))))
            by_link.check("wrong")
            assert smtp_server.login_attempts == 0
            assert by_link.check(dovecot.password).says(ENGLISH.accepted)
            assert smtp_server.login_attempts == 1

    @pytest.mark.parametrize("password", ["", "x" * 1025])
    def test_one_that_cannot_be_any_is_not_tried(self, owner: Owner, password: str) -> None:
        answer = owner.check(password)
        assert (answer.status, answer.says(ENGLISH.empty)) == (422, True)

    def test_passwords_are_in_no_page(self, dovecot: Dovecot, owner: Owner) -> None:
        assert "wrong-pass" not in owner.check("wrong-pass").html
        confirmation = owner.check(dovecot.password)
        assert dovecot.password not in confirmation.html
        assert dovecot.password not in owner.send(confirmation).html

    def test_a_confirmation_of_another_link_is_worth_nothing(
        self, client: TestClient, dovecot: Dovecot, user: str, connector_id: str, owner: Owner
    ) -> None:
        encrypted = owner.check(dovecot.password).fields["sealed"]
        other_id = prepared(client, body_for(dovecot, user, source_folder="INBOX"))
        other = Owner(client, link(client, other_id))
        fields = {**other.look().fields, "step": "connect", "sealed": encrypted}
        assert other.send(other.look(), **fields).status == 422
        assert status_of(client, other_id) == "awaiting_credentials"


class TestWhatWasShown:
    def test_people_confirm_exactly_what_the_page_shows(
        self, client: TestClient, dovecot: Dovecot, connector_id: str, owner: Owner
    ) -> None:
        confirmation = owner.check(dovecot.password)
        assert client.patch(
            f"/connectors/{connector_id}", json={"source_folder": "INBOX"}, headers=ADMIN
        ).is_success
        answer = owner.send(confirmation)
        assert (answer.status, answer.says(ENGLISH.changed)) == (409, True)
        assert "INBOX" in answer.text
        assert status_of(client, connector_id) == "awaiting_credentials"
        assert owner.send(owner.send(answer, password=dovecot.password)).status == 200

    def test_settings_are_shown_as_text_whatever_an_administrator_wrote(
        self, client: TestClient, dovecot: Dovecot, user: str
    ) -> None:
        body = body_for(dovecot, user, source_folder='<img src=x onerror="alert(1)">&amp;')
        page = Owner(client, link(client, prepared(client, body))).look()
        assert "<img" not in page.html
        assert '<img src=x onerror="alert(1)">&amp;' in page.text

    @pytest.mark.parametrize(("language", "texts"), [("cs-CZ,cs;q=0.9,en;q=0.8", CZECH), ("de", ENGLISH)])
    def test_speaks_the_browsers_language(
        self, client: TestClient, dovecot: Dovecot, connector_id: str, language: str, texts: Any
    ) -> None:
        by_link = Owner(client, link(client, connector_id), language)
        first = by_link.look()
        assert first.says(texts.title)
        assert f'lang="{"cs" if texts is CZECH else "en"}"' in first.html
        second = by_link.send(first, password=dovecot.password)
        assert second.says(texts.accepted)
        assert by_link.send(second).says(texts.done)


class TestTheAnswer:
    def test_lets_a_browser_load_frame_keep_and_tell_nothing(self, owner: Owner) -> None:
        headers = owner.look().headers
        policy = headers["content-security-policy"]
        for rule in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"):
            assert rule in policy
        assert "script" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert "<script" not in owner.look().html

    def test_a_form_of_another_site_is_refused(
        self, client: TestClient, dovecot: Dovecot, connector_id: str
    ) -> None:
        url = link(client, connector_id)
        page = Owner(client, url).look()
        for site, status in (("cross-site", 403), ("same-site", 403), ("none", 403), ("same-origin", 200)):
            answer = client.post(
                urlsplit(url).path,
                data={**page.fields, "password": dovecot.password},
                headers={"Sec-Fetch-Site": site},
            )
            assert answer.status_code == status

    @pytest.mark.parametrize("body", [b"\xff\xfe=1", b"a=" + b"x" * 60_000, b"&".join([b"a=1"] * 30), b""])
    def test_the_answer_to_a_foreign_form_is_a_page(
        self, client: TestClient, connector_id: str, body: bytes
    ) -> None:
        page = Page(client.post(urlsplit(link(client, connector_id)).path, content=body))
        assert (page.status, page.says(ENGLISH.empty)) == (422, True)

    def test_a_form_larger_than_any_of_ours_is_not_read(self, client: TestClient, connector_id: str) -> None:
        answer = client.post(urlsplit(link(client, connector_id)).path, content=b"a=" + b"x" * 70_000)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

    @pytest.mark.parametrize("token", ["x", "a" * 43, "a" * 500, "%00", "%ff"])
    def test_the_answer_to_an_unknown_link_is_a_page(self, client: TestClient, token: str) -> None:
        for page in (
            Page(client.get(f"/credential-links/{token}")),
            Page(client.post(f"/credential-links/{token}", data={"password": "p"})),
        ):
            assert (page.status, page.says(ENGLISH.gone)) == (404, True)
            assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("cs", "cs"),
        ("CS-cz", "cs"),
        ("sk-SK,sk;q=0.9", "cs"),
        ("en-US,en;q=0.9,cs;q=0.8", "en"),
        ("de;q=0.9,cs;q=0.5,en;q=0.4", "cs"),
        ("cs;q=0,en", "en"),
        ("*", "en"),
        ("cs;q=nonsense", "en"),
        (",,;;q=1," * 1000, "en"),
    ],
)
def test_the_language_a_browser_likes_best(header: str | None, language: str) -> None:
    assert language_of(header) == language


def test_both_languages_fill_in_the_same() -> None:
    for name in ENGLISH.__dataclass_fields__:
        one, other = getattr(ENGLISH, name), getattr(CZECH, name)
        if isinstance(one, str):
            assert sorted(re.findall(r"{\w+}", one)) == sorted(re.findall(r"{\w+}", other)), name
            assert one != other
        else:
            assert one.keys() == other.keys()
    assert set(TEXTS) == {"en", "cs"}


def links_left(gateway: Gateway) -> int:
    with gateway.db.reading() as session:
        count: int = session.execute(select(func.count()).select_from(CredentialLink)).scalar_one()
    return count
