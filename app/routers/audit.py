"""The audit trail, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.deps import CursorsDep, PrincipalDep, ReadSession
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst
from app.schemas.audit import AuditQuery, AuditRecordRead
from app.schemas.fields import Page
from app.services.access import audit

router = APIRouter(route_class=CallerFirst, prefix="/audit", tags=["audit"], responses=problem_responses(403))


@router.get("")
def list_audit_records(
    session: ReadSession,
    principal: PrincipalDep,
    cursors_of: CursorsDep,
    query: Annotated[AuditQuery, Query()],
) -> Page[AuditRecordRead]:
    """Who did what, to which object, and from where, the latest first. Records hold no secrets and no content of mails."""
    cursors = cursors_of("audit")
    page = audit.list_records(session, principal, query, after=cursors.opened(query.after))
    return Page[AuditRecordRead].model_validate(cursors.with_cursor(page))
