"""API keys of integrators and services."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.deps import CursorsDep, PrincipalDep, ReadSession, WriteSession
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst
from app.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyRead
from app.schemas.fields import Id, ListQuery, Page
from app.services.access import api_keys

router = APIRouter(
    route_class=CallerFirst, prefix="/api-keys", tags=["api-keys"], responses=problem_responses(403)
)


@router.post("", status_code=201)
def create_api_key(body: ApiKeyCreate, principal: PrincipalDep, session: WriteSession) -> ApiKeyCreated:
    """Create an API key. Only this answer shows it.

    A key with the scope `admin` can create only keys with no more scopes, connectors or time than its own."""
    issued = api_keys.create(session, principal, body)
    read = ApiKeyRead.model_validate(issued.row)
    return ApiKeyCreated(**read.model_dump(), key=issued.key)


@router.get("")
def list_api_keys(
    principal: PrincipalDep,
    session: ReadSession,
    cursors_of: CursorsDep,
    query: Annotated[ListQuery, Query()],
) -> Page[ApiKeyRead]:
    """List API keys, oldest first, including revoked ones. The list never shows the keys themselves."""
    cursors = cursors_of("api-keys")
    page = api_keys.list_keys(session, principal, query, after=cursors.opened(query.after))
    return Page[ApiKeyRead].model_validate(cursors.with_cursor(page))


@router.delete("/{key_id}", status_code=204, responses=problem_responses(404))
def revoke_api_key(key_id: Id, principal: PrincipalDep, session: WriteSession) -> None:
    """Revoke an API key: it stops working at once, and the grants of mailbox owners to this key end."""
    api_keys.revoke(session, principal, key_id)
