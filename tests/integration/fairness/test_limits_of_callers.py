"""What one caller may have open at once, and how long a search takes."""

import contextlib
from collections.abc import Iterator

import httpx
import pytest

from app.errors import TooManyRequests
from app.gateway import Gateway
from app.schemas.messages import MessagesDelete, MessagesQuery
from app.services.access.rules import Principal, PrincipalKind
from app.services.messages import deletion, reading, searching
from tests.support.callers import UserHeaders
from tests.support.live_gateway import live_gateway
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import connector, mail, store
from tools.servers.process import wait_until

WAIT_S = 60.0
BOB, JANA = Principal(kind=PrincipalKind.USER, id="bob"), Principal(kind=PrincipalKind.USER, id="jana")
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def live(settings: SettingsFactory) -> Iterator[httpx.Client]:
    with live_gateway(settings(waiting_per_caller=2)) as client:
        yield client


def test_a_caller_has_so_many_streams_and_long_polls_and_others_have_theirs(
    live: httpx.Client, as_user: UserHeaders
) -> None:
    bob, jana = as_user("bob"), as_user("jana")
    with contextlib.ExitStack() as streams:
        for _ in range(2):
            stream = streams.enter_context(live.stream("GET", "/events/stream", headers=bob))
            assert stream.status_code == 200
        for path in ("/events/stream", "/events?wait_s=5", "/messages?wait_s=5"):
            refused = live.get(path, headers=bob)
            assert refused.status_code == 429, path
            assert int(refused.headers["Retry-After"]) > 0
        assert live.get("/events?wait_s=0", headers=bob).status_code == 200
        streams.enter_context(live.stream("GET", "/events/stream", headers=jana))

    def is_taken_again() -> bool:
        with live.stream("GET", "/events/stream", headers=bob) as stream:
            return stream.status_code == 200

    wait_until(is_taken_again, WAIT_S, "the end of the streams")


def test_a_caller_runs_so_many_searches_and_others_run_theirs(gateway: Gateway) -> None:
    nothing = MessagesQuery(q="nothing")
    with gateway.searches.taken(BOB.name), gateway.searches.taken(BOB.name):
        with pytest.raises(TooManyRequests):
            reading.list_messages(gateway, BOB, nothing, after=None)
        with pytest.raises(TooManyRequests):
            deletion.delete_matching(gateway, BOB, MessagesDelete(q="nothing"))
        # Lists that read no texts are not counted, and others search.
        assert not reading.list_messages(gateway, BOB, MessagesQuery(), after=None).data
        assert not reading.list_messages(gateway, JANA, nothing, after=None).data
    assert not reading.list_messages(gateway, BOB, nothing, after=None).data


def test_a_search_whose_time_is_up_is_continued_by_its_cursor_and_misses_none(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "SEARCH_S", 0.0)
    monkeypatch.setattr(searching, "FIRST_STRETCH", 3)
    mailbox = connector(gateway, owner="jana")
    for number in range(10):
        store(gateway, mailbox, mail(f"invoice {number}" if number in {1, 4, 5, 9} else f"order {number}"))
    found: list[str | None] = []
    pages, after, has_more = 0, None, True
    while has_more:
        page = reading.list_messages(gateway, JANA, MessagesQuery(q="invoice"), after=after)
        found += [listed.message.subject for listed in page.data]
        assert page.next_after != after or not page.has_more
        pages, after, has_more = pages + 1, page.next_after, page.has_more
    assert found == ["invoice 1", "invoice 4", "invoice 5", "invoice 9"]
    assert pages > 2
