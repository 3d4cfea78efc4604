"""Events: the feed for polling, and the same feed as a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from app.deps import CursorsDep, GatewayDep, WaitingCallerDep
from app.errors import Unauthenticated
from app.gateway import Gateway
from app.models import Event
from app.places import Places
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst
from app.routers.waiting import IDENTIFY_EVERY_S, FeedWatch, until_filled, watch_of
from app.schemas.events import EventRead, EventsQuery, StreamQuery
from app.schemas.fields import CURSOR_MAX_CHARS, ListQuery, Page
from app.services import pages
from app.services.access.rules import Principal
from app.services.cursors import Cursors
from app.services.events import feed, places
from app.services.pages import Slice

router = APIRouter(
    route_class=CallerFirst, prefix="/events", tags=["events"], responses=problem_responses(403, 410, 429)
)

HEARTBEAT_S = 15.0
"""Proxies close connections that are silent for longer than 30 s or 60 s."""
STREAM_LIFETIME_S = 600.0
"""After this time the client connects again, and the gateway checks again what its token or key may see."""
RECONNECT_AFTER_MS = 2000
STREAM_PAGE = ListQuery(limit=100)
CURSORS = "events"
"""List and stream have the same cursors."""
STREAM_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `id` is a cursor, `data` an event as in the list.",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "data": {"type": "string", "contentMediaType": "application/json"},
                    },
                    "required": ["id", "data"],
                }
            }
        },
    }
}


@router.get("")
async def list_events(
    request: Request,
    gateway: GatewayDep,
    caller: WaitingCallerDep,
    cursors_of: CursorsDep,
    query: Annotated[EventsQuery, Query()],
) -> Page[EventRead]:
    """List events in commit order, beginning with the oldest that is still kept.

    Poll with `after` set to the last `next_cursor`: you miss no event and get none twice. `after=latest` begins at the end.
    With `wait_s`, an empty page comes only after that time.
    """
    cursors = cursors_of(CURSORS, is_feed=True)
    page = await until_filled(
        request,
        caller,
        lambda principal, after: feed.list_events(gateway, principal, query, after=after),
        await run_in_threadpool(places.opened, gateway, cursors, query.after),
        query.wait_s,
    )
    read = page.map(lambda event: feed.as_cloud_event(gateway, event))
    return Page[EventRead].model_validate(await run_in_threadpool(places.sealed, gateway, cursors, read))


@dataclass(frozen=True)
class _Start:
    """Where a stream begins."""

    cursors: Cursors
    after: str | None
    is_latest: bool = False
    """Whether the client has no cursor yet for where it begins."""


def _start(
    gateway: GatewayDep,
    cursors_of: CursorsDep,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[str | None, Header(max_length=CURSOR_MAX_CHARS)] = None,
) -> _Start:
    cursors = cursors_of(CURSORS, is_feed=True)
    if last_event_id:
        return _Start(cursors, places.opened(gateway, cursors, last_event_id, field="last-event-id"))
    after = places.opened(gateway, cursors, query.after)
    return _Start(cursors, after, query.after == places.LATEST)


@router.get("/stream", response_class=StreamingResponse, responses=STREAM_RESPONSES)
async def stream_events(
    request: Request,
    gateway: GatewayDep,
    caller: WaitingCallerDep,
    start: Annotated[_Start, Depends(_start)],
) -> StreamingResponse:
    """Send the same events as server-sent events, as they happen.

    `Last-Event-ID` takes precedence over `after`; clients send it by themselves when they connect again. `after=latest`
    begins at the end, and the `id` of the first block is the cursor of the end. The stream ends after some minutes, so that
    the gateway can check the caller's rights: connect again.
    """

    def look(after: str | None, principal: Principal) -> Slice[Event]:
        return feed.list_events(gateway, principal, STREAM_PAGE, after=after)

    gateway.waiting.require_room(caller.principal.name)
    # Before the first byte, so that an error gets an error status.
    first = await run_in_threadpool(look, start.after, caller.principal)
    head = f"retry: {RECONNECT_AFTER_MS}\n: connected\n"
    if start.is_latest and first.next_after is not None:
        # If the client is cut off before the first event, it continues from here, and not at the end of the feed at that time.
        end = await run_in_threadpool(places.cursor_at, gateway, start.cursors, str(start.after))
        head += f"id: {end}\n\n"
    octets = _stream(
        gateway,
        watch_of(request.app),
        first,
        head=head.encode(),
        cursors=start.cursors,
        identify_again=caller.identify_again,
        look=look,
    )
    return _Stream(
        gateway.waiting,
        caller.principal.name,
        octets,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


class _Stream(StreamingResponse):
    """A stream that counts for its caller until it has ended, however it ends."""

    def __init__(self, places: Places, caller: str, content: AsyncIterator[bytes], **more: Any) -> None:
        super().__init__(content, **more)
        self._places, self._caller = places, caller
        places.take(caller)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.give_back(self._caller)


# Not with `fastapi.sse`. A route that is its generator answers 200 before a bad cursor or a missing right is found. And it
# writes `id` after `data`, where programs that read line by line would take the cursor of the event before.
async def _stream(
    gateway: Gateway,
    watch: FeedWatch,
    page: Slice[Event],
    *,
    head: bytes,
    cursors: Cursors,
    identify_again: Callable[[], Principal],
    look: Callable[[str | None, Principal], Slice[Event]],
) -> AsyncIterator[bytes]:
    """The octets of the stream, beginning with its first page. It ends soon after the caller's key or token has ended."""
    loop = asyncio.get_running_loop()
    end = loop.time() + STREAM_LIFETIME_S
    # No empty line after it, nor after a comment: some clients make an empty event of a block without data.
    yield head
    beat = loop.time() + HEARTBEAT_S
    try:
        while True:
            for event in page.data:
                yield _written(gateway, cursors, event)
            now = loop.time()
            if not page.data and now >= beat:
                yield b": still here\n"
            # Events that the caller may not see must not change the heartbeat or the end: this would show when others have mail.
            if page.data or now >= beat:
                beat = now + HEARTBEAT_S
            if watch.is_closed or now >= end:
                return
            pause_s = min(IDENTIFY_EVERY_S, beat - now, end - now)
            is_there_more = page.has_more or await watch.grown(_position(page), pause_s)
            principal = await run_in_threadpool(identify_again)
            page = (
                await run_in_threadpool(look, page.next_after, principal)
                if is_there_more
                else Slice([], page.next_after, has_more=False)
            )
    except Unauthenticated:
        return


def _position(page: Slice[Event]) -> int:
    return pages.number(page.next_after) if page.next_after is not None else 0


def _written(gateway: Gateway, cursors: Cursors, event: Event) -> bytes:
    cursor = places.cursor_of(cursors, event).encode()
    return b"id: " + cursor + b"\ndata: " + orjson.dumps(feed.as_cloud_event(gateway, event)) + b"\n\n"
