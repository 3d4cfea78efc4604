"""Messages: the list that callers poll, content, state, deletion."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response, status
from starlette.concurrency import run_in_threadpool

from app.deps import CallerDep, CursorsDep, GatewayDep, PrincipalDep, ReadSession, WriteSession
from app.errors import FieldFault, InvalidInput
from app.problems import problem_responses
from app.routers import downloads
from app.routers.callers_first import CallerFirst
from app.routers.message_polls import Poll, until_filled
from app.routers.waiting import watch_of
from app.schemas.fields import Id, Page
from app.schemas.messages import (
    AddressRead,
    AnswerRead,
    ConnectorTally,
    DeletedCount,
    GroupTally,
    MessageCounts,
    MessageDetail,
    MessageRead,
    MessagesDelete,
    MessagesQuery,
    MessageUpdate,
)
from app.services import pages
from app.services.events import places
from app.services.messages import counting, deletion, reading, state
from app.services.messages.reading import Detail, Listed
from app.services.messages.selection import MessageFilter
from app.states import MessageOrder

router = APIRouter(route_class=CallerFirst, prefix="/messages", tags=["messages"])

COLUMNS = frozenset(MessageRead.model_fields) - {"from_", "answers"}


@router.get("", responses=problem_responses(403, 404, 410, 429, 503))
async def list_messages(
    request: Request,
    gateway: GatewayDep,
    caller: CallerDep,
    cursors_of: CursorsDep,
    query: Annotated[MessagesQuery, Query()],
) -> Page[MessageRead]:
    """List messages in the order in which they became visible, or the newest first.

    Poll with `after` set to the last `next_cursor`: you miss no message and get none twice, except one that came back to
    the source folder. `after=latest` begins at the end, in the order of arrival. With `wait_s`, an empty page comes only after
    that time.
    """
    is_feed = query.order is MessageOrder.ARRIVAL
    if query.after == places.LATEST and not is_feed:
        raise InvalidInput(FieldFault("/after", "`latest` needs the order of arrival"))
    cursors = cursors_of("messages" if is_feed else "messages newest first", is_feed=is_feed)
    after = cursors.opened(query.after) if not is_feed else None
    if is_feed:
        marks = watch_of(request.app).marks
        after = await run_in_threadpool(places.opened, gateway, cursors, query.after, marks=marks)
    needs_check = query.connector_id is not None or MessageFilter.of(query).searches_text
    poll = Poll(
        caller,
        lambda principal, after: reading.list_messages(gateway, principal, query, after=after),
        after,
        known=pages.number(after) if is_feed and after is not None and not needs_check else None,
        connector_id=query.connector_id,
        wait_s=query.wait_s,
    )
    page = await until_filled(request, gateway, poll)
    read = page.map(_read)
    if not is_feed:
        return Page[MessageRead].model_validate(cursors.with_cursor(read))
    return Page[MessageRead].model_validate(
        await run_in_threadpool(places.with_cursor, gateway, cursors, read)
    )


@router.get("/counts", responses=problem_responses(403))
def count_messages(session: ReadSession, principal: PrincipalDep) -> MessageCounts:
    """Count the messages that the caller may read: in all, by mailbox and by group."""
    found = counting.counts(session, principal)
    return MessageCounts(
        **found.total,
        connectors=[
            ConnectorTally(connector_id=connector_id, **tally)
            for connector_id, tally in found.connectors.items()
        ],
        groups=[GroupTally(group=group, **tally) for group, tally in found.groups.items()],
    )


@router.post("/delete", responses=problem_responses(403, 404))
def delete_messages(gateway: GatewayDep, principal: PrincipalDep, body: MessagesDelete) -> DeletedCount:
    """Delete all messages that match every filter and that the caller may delete."""
    return DeletedCount(deleted=deletion.delete_matching(gateway, principal, body))


@router.get("/{message_id}", responses=problem_responses(403, 404))
def get_message(gateway: GatewayDep, principal: PrincipalDep, message_id: Id) -> MessageDetail:
    """A message with its text, its safe HTML, and the list of attachments."""
    detail = reading.get_message(gateway, principal, message_id)
    return MessageDetail(
        **_values(detail),
        text=detail.text,
        html=detail.html,
        attachments=detail.attachments,
        defects=detail.defects,
    )


@router.get(
    "/{message_id}/source",
    response_class=Response,
    responses={**downloads.SOURCE_RESPONSES, **problem_responses(403, 404)},
)
def get_message_source(gateway: GatewayDep, principal: PrincipalDep, message_id: Id) -> Response:
    """The mail as received, byte for byte."""
    return downloads.download(reading.get_source(gateway, principal, message_id))


@router.get(
    "/{message_id}/attachments/{n}",
    response_class=Response,
    responses={**downloads.CONTENT_RESPONSES, **problem_responses(403, 404, 409, 429, 503)},
)
async def get_message_attachment(
    gateway: GatewayDep,
    principal: PrincipalDep,
    message_id: Id,
    n: Annotated[int, Path(ge=1, le=1_000_000)],
) -> Response:
    """The content of an attachment. It has the content type that the sender gave only if that type is harmless."""
    found = await gateway.attachments.run(
        principal.name, lambda: reading.get_attachment(gateway, principal, message_id, n)
    )
    return downloads.download(found)


@router.patch("/{message_id}", responses=problem_responses(403, 404))
def change_message(
    session: WriteSession, principal: PrincipalDep, message_id: Id, body: MessageUpdate
) -> MessageRead:
    """Mark a message as processed, or as new again."""
    message = state.set_state(session, principal, message_id, body.state)
    return _read(reading.with_answers(session, principal, message))


@router.delete("/{message_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problem_responses(403, 404))
def delete_message(session: WriteSession, principal: PrincipalDep, message_id: Id) -> None:
    """Delete a message from the gateway. Nothing changes on the mail server."""
    deletion.delete_one(session, principal, message_id)


def _read(listed: Listed) -> MessageRead:
    return MessageRead(**_values(listed))


def _values(listed: Listed | Detail) -> dict[str, Any]:
    message = listed.message
    values = {name: getattr(message, name) for name in COLUMNS}
    known = message.from_name is not None or message.from_address is not None
    sender = AddressRead(name=message.from_name, address=message.from_address or "") if known else None
    answers = [AnswerRead.model_validate(answer) for answer in listed.answers]
    return {**values, "from": sender, "answers": answers}
