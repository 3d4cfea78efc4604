"""Only who has logged in to a mailbox has it: nobody else keeps its owner out, or learns that it is connected."""

import contextlib
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.gateway import Gateway
from app.models import Connector
from app.services.fetching import fetch_cycle, leases
from tests.support.callers import Callers
from tests.support.connector_bodies import created, janas
from tests.support.fetched_mailbox import mailbox
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot

JANA, BOB, ADMIN = Callers.user("jana"), Callers.user("bob"), Callers.user("administrator", admin=True)
MEMBER = Callers.user("petr", groups=["sales"])


def bobs(dovecot: Dovecot, imap_user: str, **changes: Any) -> dict[str, Any]:
    """A connector of Bob's for the same mailbox."""
    return {**janas(dovecot, imap_user), "owner": "bob", "external_id": None, **changes}


def fetched(client: TestClient, connector_id: str, headers: dict[str, str]) -> dict[str, Any]:
    answer = client.post(f"/connectors/{connector_id}/fetch", headers=headers)
    assert answer.status_code == 200, answer.text
    cycle: dict[str, Any] = answer.json()
    return cycle


def row(gateway: Gateway, connector_id: str) -> Connector:
    with gateway.db.reading() as session:
        return session.get_one(Connector, connector_id)


class TestWhoLogsInFirst:
    def test_has_the_folder_and_the_later_one_moves_nothing_until_the_first_is_deleted(
        self, client: TestClient, dovecot: Dovecot
    ) -> None:
        user = dovecot.new_user()
        first = created(client, JANA, janas(dovecot, user))
        second = created(client, BOB, bobs(dovecot, user))
        assert fetched(client, first["id"], JANA)["outcome"] == "ok"
        dovecot.deliver(user, mail())
        assert fetched(client, second["id"], BOB)["error"]["code"] == "mailbox_taken"
        path = f"/connectors/{second['id']}"
        shown = client.get(path, headers=BOB).json()
        assert (shown["status"], shown["last_error"]["code"]) == ("stopped", "mailbox_taken")
        refused = client.post(f"{path}/fetch", headers=BOB)
        assert (refused.status_code, "delete" in refused.json()["detail"]) == (409, True)
        assert [m.raw for m in dovecot.messages(user, "INBOX")] == [mail()]
        client.post(f"{path}/resume", headers=BOB)
        assert fetched(client, second["id"], BOB)["error"]["code"] == "mailbox_taken"
        assert client.delete(f"/connectors/{first['id']}", headers=JANA).status_code == 204
        client.post(f"{path}/resume", headers=BOB)
        assert fetched(client, second["id"], BOB)["stored"] == 1

    def test_is_not_kept_out_by_a_wrong_password_and_keeps_the_folder_while_paused(
        self, client: TestClient, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        user = dovecot.new_user()
        wrong = {"type": "password", "password": "wrong"}
        squatter = created(client, BOB, bobs(dovecot, user, credentials=wrong))
        assert fetched(client, squatter["id"], BOB)["error"]["code"] == "login_refused"
        mine = created(client, JANA, janas(dovecot, user))
        assert fetched(client, mine["id"], JANA)["outcome"] == "ok"
        client.post(f"/connectors/{mine['id']}/pause", headers=JANA)
        other = created(client, BOB, bobs(dovecot, user))
        assert fetched(client, other["id"], BOB)["error"]["code"] == "mailbox_taken"
        assert row(gateway, squatter["id"]).logged_in_at is None

    @pytest.mark.parametrize("how", ["another folder", "another user", "no password", "a refused password"])
    def test_gives_the_folder_up_with(
        self, client: TestClient, gateway: Gateway, dovecot: Dovecot, how: str
    ) -> None:
        user = dovecot.new_user()
        first = created(client, JANA, janas(dovecot, user))
        path = f"/connectors/{first['id']}"
        fetched(client, first["id"], JANA)
        assert row(gateway, first["id"]).logged_in_at is not None
        if how == "another folder":
            client.patch(path, json={"source_folder": "Other"}, headers=JANA)
        elif how == "another user":
            client.patch(path, json={"imap": {"username": dovecot.new_user()}}, headers=JANA)
        elif how == "no password":
            client.delete(f"{path}/credentials", headers=JANA)
        else:
            client.put(f"{path}/credentials", json={"type": "password", "password": "wrong"}, headers=JANA)
            for _ in range(2):
                assert fetched(client, first["id"], JANA)["error"]["code"] == "login_refused"
        assert row(gateway, first["id"]).logged_in_at is None
        second = created(client, BOB, bobs(dovecot, user))
        assert fetched(client, second["id"], BOB)["outcome"] == "ok"

    def test_is_one_of_several_that_log_in_at_the_same_moment(
        self, gateway: Gateway, settings: SettingsFactory, dovecot: Dovecot
    ) -> None:
        user = dovecot.new_user()
        boxes = [mailbox(gateway, dovecot, user=user, owner=owner) for owner in ("jana", "bob", "eva")]
        dovecot.deliver_all(user, [mail(str(number)) for number in range(10)])
        start = threading.Barrier(len(boxes))
        with contextlib.closing(Gateway.from_settings(settings())) as instance:

            def run(number: int) -> None:
                start.wait()
                fetch_cycle.run(instance if number % 2 else gateway, boxes[number].connector_id)

            threads = [threading.Thread(target=run, args=(number,)) for number in range(len(boxes))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(len(box.messages()) for box in boxes) == [0, 0, 10]
        codes = sorted(str(box.connector.last_error_code) for box in boxes)
        assert codes == ["None", "mailbox_taken", "mailbox_taken"]


class TestAStranger:
    def test_neither_holds_up_a_mailbox_nor_finds_out_when_it_is_fetched(
        self, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        mine = mailbox(gateway, dovecot, owner="jana")
        mine.fetch_well()
        theirs = mailbox(gateway, dovecot, user=mine.user, owner="bob", password="wrong")
        with leases.held(gateway, mine.connector) as lease:
            assert lease is not None
            assert theirs.fetch().error_code == "login_refused"  # not: another cycle is running
        with leases.held_for_login(gateway, theirs.connector) as lease:
            assert lease is not None
            mine.fetch_well()

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_of_any_kind_gets_the_same_answer_whether_it_is_connected_or_not(
        self, client: TestClient, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        user, free = dovecot.new_user(), dovecot.new_user()
        personal = created(client, JANA, {**janas(dovecot, user), "source_folder": "AyMINE"})
        body = {**janas(dovecot, user), "kind": "shared", "owner": None, "external_id": "crm-1"}
        shared = created(client, ADMIN, body)
        client.post("/group-bindings", json={"connector_id": shared["id"], "group": "sales"}, headers=ADMIN)
        for made in (personal, shared):
            with gateway.db.unit_of_work() as session:
                session.get_one(Connector, made["id"]).logged_in_at = row(gateway, made["id"]).created_at
        for owner, headers in (("bob", BOB), ("petr", MEMBER)):
            for folder in ("INBOX", "AyMINE"):
                own = created(client, headers, bobs(dovecot, user, owner=owner, source_folder=folder))
                other = created(client, headers, bobs(dovecot, free, owner=owner, source_folder=folder))
                assert own.keys() == other.keys()
                imap = {"imap": {"username": user}}
                moved = client.patch(f"/connectors/{other['id']}", json=imap, headers=headers)
                assert moved.status_code == 200

    def test_does_not_take_a_mailbox_by_a_test(
        self, client: TestClient, gateway: Gateway, dovecot: Dovecot
    ) -> None:
        user = dovecot.new_user()
        first = created(client, BOB, bobs(dovecot, user))
        report = client.post(f"/connectors/{first['id']}/test", headers=BOB).json()
        assert (report["ok"], row(gateway, first["id"]).logged_in_at) == (True, None)
        second = created(client, JANA, janas(dovecot, user))
        assert fetched(client, second["id"], JANA)["outcome"] == "ok"
        again = client.post(f"/connectors/{first['id']}/test", headers=BOB).json()
        assert again == report
