"""The dependencies of the routes: the gateway, the caller, a session. No logic of its own."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlmodel import Session

from app.errors import Unauthenticated
from app.gateway import Gateway
from app.services import cursors
from app.services.access import callers, stream_tickets
from app.services.access.callers import Caller
from app.services.access.rules import Principal

_CALLER = "gateway.caller"
_bearer = HTTPBearer(auto_error=False, description="A JWT of the frontend, or an API key.")


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _origin(request: Request) -> str | None:
    return request.client.host if request.client is not None else None


# Those that only look something up are async: the framework runs the others in threads, one after the other, which costs
# more than most of them do.


async def get_gateway(request: Request) -> Gateway:
    return _gateway(request)


GatewayDep = Annotated[Gateway, Depends(get_gateway)]


async def get_origin(request: Request) -> str | None:
    """The network address that the request came from; if uvicorn trusts the proxy, the address that the proxy names."""
    return _origin(request)


OriginDep = Annotated[str | None, Depends(get_origin)]


def identified(request: Request) -> Caller:
    """The caller of a request. Their token is verified once for each request.

    Raises:
        Unauthenticated
    """
    known: Caller | None = request.scope.get(_CALLER)
    if known is None:
        token = callers.bearer_token(request.headers.get("authorization", ""))
        if token is None:
            raise Unauthenticated
        known = request.scope[_CALLER] = callers.identify(_gateway(request), token, origin=_origin(request))
    return known


def identified_by_ticket(request: Request) -> Caller:
    """The caller of the event stream: if the address has a ticket, whoever got it, otherwise as `identified`.

    Raises:
        Unauthenticated
    """
    ticket = request.query_params.get("ticket")
    if ticket is not None:
        with _gateway(request).db.reading() as session:
            request.scope[_CALLER] = stream_tickets.recognise(session, ticket, origin=_origin(request))
    return identified(request)


async def get_principal(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    """The caller. Only for routes that have found out already who calls (`CallerFirst`): it would block otherwise."""
    return identified(request).principal


PrincipalDep = Annotated[Principal, Depends(get_principal)]


async def get_caller(request: Request, _: PrincipalDep) -> Caller:
    return identified(request)


CallerDep = Annotated[Caller, Depends(get_caller)]


async def _expected_version(
    request: Request,
    if_match: Annotated[
        str | None, Header(description="The `ETag` that was read; 412 for any other.")
    ] = None,
) -> str | None:
    """The version of the object that the caller has seen. Empty, which matches no version, if the header is not exactly one strong
    ETag."""
    if if_match is None:
        return None
    value = ", ".join(request.headers.getlist("if-match"))
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else ""


ExpectedVersion = Annotated[str | None, Depends(_expected_version)]


def get_cursors(gateway: GatewayDep) -> cursors.CursorsOf:
    return cursors.of(gateway)


CursorsDep = Annotated[cursors.CursorsOf, Depends(get_cursors)]


def _writing_session(gateway: GatewayDep) -> Iterator[Session]:
    with gateway.db.unit_of_work() as session:
        yield session


def _reading_session(gateway: GatewayDep) -> Iterator[Session]:
    with gateway.db.reading() as session:
        yield session


# scope="function": the transaction ends before the answer is sent, so a commit that fails does not get 201.
WriteSession = Annotated[Session, Depends(_writing_session, scope="function")]
ReadSession = Annotated[Session, Depends(_reading_session, scope="function")]
