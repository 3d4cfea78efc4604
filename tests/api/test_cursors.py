"""What callers get as cursors tells them nothing, and is good for its own list alone."""

import base64
import contextlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app import clock
from app.gateway import Gateway
from app.main import create_app
from app.models import Connector, CursorKey, Webhook
from app.services.events import queueing
from tests.support.callers import Callers
from tests.support.each_case import each_case
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import connector, mail, store

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ADMIN = Callers.user("administrator", admin=True)
MEMBER = Callers.user("petr", groups=["orders"])
EVA = Callers.user("eva", groups=["others"])


@pytest.fixture
def orders(gateway: Gateway) -> Connector:
    return connector(gateway, groups=["orders"])


def plain(position: int | str) -> str:
    """A cursor as it was before cursors were encrypted."""
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def cursor(client: TestClient, path: str, headers: dict[str, str], **params: str) -> str:
    given: str = client.get(path, params={"limit": "1", **params}, headers=headers).json()["next_cursor"]
    return given


def events_after(client: TestClient, after: str, headers: dict[str, str] = MEMBER) -> int:
    answer = client.get("/events", params={"after": after}, headers=headers)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["data"])


class TestWhatTheyTell:
    @pytest.mark.parametrize("path", ["/events", "/messages"])
    def test_a_caller_who_sees_nothing_cannot_tell_whether_others_have_mail(
        self, client: TestClient, gateway: Gateway, orders: Connector, path: str
    ) -> None:
        quiet = [cursor(client, path, EVA) for _ in range(3)]
        store(gateway, orders, *[mail(str(number)) for number in range(120)])
        busy = [cursor(client, path, EVA) for _ in range(3)]
        assert len({*quiet, *busy}) == 6, "equal positions give equal texts"
        assert len({len(each) for each in (*quiet, *busy)}) == 1
        for each in (*quiet, *busy):
            octets = base64.urlsafe_b64decode(each.removeprefix("v1."))
            assert b"120" not in octets
        assert events_after(client, cursor(client, "/events", EVA), EVA) == 0

    def test_every_cursor_has_one_length(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        connector(gateway, groups=["orders"])
        store(gateway, orders, mail("1"), mail("2"))
        paths = ("/events", "/messages", "/connectors", "/group-bindings", "/audit")
        client.post("/group-bindings", json={"connector_id": orders.id, "group": "more"}, headers=ADMIN)
        client.post("/group-bindings", json={"connector_id": orders.id, "group": "most"}, headers=ADMIN)
        callers = {path: MEMBER if path == "/messages" else ADMIN for path in paths}
        cursors = [cursor(client, path, callers[path]) for path in paths]
        cursors.append(cursor(client, "/messages", MEMBER, order="newest"))
        assert {len(each) for each in cursors} == {103}

    def test_a_cursor_goes_on_where_its_page_ended(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store(gateway, orders, mail("1"), mail("2"), mail("3"))
        assert events_after(client, cursor(client, "/events", MEMBER)) == 2


class TestWhatIsRefused:
    def test_a_cursor_is_refused_by_every_other_list(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        connector(gateway)
        store(gateway, orders, mail("1"), mail("2"))
        of_events, of_messages = cursor(client, "/events", ADMIN), cursor(client, "/messages", MEMBER)
        of_connectors = cursor(client, "/connectors", ADMIN)
        for path, given, headers in (
            ("/messages", of_events, MEMBER),
            ("/events", of_messages, MEMBER),
            ("/events", of_connectors, ADMIN),
            ("/group-bindings", of_connectors, ADMIN),
            (f"/connectors/{orders.id}/cycles", of_connectors, ADMIN),
        ):
            answer = client.get(path, params={"after": given}, headers=headers)
            assert answer.status_code == 422, path
            assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/after"]

    def test_a_cursor_of_a_list_of_one_object_is_refused_by_the_list_of_another(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        hooks = [
            client.post("/webhooks", json={"url": "https://8.8.8.8/x"}, headers=ADMIN).json()["id"]
            for _ in range(2)
        ]
        store(gateway, orders, mail("1"), mail("2"))
        for hook in hooks:
            replay = {"since": "2020-01-01T00:00:00Z"}
            assert client.post(f"/webhooks/{hook}/replay", json=replay, headers=ADMIN).status_code == 200
        store(gateway, orders)
        with gateway.db.unit_of_work() as session:
            for hook in hooks:
                row = session.get(Webhook, hook)
                assert row is not None
                while queueing.queue_batch(session, row):
                    pass
        given = cursor(client, f"/webhooks/{hooks[0]}/deliveries", ADMIN)
        statuses = [
            client.get(f"/webhooks/{hook}/deliveries", params={"after": given}, headers=ADMIN).status_code
            for hook in hooks
        ]
        assert statuses == [200, 422]

    @each_case(
        "garbage",
        [
            "v1.",
            "v1.AAAA",
            "v1." + "A" * 84,
            "v1.!",
            "v2.AAAA",
            "nope",
            plain("nope"),
            plain("-1"),
            plain("٣"),
        ],
    )
    @each_case("path", ["/events", "/messages", "/connectors", "/audit"])
    def test_garbage_is_refused_and_names_the_field(
        self, client: TestClient, path: str, garbage: str
    ) -> None:
        answer = client.get(path, params={"after": garbage}, headers=ADMIN)
        assert answer.status_code == 422
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/after"]

    def test_a_changed_cursor_is_refused(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store(gateway, orders)
        given = cursor(client, "/events", MEMBER)
        for place in (3, 30, len(given) - 1):
            other = "A" if given[place] != "A" else "B"
            changed = given[:place] + other + given[place + 1 :]
            assert client.get("/events", params={"after": changed}, headers=MEMBER).status_code == 422

    def test_a_stream_names_the_header_whose_cursor_is_bad(self, client: TestClient) -> None:
        answer = client.get("/events/stream", headers={**ADMIN, "Last-Event-ID": "v1.AAAA"})
        assert answer.status_code == 422
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/last-event-id"]


class TestCursorsFromBefore:
    @pytest.fixture
    def of_last_week(self, gateway: Gateway, orders: Connector) -> None:
        """Five events; then the upgrade, eight days ago; then two more."""
        store(gateway, orders, *[mail(str(number)) for number in range(5)])
        with gateway.db.unit_of_work() as session:
            made_at = clock.utc_now() - timedelta(days=8)
            session.execute(update(CursorKey).values(made_at=made_at, last_plain_position=5))
        store(gateway, orders, mail("5"), mail("6"))

    @pytest.mark.usefixtures("of_last_week")
    def test_they_are_accepted_and_never_given_out(self, client: TestClient, orders: Connector) -> None:
        page = client.get("/events", params={"after": plain(3), "limit": 1}, headers=MEMBER).json()
        assert page["next_cursor"].startswith("v1.")
        assert events_after(client, plain(3)) == 4
        assert client.get("/messages", params={"after": plain(5)}, headers=MEMBER).json()["data"] != []
        assert (
            client.get("/connectors", params={"after": plain(orders.id)}, headers=ADMIN).json()["data"] == []
        )

    @pytest.mark.usefixtures("of_last_week")
    def test_none_of_them_finds_out_the_position_of_an_event_that_came_later(
        self, client: TestClient
    ) -> None:
        for beyond in (6, 7, 8, 10**17):
            answer = client.get("/events", params={"after": plain(beyond)}, headers=MEMBER)
            assert answer.status_code == 422, beyond

    def test_those_of_a_process_that_still_runs_during_the_upgrade_are_accepted(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        with gateway.db.unit_of_work() as session:
            session.execute(update(CursorKey).values(made_at=clock.utc_now()))
        store(gateway, orders, mail("1"), mail("2"))
        assert events_after(client, plain(1)) == 1

    def test_a_new_installation_gave_out_none_so_whoever_makes_some_counts_nothing(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        store(gateway, orders, mail("1"), mail("2"))
        assert events_after(client, plain(0)) == 2
        for path in ("/events", "/messages"):
            for position in (1, 2, 3, 10**17):
                answer = client.get(path, params={"after": plain(position)}, headers=MEMBER)
                assert answer.status_code == 422, (path, position)


@pytest.fixture
def with_other_secrets(settings: SettingsFactory) -> Iterator[TestClient]:
    """A second process on the same database, after the secret keys were changed."""
    changed = settings(secret_keys="another-secret-key-of-the-tests-and-long-enough")
    with contextlib.closing(TestClient(create_app(changed), base_url="http://localhost")) as made, made:
        yield made


def test_a_cursor_is_good_in_every_process_and_after_new_secret_keys(
    client: TestClient, with_other_secrets: TestClient, gateway: Gateway, orders: Connector
) -> None:
    store(gateway, orders, mail("1"), mail("2"))
    assert events_after(with_other_secrets, cursor(client, "/events", MEMBER)) == 1
