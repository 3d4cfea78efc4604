"""The API keys that may read a personal mailbox. Its owner decides."""

from fastapi import APIRouter

from app.deps import PrincipalDep, ReadSession, WriteSession
from app.problems import problem_responses
from app.routers.callers_first import CallerFirst
from app.schemas.fields import Id
from app.schemas.key_grants import KeyGrantList, KeyGrantRead
from app.services.access import key_grants
from app.services.access.key_grants import Granted

router = APIRouter(
    route_class=CallerFirst,
    prefix="/connectors/{connector_id}/key-grants",
    tags=["connectors"],
    responses=problem_responses(403, 404),
)


@router.get("")
def list_key_grants(connector_id: Id, principal: PrincipalDep, session: ReadSession) -> KeyGrantList:
    """List the API keys that may read this personal mailbox, the oldest grant first."""
    return KeyGrantList(
        data=[_read(each) for each in key_grants.list_grants(session, principal, connector_id)]
    )


@router.put("/{key_id}", responses=problem_responses(409))
def grant_key(connector_id: Id, key_id: Id, principal: PrincipalDep, session: WriteSession) -> KeyGrantRead:
    """Allow an API key to read this mailbox and to act on its mail, within its scopes. Only the owner may do this."""
    return _read(key_grants.grant(session, principal, connector_id, key_id))


@router.delete("/{key_id}", status_code=204)
def withdraw_key_grant(connector_id: Id, key_id: Id, principal: PrincipalDep, session: WriteSession) -> None:
    """Withdraw the grant. It ends at once."""
    key_grants.withdraw(session, principal, connector_id, key_id)


def _read(granted: Granted) -> KeyGrantRead:
    key = granted.key
    return KeyGrantRead(
        api_key_id=key.id,
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        granted_at=granted.granted_at,
    )
