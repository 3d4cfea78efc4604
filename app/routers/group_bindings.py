"""Group bindings: the groups that handle the mail of a shared connector."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.deps import CursorsDep, PrincipalDep, ReadSession, WriteSession
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst
from app.schemas.fields import Id, Page
from app.schemas.group_bindings import (
    GroupBindingCreate,
    GroupBindingRead,
    GroupBindingsQuery,
    GroupBindingUpdate,
)
from app.services.access import group_bindings

router = APIRouter(
    route_class=CallerFirst,
    prefix="/group-bindings",
    tags=["group-bindings"],
    responses=problem_responses(403, 404),
)


@router.post(
    "",
    status_code=201,
    responses={**problem_responses(409), 200: {"model": GroupBindingRead, "description": "Bound already"}},
)
def create_group_binding(
    body: GroupBindingCreate, response: Response, principal: PrincipalDep, session: WriteSession
) -> GroupBindingRead:
    """Let a group handle the mail of a shared connector. If it does already, the answer is the binding, with status 200.
    Personal connectors take no bindings (409)."""
    binding, is_new = group_bindings.create(session, principal, body)
    if not is_new:
        response.status_code = 200
    return GroupBindingRead.model_validate(binding)


@router.get("")
def list_group_bindings(
    principal: PrincipalDep,
    session: ReadSession,
    cursors_of: CursorsDep,
    query: Annotated[GroupBindingsQuery, Query()],
) -> Page[GroupBindingRead]:
    """List bindings, oldest first, for one connector or for all."""
    cursors = cursors_of("group-bindings")
    found = group_bindings.list_bindings(session, principal, query, after=cursors.opened(query.after))
    return Page[GroupBindingRead].model_validate(cursors.with_cursor(found))


@router.get("/{binding_id}")
def get_group_binding(binding_id: Id, principal: PrincipalDep, session: ReadSession) -> GroupBindingRead:
    """One binding."""
    return GroupBindingRead.model_validate(group_bindings.get(session, principal, binding_id))


@router.patch("/{binding_id}", responses=problem_responses(409))
def change_group_binding(
    binding_id: Id, body: GroupBindingUpdate, principal: PrincipalDep, session: WriteSession
) -> GroupBindingRead:
    """Bind another group instead."""
    binding = group_bindings.change(session, principal, binding_id, group=body.group)
    return GroupBindingRead.model_validate(binding)


@router.delete("/{binding_id}", status_code=204)
def delete_group_binding(binding_id: Id, principal: PrincipalDep, session: WriteSession) -> None:
    """Unbind the group: it can no longer read the connector's mail."""
    group_bindings.delete(session, principal, binding_id)
