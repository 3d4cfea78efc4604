"""Events: the feed for polling, and the same feed as a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from app.deps import GatewayDep, WaitingCallerDep
from app.errors import Unauthenticated
from app.gateway import Gateway
from app.models import Event
from app.places import Places
from app.problems import problem_responses
from app.routers.waiting import IDENTIFY_EVERY_S, FeedWatch, until_filled, watch_of
from app.schemas.events import EventRead, EventsQuery, StreamQuery
from app.schemas.fields import Page
from app.services import pages
from app.services.access.rules import Principal
from app.services.events import feed
from app.services.pages import Slice

router = APIRouter(prefix="/events", tags=["events"], responses=problem_responses(403, 429))

HEARTBEAT_S = 15.0
"""Proxies close connections that are silent for longer than 30 s or 60 s."""
STREAM_LIFETIME_S = 600.0
"""After this time the client connects again, and the gateway checks again what its token or key may see."""
RECONNECT_AFTER_MS = 2000
STREAM_PAGE = 100
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
    query: Annotated[EventsQuery, Query()],
) -> Page[EventRead]:
    """List events in commit order, beginning with the oldest that is still kept.

    Poll with `after` set to the last `next_cursor`: you miss no event and get none twice. With `wait_s`, an empty page
    comes only after that time.
    """
    page = await until_filled(
        request,
        caller,
        lambda principal, after: feed.list_events(gateway, principal, after=after, limit=query.limit),
        query.after,
        query.wait_s,
    )
    return Page[EventRead].model_validate(page.map(lambda event: feed.as_cloud_event(gateway, event)))


@router.get("/stream", response_class=StreamingResponse, responses=STREAM_RESPONSES)
async def stream_events(
    request: Request,
    gateway: GatewayDep,
    caller: WaitingCallerDep,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> StreamingResponse:
    """Send the same events as server-sent events, as they happen.

    `Last-Event-ID` takes precedence over `after`; clients send it by themselves when they connect again. The stream ends
    now and then, so that the gateway checks the caller's rights again: connect again.
    """

    def look(after: str | None, principal: Principal) -> Slice[Event]:
        return feed.list_events(gateway, principal, after=after, limit=STREAM_PAGE)

    gateway.waiting.require_room(caller.principal.name)
    # Before the first byte, so that an error gets an error status.
    first = await run_in_threadpool(look, last_event_id or query.after, caller.principal)
    return _Stream(
        gateway.waiting,
        caller.principal.name,
        _stream(gateway, watch_of(request.app), first, caller.identify_again, look),
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


# Not by `fastapi.sse`: a route that is its generator has answered 200 before a bad cursor or right is found, and its writer
# puts `id` behind `data`, where programs that read line by line take the cursor of the event before.
async def _stream(
    gateway: Gateway,
    watch: FeedWatch,
    page: Slice[Event],
    identify_again: Callable[[], Principal],
    look: Callable[[str | None, Principal], Slice[Event]],
) -> AsyncIterator[bytes]:
    """The octets of the stream, beginning with its first page. It ends soon after the caller's key or token has ended."""
    loop = asyncio.get_running_loop()
    end = loop.time() + STREAM_LIFETIME_S
    yield f"retry: {RECONNECT_AFTER_MS}\n\n".encode()
    try:
        while True:
            for event in page.data:
                yield _written(gateway, event)
            if watch.is_closed or loop.time() >= end:
                return
            spoken = loop.time()
            while not page.has_more and not await watch.grown(_position(page), IDENTIFY_EVERY_S):
                await run_in_threadpool(identify_again)
                if watch.is_closed or loop.time() >= end:
                    return
                if loop.time() - spoken >= HEARTBEAT_S:
                    spoken = loop.time()
                    yield b": still here\n\n"
            principal = await run_in_threadpool(identify_again)
            page = await run_in_threadpool(look, page.next_cursor, principal)
    except Unauthenticated:
        return


def _position(page: Slice[Event]) -> int:
    return pages.decode_position(page.next_cursor) if page.next_cursor is not None else 0


def _written(gateway: Gateway, event: Event) -> bytes:
    cursor = pages.encode_cursor(event.position).encode()
    return b"id: " + cursor + b"\ndata: " + orjson.dumps(feed.as_cloud_event(gateway, event)) + b"\n\n"
