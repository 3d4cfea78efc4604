"""Events: the feed for polling. `event_streams` has the same feed as a stream."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.deps import CallerDep, CursorsDep, GatewayDep
from app.gateway import Gateway
from app.models import Event
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst
from app.routers.waiting import news_for, watch_of
from app.schemas.events import EventRead, EventsQuery
from app.schemas.fields import Page
from app.services import pages
from app.services.access.callers import Caller, identify_again
from app.services.access.rules import Principal
from app.services.events import feed, places
from app.services.events.looking import Shown, Waiting
from app.services.pages import Slice

router = APIRouter(
    route_class=CallerFirst, prefix="/events", tags=["events"], responses=problem_responses(403, 410, 429)
)

CURSORS = "events"
"""List and stream have the same cursors."""


@dataclass(frozen=True)
class _Found:
    """A page of events, and the position in the feed to go on from."""

    events: Sequence[Shown]
    position: int
    has_more: bool

    @classmethod
    def of(cls, page: Slice[Event]) -> "_Found":
        position = pages.number(page.next_after) if page.next_after is not None else 0
        return cls([Shown(event) for event in page.data], position, page.has_more)

    @property
    def is_filled(self) -> bool:
        return bool(self.events) or self.has_more


@router.get("", response_model=Page[EventRead])
async def list_events(
    request: Request,
    gateway: GatewayDep,
    caller: CallerDep,
    cursors_of: CursorsDep,
    query: Annotated[EventsQuery, Query()],
) -> Response:
    """List events in commit order, beginning with the oldest that is still kept.

    Poll with `after` set to the last `next_cursor`: you miss no event and get none twice. `after=latest` begins at the end.
    With `wait_s`, an empty page comes only after that time.
    """
    cursors, watch = cursors_of(CURSORS, is_feed=True), watch_of(request.app)
    after = await run_in_threadpool(places.opened, gateway, cursors, query.after, marks=watch.marks)
    found = await _found(request, gateway, caller, after, query)
    if found.position in watch.marks:
        cursor = places.cursor_with(cursors, found.position, watch.marks)
    else:
        cursor = await run_in_threadpool(places.cursor_at, gateway, cursors, str(found.position))
    data = b",".join(_written(gateway, shown) for shown in found.events)
    rest = orjson.dumps({"next_cursor": cursor, "has_more": found.has_more})
    return Response(b'{"data":[' + data + b"]," + rest[1:], media_type="application/json")


def _written(gateway: Gateway, shown: Shown) -> bytes:
    """The event as JSON."""
    if "json" not in shown.forms:
        event = EventRead.model_validate(feed.as_cloud_event(gateway, shown.event))
        shown.forms["json"] = event.model_dump_json().encode()
    return shown.forms["json"]


async def _found(
    request: Request, gateway: Gateway, caller: Caller, after: str | None, query: EventsQuery
) -> _Found:
    """The first page that is not empty; the empty page after `wait_s`, or when the client has gone.

    Raises:
        Unauthenticated: the key has been revoked, or the token has expired.
        TooManyRequests: the caller has as many streams and long polls open as one may have.
    """

    def read(principal: Principal, after: str | None) -> _Found:
        return _Found.of(feed.list_events(gateway, principal, query, after=after))

    position = pages.number(after) if after is not None else 0
    if query.wait_s <= 0 or position not in watch_of(request.app).marks:
        found = await run_in_threadpool(read, caller.principal, after)
        if found.is_filled or query.wait_s <= 0:
            return found
        position = found.position
    until = asyncio.get_running_loop().time() + query.wait_s
    with gateway.waiting.taken(caller.principal.name):
        while True:
            seen = await news_for(request, Waiting(caller, position, query.limit), until)
            if seen is not None and not seen.is_behind:
                return _Found(seen.events, seen.position, seen.has_more)
            principal = seen.principal if seen is not None else None
            if principal is None:
                principal = await run_in_threadpool(identify_again, gateway, caller)
            found = await run_in_threadpool(read, principal, str(position))
            if found.is_filled or seen is None:
                return found
            position = found.position
