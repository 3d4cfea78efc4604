"""Long polls of the list of messages: they wait until there may be something new on it for the caller."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from app.gateway import Gateway
from app.routers.waiting import news_for, watch_of
from app.services.access.callers import Caller, identify_again
from app.services.access.rules import Principal
from app.services.events import feed
from app.services.events.looking import Waiting
from app.services.messages.reading import Listed
from app.services.pages import Slice


@dataclass(frozen=True)
class Poll:
    """A list of messages to wait for. `list_after` reads it."""

    caller: Caller
    list_after: Callable[[Principal, str | None], Slice[Listed]]
    after: str | None
    known: int | None
    """The position in the feed up to which the caller knows everything, if it need not be read to find faults in the request."""
    connector_id: str | None
    wait_s: float


async def until_filled(request: Request, gateway: Gateway, poll: Poll) -> Slice[Listed]:
    """The first page that is not empty, or says that there is more. The empty page after that time, or when the client
    has gone. The list is read again only when a mail came that the caller may read.

    Raises:
        Unauthenticated: the key has been revoked, or the token has expired.
        TooManyRequests: the caller has as many streams and long polls open as one may have.
    """
    watch, page, position = watch_of(request.app), Slice[Listed]([], poll.after, has_more=False), poll.known
    if position is None or position not in watch.marks or poll.wait_s <= 0:
        # Get this first: what is committed later has a higher position.
        position = await run_in_threadpool(feed.last_position, gateway) if poll.wait_s > 0 else 0
        page = await run_in_threadpool(poll.list_after, poll.caller.principal, poll.after)
        if _is_filled(page) or poll.wait_s <= 0:
            return page
    until = asyncio.get_running_loop().time() + poll.wait_s
    with gateway.waiting.taken(poll.caller.principal.name):
        return await _until_filled(request, gateway, poll, page, position=position, until=until)


async def _until_filled(
    request: Request, gateway: Gateway, poll: Poll, page: Slice[Listed], *, position: int, until: float
) -> Slice[Listed]:
    while True:
        waiting = Waiting(poll.caller, position, limit=1, for_messages=True, connector_id=poll.connector_id)
        seen = await news_for(request, waiting, until)
        if seen is not None and not (seen.events or seen.has_more or seen.is_behind):
            return page
        principal = (
            seen.principal
            if seen is not None
            else await run_in_threadpool(identify_again, gateway, poll.caller)
        )
        assert principal is not None
        page = await run_in_threadpool(poll.list_after, principal, page.next_after)
        if _is_filled(page) or seen is None:
            return page
        position = seen.position


def _is_filled(page: Slice[Listed]) -> bool:
    return bool(page.data) or page.has_more
