"""Links by which the owner of a mailbox enters its password. The page that they lead to is in `credential_pages`."""

from fastapi import APIRouter, Request

from app.deps import GatewayDep, PrincipalDep, WriteSession
from app.problems import problem_responses
from app.routers import credential_pages
from app.schemas.credential_links import CredentialLinkCreated
from app.schemas.fields import Id
from app.services import credential_links

router = APIRouter(
    prefix="/connectors/{connector_id}/credential-links",
    tags=["connectors"],
    responses=problem_responses(403, 404),
)


@router.post("", status_code=201)
def create_credential_link(
    connector_id: Id, request: Request, gateway: GatewayDep, principal: PrincipalDep
) -> CredentialLinkCreated:
    """Make a link by which the owner of the mailbox enters its password on a page of the gateway, in Czech or
    English: single use, valid for 24 hours; an earlier one is void. Its address begins with `PUBLIC_URL`, else as
    this request's."""
    created = credential_links.create(gateway, principal, connector_id)
    start = gateway.settings.public_url or str(request.base_url).rstrip("/")
    return CredentialLinkCreated(
        url=f"{start}{credential_pages.PREFIX}/{created.token}", expires_at=created.row.expires_at
    )


@router.delete("", status_code=204)
def withdraw_credential_link(connector_id: Id, principal: PrincipalDep, session: WriteSession) -> None:
    """Make the link void, where there is one."""
    credential_links.withdraw(session, principal, connector_id)
