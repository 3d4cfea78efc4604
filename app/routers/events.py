"""Events: the feed for polling. `event_streams` has the same feed as a stream."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from app.deps import CallerDep, CursorsDep, GatewayDep
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst
from app.routers.waiting import until_filled
from app.schemas.events import EventRead, EventsQuery
from app.schemas.fields import Page
from app.services.events import feed, places

router = APIRouter(
    route_class=CallerFirst, prefix="/events", tags=["events"], responses=problem_responses(403, 410, 429)
)

CURSORS = "events"
"""List and stream have the same cursors."""


@router.get("")
async def list_events(
    request: Request,
    gateway: GatewayDep,
    caller: CallerDep,
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
