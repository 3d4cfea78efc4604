"""The feed of events as a stream (server-sent events), and tickets that open one from a browser's `EventSource`."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from app import clock
from app.deps import CallerDep, CursorsDep, GatewayDep, WriteSession
from app.errors import Unauthenticated
from app.gateway import Gateway
from app.models import Event
from app.places import Places
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst, TicketOrToken
from app.routers.events import CURSORS
from app.routers.waiting import FeedWatch, watch_of
from app.schemas.events import StreamQuery, StreamTicketRead
from app.schemas.fields import CURSOR_MAX_CHARS, ListQuery
from app.services import pages
from app.services.access import stream_tickets
from app.services.access.callers import Caller, identify_again
from app.services.access.rules import Principal
from app.services.cursors import Cursors
from app.services.events import feed, places
from app.services.events.looking import Shown, Waiting
from app.services.pages import Slice

tickets = APIRouter(
    route_class=CallerFirst, prefix="/events", tags=["events"], responses=problem_responses(403, 429)
)
router = APIRouter(
    route_class=TicketOrToken, prefix="/events", tags=["events"], responses=problem_responses(403, 410, 429)
)

HEARTBEAT_S = 15.0
"""Proxies close connections that are silent for longer than 30 s or 60 s."""
STREAM_LIFETIME_S = 600.0
"""After this time the client connects again, and the gateway checks again what its token or key may see."""
RECONNECT_AFTER_MS = 2000
STREAM_PAGE = ListQuery(limit=100)
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


@tickets.post("/stream-tickets", status_code=201)
def create_stream_ticket(session: WriteSession, caller: CallerDep) -> StreamTicketRead:
    """Make a ticket for `GET /events/stream?ticket=…`, because a browser's `EventSource` cannot send `Authorization`.

    It opens one stream at a time until it expires, in ten minutes or with your token: a newer stream with it ends the older one.
    """
    return StreamTicketRead.model_validate(stream_tickets.issue(session, caller))


@router.get("/stream", response_class=StreamingResponse, responses=STREAM_RESPONSES)
async def stream_events(
    request: Request,
    gateway: GatewayDep,
    caller: CallerDep,
    start: Annotated[_Start, Depends(_start)],
) -> StreamingResponse:
    """Send the same events as server-sent events, as they happen.

    `Last-Event-ID` takes precedence over `after`; clients send it by themselves when they connect again. `after=latest`
    begins at the end, and the `id` of the first block is the cursor of the end. The stream ends after some minutes, so that
    the gateway can check the caller's rights: connect again.
    """
    streams = _streams_of(request.app)
    streams.require_room(caller)
    # Before the first byte, so that an error gets an error status.
    first = await run_in_threadpool(_list, gateway, caller.principal, start.after)
    head = f"retry: {RECONNECT_AFTER_MS}\n: connected\n"
    if start.is_latest and first.next_after is not None:
        # If the client is cut off before the first event, it continues from here, and not at the end of the feed at that time.
        end = await run_in_threadpool(places.cursor_at, gateway, start.cursors, str(start.after))
        head += f"id: {end}\n\n"
    # Last of all: a request that is refused ends no other stream.
    caller = await run_in_threadpool(stream_tickets.open_stream, gateway, caller)
    watch = watch_of(request.app)
    if caller.ticket is not None:
        watch.look_soon()  # an older stream of this ticket ends
    octets = _stream(gateway, watch, caller, first, head=head.encode(), cursors=start.cursors)
    return _Stream(streams, caller, octets)


class _Streams:
    """The streams of this process, for the limit of each caller. Of those with one ticket only the newest counts: a browser
    that connects again must find room, although the gateway may not know yet that it has gone."""

    def __init__(self, waiting: Places) -> None:
        self._waiting = waiting
        self._of_ticket: dict[str, _Stream] = {}

    def require_room(self, caller: Caller) -> None:
        """Refuse a stream for which there is no room.

        Raises:
            TooManyRequests
        """
        if caller.ticket not in self._of_ticket:
            self._waiting.require_room(caller.principal.name)

    def add(self, stream: "_Stream") -> None:
        """Count a stream.

        Raises:
            TooManyRequests
        """
        ticket = stream.caller.ticket
        if ticket is not None and ticket in self._of_ticket:
            self.remove(self._of_ticket[ticket])
        self._waiting.take(stream.caller.principal.name)
        stream.has_place = True
        if ticket is not None:
            self._of_ticket[ticket] = stream

    def remove(self, stream: "_Stream") -> None:
        """Count it no more."""
        if not stream.has_place:
            return
        stream.has_place = False
        self._waiting.give_back(stream.caller.principal.name)
        if stream.caller.ticket is not None:
            del self._of_ticket[stream.caller.ticket]


def _streams_of(app: FastAPI) -> _Streams:
    streams: _Streams | None = getattr(app.state, "streams", None)
    if streams is None:
        streams = app.state.streams = _Streams(app.state.gateway.waiting)
    return streams


class _Stream(StreamingResponse):
    """A stream that counts for its caller until it has ended, however it ends."""

    has_place = False

    def __init__(self, streams: _Streams, caller: Caller, content: AsyncIterator[bytes]) -> None:
        super().__init__(
            content,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"},
        )
        self.caller = caller
        self._streams = streams
        streams.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.remove(self)


# Not by `fastapi.sse`: a route that is its generator has answered 200 before a bad cursor or right is found, and its writer
# puts `id` behind `data`, where programs that read line by line take the cursor of the event before.
async def _stream(
    gateway: Gateway,
    watch: FeedWatch,
    caller: Caller,
    page: Slice[Event],
    *,
    head: bytes,
    cursors: Cursors,
) -> AsyncIterator[bytes]:
    """The octets of the stream, beginning with its first page. It ends soon after the caller's key, token or ticket has ended."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _lifetime_s(caller)
    # No empty line after it, nor after a comment: some clients make an empty event of a block without data.
    yield head
    beat = loop.time() + HEARTBEAT_S
    events, position, has_more = [Shown(event) for event in page.data], _position(page), page.has_more
    while True:
        for shown in events:
            yield _written(gateway, cursors, shown)
        now = loop.time()
        if not events and now >= beat:
            yield b": still here\n"
        # What the caller may not see moves neither this nor the end: it would tell when others have mail.
        if events or now >= beat:
            beat = now + HEARTBEAT_S
        if watch.is_closed or now >= end:
            return
        pause_s = 0 if has_more else min(beat, end) - now
        seen = await watch.news(Waiting(caller, position, STREAM_PAGE.limit), pause_s)
        if seen is not None and (seen.principal is None or seen.is_ahead):
            return
        if seen is not None and seen.principal is not None and not seen.is_behind:
            events, position, has_more = list(seen.events), seen.position, seen.has_more
            continue
        try:
            page = await run_in_threadpool(_read, gateway, caller, str(position))
        except Unauthenticated:
            return
        events, position, has_more = [Shown(event) for event in page.data], _position(page), page.has_more


def _lifetime_s(caller: Caller) -> float:
    if caller.good_until is None:
        return STREAM_LIFETIME_S
    return min(STREAM_LIFETIME_S, (caller.good_until - clock.utc_now()).total_seconds())


def _read(gateway: Gateway, caller: Caller, after: str | None) -> Slice[Event]:
    """The next events, by a query of their own.

    Raises:
        Unauthenticated
    """
    return _list(gateway, identify_again(gateway, caller), after)


def _list(gateway: Gateway, principal: Principal, after: str | None) -> Slice[Event]:
    return feed.list_events(gateway, principal, STREAM_PAGE, after=after)


def _position(page: Slice[Event]) -> int:
    return pages.number(page.next_after) if page.next_after is not None else 0


def _written(gateway: Gateway, cursors: Cursors, shown: Shown) -> bytes:
    """The event as a block of the stream."""
    if "block" not in shown.forms:
        cursor = places.cursor_of(cursors, shown.event).encode()
        data = orjson.dumps(feed.as_cloud_event(gateway, shown.event))
        shown.forms["block"] = b"id: " + cursor + b"\ndata: " + data + b"\n\n"
    return shown.forms["block"]
