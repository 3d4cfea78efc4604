"""One look at the feed serves all who wait: it finds what each one's own query would find, in as many statements for many as
for one."""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, delete, event

from app import clock
from app.adapters import identity
from app.events import webhook_disabled_event
from app.gateway import Gateway
from app.main import create_app
from app.models import ApiKey, Connector, GroupBinding, KeyGrant
from app.routers.waiting import watch_of
from app.schemas.events import WebhookCreate
from app.schemas.fields import ListQuery
from app.schemas.messages import MessagesQuery
from app.services.access import api_keys
from app.services.access.callers import Caller, identify
from app.services.access.rules import PrincipalKind
from app.services.events import feed, looking, outbox, webhooks
from app.services.events.looking import Seen, Waiting
from app.services.messages import reading
from tests.support.callers import Callers, bearer, user_token
from tests.support.live_gateway import serving
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import TESTER, connector, mail, store
from tools.servers.process import wait_until

WAIT_S = 60.0
SCOPES = ("events:read", "messages:read", "webhooks:write")
POLLS = 40
STATEMENTS_OF_A_LOOK = 8
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Statements:
    """Counts the statements that an engine runs in a block."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.count = 0

    def _count(self, *_: Any) -> None:
        self.count += 1

    def __enter__(self) -> "Statements":
        event.listen(self._engine, "before_cursor_execute", self._count)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._count)


def caller_of(gateway: Gateway, headers: dict[str, str]) -> Caller:
    return identify(gateway, headers["Authorization"].removeprefix("Bearer "), origin=None)


def everybody(gateway: Gateway) -> dict[str, Caller]:
    """Callers of every kind, and something of every kind for them to see or not to see."""
    callers = Callers(gateway)
    granted_id, granted = callers.new_key(SCOPES)
    shared, elsewhere = connector(gateway, groups=["sales"]), connector(gateway)
    personal = connector(gateway, owner="jana", key_ids=[granted_id])
    gone = connector(gateway, groups=["sales"])
    headers = {
        "administrator": Callers.user("administrator", admin=True),
        "owner": Callers.user("jana"),
        "owner in a group": Callers.user("jana", groups=["sales"]),
        "member": Callers.user("petr", groups=["sales", "others"]),
        "others": Callers.user("eva", groups=["others"]),
        "key": callers.key(SCOPES),
        "granted key": bearer(granted),
        "key without webhooks": callers.key(["events:read"]),
        "limited key": callers.key(SCOPES, [shared.id]),
        "limited key of a webhook": callers.key(SCOPES, [elsewhere.id]),
        "limited key, granted": callers.key(SCOPES, [personal.id]),
    }
    found = {name: caller_of(gateway, each) for name, each in headers.items()}
    with gateway.db.unit_of_work() as session:
        limited = found["limited key, granted"].principal.id
        session.add(KeyGrant(api_key_id=limited, connector_id=personal.id, granted_at=clock.utc_now()))
    for turn in range(3):
        for box in (shared, personal, elsewhere, gone):
            store(gateway, box, mail(str(turn)))
    with gateway.db.unit_of_work() as session:
        row = session.get(Connector, gone.id)
        session.delete(row)
    for name in ("administrator", "limited key of a webhook"):
        body = WebhookCreate(url="http://127.0.0.1:9/", active=False)
        made = webhooks.create(gateway, found[name].principal, body)
        with gateway.db.unit_of_work() as session:
            told = webhook_disabled_event(webhook_id=made.row.id, reason="gone", code=None, status=410)
            outbox.append(session, [told])
    return found


def look(gateway: Gateway, *waiting: Waiting) -> list[Seen]:
    return list(looking.look(gateway, waiting).seen)


def positions(seen: Seen) -> list[int]:
    return [shown.event.position for shown in seen.events]


class TestWhatItFinds:
    @pytest.mark.parametrize("limit", [2, 100])
    def test_each_caller_is_shown_what_their_own_query_finds(self, gateway: Gateway, limit: int) -> None:
        callers = everybody(gateway)
        starts = range(feed.last_position(gateway) + 1)
        waiting = [Waiting(caller, start, limit) for caller in callers.values() for start in starts]
        shown = Counter[str]()
        for each, seen in zip(waiting, look(gateway, *waiting), strict=True):
            principal = each.caller.principal
            own = feed.list_events(gateway, principal, ListQuery(limit=limit), after=str(each.position))
            assert positions(seen) == [event.position for event in own.data], principal
            assert (seen.position, seen.has_more) == (int(own.next_after or 0), own.has_more)
            shown[principal.name] += len(seen.events)
        assert [name for name, caller in callers.items() if not shown[caller.principal.name]] == ["others"]

    def test_a_waiting_list_of_messages_is_told_of_mail_that_its_caller_may_read(
        self, gateway: Gateway
    ) -> None:
        callers = everybody(gateway)
        seen = look(gateway, *(Waiting(caller, 0, 1, for_messages=True) for caller in callers.values()))
        for (name, caller), each in zip(callers.items(), seen, strict=True):
            if "messages:read" not in caller.principal.scopes and caller.principal.kind == PrincipalKind.KEY:
                assert not each.is_news, name
                continue
            own = reading.list_messages(gateway, caller.principal, MessagesQuery(limit=1), after="0")
            # Of a connector that was deleted the mail is gone with it.
            assert each.is_news is bool(own.data), name

    def test_whose_rights_end_is_shown_nothing_in_the_next_look(self, gateway: Gateway) -> None:
        callers = Callers(gateway)
        box = connector(gateway, groups=["sales"])
        key_id, key = callers.new_key(["events:read"])
        known, member = caller_of(gateway, bearer(key)), caller_of(gateway, callers.user("petr", ["sales"]))
        ended = identify(
            gateway, user_token("eva", admin=True, exp=int(time.time()) - identity.LEEWAY_S + 30), origin=None
        )
        waiting = [Waiting(each, 0, 10) for each in (known, member, ended)]
        store(gateway, box)
        assert [len(each.events) for each in look(gateway, *waiting)] == [1, 1, 1]
        with gateway.db.unit_of_work() as session:
            row = session.get(ApiKey, key_id)
            assert row is not None
            api_keys.end(session, row, by=TESTER)
            session.execute(delete(GroupBinding))
        late = replace(ended, good_until=clock.utc_now())
        after = look(gateway, *waiting[:2], Waiting(late, 0, 10))
        assert [each.principal is None for each in after] == [True, False, True]
        assert [len(each.events) for each in after] == [0, 0, 0]

    def test_who_is_too_far_behind_or_ahead_is_told_so_and_holds_up_nobody(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(looking, "REACH", 3)
        store(gateway, connector(gateway), *[mail(str(number)) for number in range(5)])
        administrator = caller_of(gateway, Callers.user("administrator", admin=True))
        behind, near, ahead = look(gateway, *(Waiting(administrator, start, 10) for start in (1, 3, 9)))
        assert (behind.is_behind, behind.position, positions(near), ahead.is_ahead) == (True, 5, [4, 5], True)


def test_a_look_for_many_takes_as_many_statements_as_a_look_for_one_of_each_kind(gateway: Gateway) -> None:
    callers = list(everybody(gateway).values())
    counts = []
    for times in (1, 20):
        with Statements(gateway.db.engine) as statements:
            look(gateway, *(Waiting(caller, 0, 100) for caller in callers * times))
        counts.append(statements.count)
    # Keys, the end, the events, connectors, groups, grants, webhooks; on SQLite also the beginning of the transaction.
    assert counts[0] == counts[1] <= STATEMENTS_OF_A_LOOK + 1


@pytest.fixture
def app(settings: SettingsFactory) -> FastAPI:
    return create_app(settings(waiting_per_caller=1000))


async def _answers(base_url: str, path: str, params: dict[str, str], filled: Any) -> list[int]:
    """What so many long polls are answered, after `filled` was called while all of them wait."""
    limits = httpx.Limits(max_connections=POLLS)
    async with httpx.AsyncClient(base_url=base_url, timeout=120, trust_env=False, limits=limits) as client:
        headers = Callers.user("petr", groups=["sales"])
        polls = [asyncio.create_task(client.get(path, params=params, headers=headers)) for _ in range(POLLS)]
        await asyncio.to_thread(filled)
        return [len((await poll).json()["data"]) for poll in polls]


@ON_SQLITE
@pytest.mark.parametrize("path", ["/events", "/messages"])
def test_long_polls_that_wait_take_no_statement_of_their_own(
    gateway: Gateway, app: FastAPI, path: str
) -> None:
    box, others = connector(gateway, groups=["sales"]), connector(gateway, groups=["others"])
    served: Gateway = app.state.gateway
    watch = watch_of(app)

    def happen() -> None:
        wait_until(lambda: watch.waiting == POLLS, WAIT_S, "all polls to wait")
        before = watch.looks
        with Statements(served.db.engine) as statements:
            store(gateway, others)  # which they may not see
            wait_until(lambda: watch.looks > before + 1, WAIT_S, "two looks")
            looks = watch.looks - before
        assert statements.count <= STATEMENTS_OF_A_LOOK * (looks + 1)
        assert watch.waiting == POLLS
        store(gateway, box)

    with serving(app) as client:
        params = {"after": "latest", "wait_s": "30"}
        before = watch.looks
        with Statements(served.db.engine) as statements:
            answered = asyncio.run(_answers(str(client.base_url), path, params, happen))
        assert answered == [1] * POLLS
        assert watch.looks > before
        assert statements.count > STATEMENTS_OF_A_LOOK


@ON_SQLITE
def test_who_polls_again_with_the_cursor_of_the_last_answer_takes_no_statement(
    gateway: Gateway, app: FastAPI
) -> None:
    box = connector(gateway, groups=["sales"])
    reader = Callers.user("petr", groups=["sales"])
    watch = watch_of(app)
    with serving(app) as client, contextlib.ExitStack() as running:
        # Somebody else keeps the watch looking.
        running.enter_context(client.stream("GET", "/events/stream", headers=Callers.user("eva")))
        wait_until(lambda: watch.looks > 0, WAIT_S, "the first look")
        store(gateway, box)
        end = client.get("/events", headers=reader).json()["next_cursor"]
        wait_until(lambda: feed.last_position(gateway) in watch.marks, WAIT_S, "a look at the event")
        with Statements(app.state.gateway.db.engine) as statements:
            before = watch.looks
            for _ in range(20):
                answer = client.get("/events", params={"after": end, "wait_s": "0.01"}, headers=reader).json()
                assert answer["data"] == []
            looks = watch.looks - before
        assert statements.count <= STATEMENTS_OF_A_LOOK * (looks + 1)
