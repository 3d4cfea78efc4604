"""Quarantine: mails that could not be taken in."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.deps import CursorsDep, PrincipalDep, ReadSession, WriteSession
from app.models import Quarantined
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst
from app.schemas.fields import Id, Page
from app.schemas.messages import QuarantinedRead, QuarantineQuery, QuarantineRetry, RetriedCount
from app.services.fetching import quarantine

router = APIRouter(route_class=CallerFirst, prefix="/quarantine", tags=["quarantine"])


@router.get("", responses=problem_responses(403, 404))
def list_quarantined(
    session: ReadSession,
    principal: PrincipalDep,
    cursors_of: CursorsDep,
    query: Annotated[QuarantineQuery, Query()],
) -> Page[QuarantinedRead]:
    """List the mails that could not be taken in, with the reasons. They are still in their folder on the mail server."""
    cursors = cursors_of("quarantine")
    page = quarantine.list_quarantined(session, principal, query, after=cursors.opened(query.after))
    return Page[QuarantinedRead].model_validate(cursors.with_cursor(page.map(_read)))


@router.post("/retry", responses=problem_responses(403, 404))
def retry_quarantined_mails(
    session: WriteSession, principal: PrincipalDep, body: QuarantineRetry
) -> RetriedCount:
    """Make the next cycles try all mails again that match every filter."""
    return RetriedCount(retried=quarantine.retry_matching(session, principal, body))


@router.post("/{quarantine_id}/retry", responses=problem_responses(403, 404))
def retry_quarantined_mail(
    session: WriteSession, principal: PrincipalDep, quarantine_id: Id
) -> QuarantinedRead:
    """Make the next cycle try this mail again."""
    return _read(quarantine.retry(session, principal, quarantine_id))


def _read(row: Quarantined) -> QuarantinedRead:
    values = row.model_dump(include=set(QuarantinedRead.model_fields))
    return QuarantinedRead(**values, detail=quarantine.detail_of(row.reason))
