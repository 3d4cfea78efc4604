"""The dependencies of the routes: the gateway, the caller, a session. No logic of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlmodel import Session

from app.errors import Unauthenticated
from app.gateway import Gateway
from app.services import cursors
from app.services.access import callers
from app.services.access.rules import Principal

_PRINCIPAL = "gateway.principal"
_bearer = HTTPBearer(auto_error=False, description="A JWT of the frontend, or an API key.")


def get_gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(get_gateway)]


def get_origin(request: Request) -> str | None:
    """The network address that the request came from; if uvicorn trusts the proxy, the address that the proxy names."""
    return request.client.host if request.client is not None else None


OriginDep = Annotated[str | None, Depends(get_origin)]


def identified(request: Request) -> Principal:
    """The caller of a request. Their token is verified once for each request.

    Raises:
        Unauthenticated
    """
    known: Principal | None = request.scope.get(_PRINCIPAL)
    if known is None:
        known = request.scope[_PRINCIPAL] = identify_again(request)
    return known


def identify_again(request: Request) -> Principal:
    """Verify the token again, of a request that may have waited for a long time.

    Raises:
        Unauthenticated
    """
    token = callers.bearer_token(request.headers.get("authorization", ""))
    if token is None:
        raise Unauthenticated
    return callers.identify(get_gateway(request), token, origin=get_origin(request))


def get_principal(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    return identified(request)


PrincipalDep = Annotated[Principal, Depends(get_principal)]


@dataclass(frozen=True)
class WaitingCaller:
    """The caller of a request that may wait for a long time."""

    principal: Principal
    identify_again: Callable[[], Principal]
    """Raises Unauthenticated if the key has been revoked, or the token has expired."""


def get_waiting_caller(request: Request, principal: PrincipalDep) -> WaitingCaller:
    return WaitingCaller(principal, lambda: identify_again(request))


WaitingCallerDep = Annotated[WaitingCaller, Depends(get_waiting_caller)]


def _expected_version(
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
