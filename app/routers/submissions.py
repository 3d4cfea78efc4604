"""Submissions: sending mail, and the results."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, status

from app.deps import CursorsDep, GatewayDep, PrincipalDep, ReadSession, WriteSession
from app.problems import problem_responses
from app.schemas.fields import Id, Page
from app.schemas.submissions import RecipientRead, SubmissionCreate, SubmissionRead, SubmissionsQuery
from app.services.sending import submissions
from app.services.sending.submissions import Detailed
from app.states import SubmissionStatus

router = APIRouter(prefix="/submissions", tags=["submissions"])

IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[ -~]+$")
]


@router.post("", status_code=status.HTTP_201_CREATED, responses=problem_responses(403, 404, 409, 413))
def create_submission(
    gateway: GatewayDep,
    principal: PrincipalDep,
    body: SubmissionCreate,
    idempotency_key: IdempotencyKey = None,
) -> SubmissionRead:
    """Queue a mail. Requests with the same `Idempotency-Key` and body queue it only once."""
    return _read(submissions.create(gateway, principal, body, idempotency_key=idempotency_key))


@router.get("", responses=problem_responses(403, 404))
def list_submissions(
    session: ReadSession,
    principal: PrincipalDep,
    cursors_of: CursorsDep,
    query: Annotated[SubmissionsQuery, Query()],
) -> Page[SubmissionRead]:
    """List the submissions of the connectors from which the caller may send, oldest first."""
    cursors = cursors_of("submissions")
    given = {**query.model_dump(), "after": cursors.opened(query.after)}
    page = submissions.list_submissions(session, principal, **given)
    return Page[SubmissionRead].model_validate(cursors.sealed(page.map(_read)))


@router.get("/{submission_id}", responses=problem_responses(403, 404))
def get_submission(session: ReadSession, principal: PrincipalDep, submission_id: Id) -> SubmissionRead:
    """A submission, with the result for each recipient."""
    return _read(submissions.get_submission(session, principal, submission_id))


@router.delete(
    "/{submission_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problem_responses(403, 404, 409)
)
def cancel_submission(session: WriteSession, principal: PrincipalDep, submission_id: Id) -> None:
    """Cancel a submission while it is queued."""
    submissions.cancel(session, principal, submission_id)


def _read(detailed: Detailed) -> SubmissionRead:
    row = detailed.submission
    return SubmissionRead(
        id=row.id,
        connector_id=row.connector_id,
        status=row.status,
        message_id_header=row.message_id_header,
        subject=row.subject,
        in_reply_to=row.in_reply_to_message_id,
        recipients=[RecipientRead.model_validate(recipient) for recipient in detailed.recipients],
        attempts=row.attempts,
        # For a row that has been sent, the time is that of filing the copy, which is not an attempt to send.
        next_attempt_at=row.next_attempt_at if row.status == SubmissionStatus.QUEUED else None,
        sent_copy=row.sent_copy,
        send_at=row.send_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
