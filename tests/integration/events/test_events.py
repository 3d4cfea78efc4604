"""The feed under concurrent writers, long polls and streams, over a served gateway."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, update
from sqlmodel import col

from app import clock
from app.gateway import Gateway
from app.models import Event
from app.routers import event_streams
from app.services.events import feed, outbox
from tests.support.callers import Callers
from tests.support.live_gateway import live_gateway
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import connector, mail, store, store_in

ADMIN = Callers.user("administrator", admin=True)
MEMBER = Callers.user("petr", groups=["orders"])


@pytest.fixture
def live(settings: SettingsFactory) -> Iterator[httpx.Client]:
    with live_gateway(settings()) as client:
        yield client


def test_a_reader_misses_none_and_sees_none_twice_whatever_commits_at_the_same_time(
    gateway: Gateway, live: httpx.Client
) -> None:
    boxes = [connector(gateway, groups=["orders"]) for _ in range(4)]

    def write(number: int) -> None:
        for turn in range(15):
            with gateway.db.unit_of_work() as session:
                store_in(session, boxes[number], [mail(f"{number}-{turn}")])
                time.sleep(0.002 * (number + 1))  # some transactions stay open longer than others

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    seen: list[str] = []
    listed: list[str] = []
    after: dict[str, str] = {}
    while len(seen) < 60 or len(listed) < 60:
        alive = any(writer.is_alive() for writer in writers)
        for path, found in (("/events", seen), ("/messages", listed)):
            page = live.get(path, params={"limit": "7", **_after(after, path)}, headers=MEMBER).json()
            found += [row["id"] for row in page["data"]]
            after[path] = page["next_cursor"]
            if not alive and not page["data"]:
                break
        if not alive and not page["data"] and len(seen) >= 60:
            break
    for writer in writers:
        writer.join()
    with gateway.db.reading() as session:
        statement = select(col(Event.id)).order_by(col(Event.position))
        assert seen == list(session.execute(statement).scalars())
    assert len(listed) == len(set(listed)) == 60


def _after(after: dict[str, str], path: str) -> dict[str, str]:
    return {"after": after[path]} if path in after else {}


def test_an_event_of_a_transaction_that_is_open_holds_back_later_positions(gateway: Gateway) -> None:
    first, second = connector(gateway), connector(gateway)
    done = threading.Event()

    def write_second() -> None:
        store(gateway, second)
        done.set()

    with gateway.db.unit_of_work() as session:
        store_in(session, first, [mail()])
        other = threading.Thread(target=write_second)
        other.start()
        assert not done.wait(0.3)
        with gateway.db.reading() as reading:
            assert outbox.last_position(reading) == 0
    other.join()
    with gateway.db.reading() as reading:
        assert [event.connector_id for event in outbox.events_after(reading, 0, limit=10)] == [
            first.id,
            second.id,
        ]


@pytest.mark.parametrize("path", ["/events", "/messages"])
def test_a_long_poll_is_answered_as_soon_as_there_is_something(
    gateway: Gateway, live: httpx.Client, path: str
) -> None:
    box = connector(gateway, groups=["orders"])
    after = live.get(path, headers=MEMBER).json()["next_cursor"]
    writer = threading.Timer(0.5, lambda: store(gateway, box))
    writer.start()
    started = time.monotonic()
    answer = live.get(path, params={"after": after, "wait_s": "30"}, headers=MEMBER)
    took_s = time.monotonic() - started
    writer.join()
    assert len(answer.json()["data"]) == 1
    assert 0.3 < took_s < 30, "answered at once, or only when the wait was over"


def test_many_waiting_requests_hold_no_thread_and_no_session(gateway: Gateway, live: httpx.Client) -> None:
    box = connector(gateway, groups=["orders"])
    found: list[int] = []

    def wait(caller: dict[str, str]) -> None:
        with httpx.Client(base_url=live.base_url, timeout=30, trust_env=False) as client:
            answer = client.get("/events", params={"wait_s": "20"}, headers=caller)
            found.append(len(answer.json()["data"]))

    # Each caller may have thirty waiting requests.
    callers = [Callers.user(name, groups=["orders"]) for name in ("jana", "petr", "eva")]
    waiting = [threading.Thread(target=wait, args=[caller]) for caller in callers for _ in range(20)]
    for each in waiting:
        each.start()
    time.sleep(1)
    # More than there are threads and connections to the database, and yet:
    assert live.get("/health/live").status_code == 200
    assert live.get("/connectors", headers=ADMIN).status_code == 200
    store(gateway, box)
    for each in waiting:
        each.join()
    assert found == [1] * 60


def read_events(lines: Iterator[str], count: int) -> list[tuple[str, dict[str, object]]]:
    """The next events of a stream: cursor and content."""
    found: list[tuple[str, dict[str, object]]] = []
    cursor = ""
    for line in lines:
        if line.startswith("id: "):
            cursor = line.removeprefix("id: ")
        elif line.startswith("data: "):
            found.append((cursor, json.loads(line.removeprefix("data: "))))
            if len(found) == count:
                break
    return found


def test_a_stream_gives_events_as_they_happen_and_goes_on_after_the_last_one_seen(
    gateway: Gateway, live: httpx.Client
) -> None:
    box = connector(gateway, groups=["orders"])
    first, second = store(gateway, box, mail("1"), mail("2"))
    with live.stream("GET", "/events/stream", headers=MEMBER) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        seen = read_events(lines, 2)
        assert [event["subject"] for _, event in seen] == [f"messages/{first}", f"messages/{second}"]
        [third] = store(gateway, box)
        assert read_events(lines, 1)[0][1]["subject"] == f"messages/{third}"
    with live.stream("GET", "/events/stream", headers={**MEMBER, "Last-Event-ID": seen[0][0]}) as stream:
        again = read_events(stream.iter_lines(), 2)
    assert [event["subject"] for _, event in again] == [f"messages/{second}", f"messages/{third}"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_stream_that_shows_nothing_beats_evenly_however_much_happens_to_others(
    gateway: Gateway, live: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "HEARTBEAT_S", 1.0)
    box = connector(gateway, groups=["orders"])
    is_over = threading.Event()

    def write() -> None:
        while not is_over.wait(0.1):
            store(gateway, box)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with live.stream("GET", "/events/stream", headers=Callers.user("eva"), timeout=60) as stream:
            lines = (line for line in stream.iter_lines() if line)
            assert [next(lines) for _ in range(4)] == ["retry: 2000", ": connected", *[": still here"] * 2]
    finally:
        is_over.set()
        writer.join()


def test_events_older_than_the_retention_go_and_the_cursor_stays_good(gateway: Gateway) -> None:
    box = connector(gateway, groups=["orders"])
    store(gateway, box, *[mail(str(number)) for number in range(3)])
    with gateway.db.unit_of_work() as session:
        old = clock.utc_now() - timedelta(days=31)
        session.execute(update(Event).where(col(Event.position) <= 2).values(time=old))
    assert feed.delete_old(gateway) == 2
    with gateway.db.reading() as session:
        assert [event.position for event in outbox.events_after(session, 0, limit=10)] == [3]
    assert feed.delete_old(gateway) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_stream_from_the_end_gives_its_place_at_once_and_goes_on_from_there(
    gateway: Gateway, live: httpx.Client
) -> None:
    box = connector(gateway, groups=["orders"])
    reader = Callers.user("petr", groups=["orders"])
    store(gateway, box, mail("1"), mail("2"))
    with live.stream("GET", "/events/stream?after=latest", headers=reader, timeout=60) as stream:
        first = stream.iter_lines()
        assert [next(first), next(first)] == ["retry: 2000", ": connected"]
        place = next(first).removeprefix("id: ")
        assert next(first) == "", "a client takes an id when its block ends"
    [missed] = store(gateway, box, mail("3"))
    again = {**reader, "Last-Event-ID": place}
    with live.stream("GET", "/events/stream?after=latest", headers=again, timeout=60) as stream:
        data = next(line for line in stream.iter_lines() if line.startswith("data: "))
    assert missed in data
