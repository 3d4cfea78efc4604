"""Links by which the owner of a mailbox enters its password. `credential_pages` has the page that they open."""

from fastapi import APIRouter, Request

from app.deps import GatewayDep, PrincipalDep, WriteSession
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst
from app.schemas.credential_links import CredentialLinkCreated
from app.schemas.fields import Id
from app.services.connectors import credential_links

router = APIRouter(
    route_class=CallerFirst,
    prefix="/connectors/{connector_id}/credential-links",
    tags=["connectors"],
    responses=problem_responses(403, 404),
)


@router.post("", status_code=201, responses=problem_responses(409, 429))
def create_credential_link(
    connector_id: Id, request: Request, gateway: GatewayDep, principal: PrincipalDep
) -> CredentialLinkCreated:
    """Make a link by which the owner of the mailbox enters its password on a page of the gateway, in Czech or English. The
    link works once and for 24 hours; it makes an earlier link invalid. Its address begins with `PUBLIC_URL`, which must be
    set unless the request comes from the same machine."""
    created = credential_links.create(gateway, principal, connector_id, base_url=str(request.base_url))
    return CredentialLinkCreated.model_validate(created)


@router.delete("", status_code=204)
def withdraw_credential_link(connector_id: Id, principal: PrincipalDep, session: WriteSession) -> None:
    """Make the unused link invalid, if there is one."""
    credential_links.withdraw(session, principal, connector_id)
