"""Submissions: sending mail, the results, and the sent content."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response, status
from fastapi.responses import JSONResponse

from app.deps import CursorsDep, GatewayDep, PrincipalDep, ReadSession, WriteSession
from app.problems import problem_responses
from app.routers import downloads
from app.routers.callers_first import CallerFirst
from app.schemas.fields import Id, Page
from app.schemas.submissions import (
    RecipientRead,
    SentAttachment,
    SubmissionCreate,
    SubmissionDetail,
    SubmissionError,
    SubmissionRead,
    SubmissionSource,
    SubmissionsQuery,
)
from app.services.sending import contents, ending, submissions
from app.services.sending.submissions import Detailed
from app.states import SubmissionStatus

router = APIRouter(route_class=CallerFirst, prefix="/submissions", tags=["submissions"])

IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[ -~]+$")
]

SOURCE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The mail.",
        "model": SubmissionSource,
        "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("", status_code=status.HTTP_201_CREATED, responses=problem_responses(403, 404, 409, 413, 503))
def create_submission(
    gateway: GatewayDep,
    principal: PrincipalDep,
    body: SubmissionCreate,
    idempotency_key: IdempotencyKey = None,
) -> SubmissionDetail:
    """Queue a mail. Requests with the same `Idempotency-Key` and body queue it only once."""
    return _in_full(submissions.create(gateway, principal, body, idempotency_key=idempotency_key))


@router.get("", responses=problem_responses(403, 404))
def list_submissions(
    session: ReadSession,
    principal: PrincipalDep,
    cursors_of: CursorsDep,
    query: Annotated[SubmissionsQuery, Query()],
) -> Page[SubmissionRead]:
    """List the submissions of the connectors from which the caller may send, oldest first."""
    cursors = cursors_of("submissions")
    page = submissions.list_submissions(session, principal, query, after=cursors.opened(query.after))
    return Page[SubmissionRead].model_validate(cursors.with_cursor(page.map(_read)))


@router.get("/{submission_id}", responses=problem_responses(403, 404))
def get_submission(gateway: GatewayDep, principal: PrincipalDep, submission_id: Id) -> SubmissionDetail:
    """A submission, with the result for each recipient, and the content of the request."""
    return _in_full(submissions.read(gateway, principal, submission_id))


@router.get(
    "/{submission_id}/source",
    response_class=Response,
    responses={**SOURCE_RESPONSES, **problem_responses(403, 404)},
)
def get_submission_source(
    request: Request, gateway: GatewayDep, principal: PrincipalDep, submission_id: Id
) -> Response:
    """The mail as it was sent, or will be. A caller who accepts only JSON gets `{"source": "…"}`."""
    file = contents.get_source(gateway, principal, submission_id)
    if downloads.wants_json(request):
        return JSONResponse(SubmissionSource(source=file.content.decode("ascii", "replace")).model_dump())
    return downloads.download_file(file)


@router.get(
    "/{submission_id}/attachments/{n}",
    response_class=Response,
    responses={**downloads.CONTENT_RESPONSES, **problem_responses(403, 404)},
)
def get_submission_attachment(
    gateway: GatewayDep,
    principal: PrincipalDep,
    submission_id: Id,
    n: Annotated[int, Path(ge=1, le=1_000_000)],
) -> Response:
    """The content of an attachment that was sent, or will be."""
    return downloads.download_file(contents.get_attachment(gateway, principal, submission_id, n))


@router.post("/{submission_id}/retry", responses=problem_responses(403, 404, 409))
def retry_submission(
    session: WriteSession, principal: PrincipalDep, submission_id: Id, also: bool = False
) -> SubmissionDetail:
    """Send a failed, partly sent or uncertain submission again, to the recipients that have not got it or may not have.

    If somebody has answered the same message meanwhile, this needs `also`.
    """
    ending.retry(session, principal, submission_id, also=also)
    return _in_full(submissions.get_submission(session, principal, submission_id))


@router.delete(
    "/{submission_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problem_responses(403, 404, 409)
)
def cancel_submission(session: WriteSession, principal: PrincipalDep, submission_id: Id) -> None:
    """Cancel a submission while it is queued, or delete one that failed or is uncertain."""
    ending.remove(session, principal, submission_id)


def _in_full(detailed: Detailed) -> SubmissionDetail:
    body = detailed.body if detailed.may_read else None
    return SubmissionDetail(
        **_values(detailed),
        to=body.to if body is not None else [],
        cc=body.cc if body is not None else [],
        bcc=body.bcc if body is not None else [],
        text=body.text if body is not None else None,
        html=body.html if body is not None else None,
        attachments=[SentAttachment(**each) for each in (body.attachments if body is not None else ())],
    )


def _read(detailed: Detailed) -> SubmissionRead:
    return SubmissionRead(**_values(detailed))


def _values(detailed: Detailed) -> dict[str, Any]:
    row = detailed.submission
    return {
        "id": row.id,
        "connector_id": row.connector_id,
        "from_": row.envelope_from,
        "status": row.status,
        "message_id_header": row.message_id_header,
        "subject": row.subject,
        "in_reply_to": row.in_reply_to_message_id,
        "conversation_id": row.conversation_id,
        "recipients": [RecipientRead.model_validate(recipient) for recipient in detailed.recipients],
        "attempts": row.attempts,
        # After the mail was sent, the time is that of filing the copy, which is not an attempt to send.
        "next_attempt_at": row.next_attempt_at if row.status == SubmissionStatus.QUEUED else None,
        "error": _error(detailed),
        "sent_copy": row.sent_copy,
        "send_at": row.send_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _error(detailed: Detailed) -> SubmissionError | None:
    row = detailed.submission
    if row.error_code is None:
        return None
    return SubmissionError(
        code=row.error_code,
        detail=row.error_detail or "",
        enhanced_status=row.error_enhanced_status,
        server_text=row.error_server_text if detailed.may_read else None,
    )
