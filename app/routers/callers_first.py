"""Checks the caller of a route before the content of the request.

The framework checks body, path and query first. Then a request without a good token, or with a key that may not use the route, would
get 422 with the names of fields.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from app.deps import identified, identified_by_ticket
from app.request_bodies import require_acceptable
from app.services.access.callers import Caller
from app.services.access.rules import SCOPES, Action, Principal, require_administrator, require_scope
from app.who_may import ROUTES, ForAdministrators, Special, route_name

LARGE_JSON_OCTETS = 64 * 1024


class _Request(Request):
    """A request whose JSON is parsed in a thread if there is much of it: others are served meanwhile."""

    async def json(self) -> Any:
        body = await self.body()
        return (
            await run_in_threadpool(json.loads, body) if len(body) > LARGE_JSON_OCTETS else json.loads(body)
        )


class CallerFirst(APIRoute):
    """A route that answers 401 without a good token, and 403 to a key without the scope, before it reads the body."""

    @staticmethod
    def caller_of(request: Request) -> Caller:
        """Who calls. Raises Unauthenticated."""
        return identified(request)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        assert self.methods is not None
        (method,) = self.methods
        name = route_name(method, self.path_format)
        handle = super().get_route_handler()

        def check(request: Request) -> None:
            _require_allowed(self.caller_of(request).principal, name)
            require_acceptable(request.scope)

        async def handle_after_check(request: Request) -> Response:
            await run_in_threadpool(check, request)
            return await handle(_Request(request.scope, request.receive))

        return handle_after_check


def _require_allowed(principal: Principal, route: str) -> None:
    """Check the rights that do not depend on the objects of the request.

    Raises:
        ScopeMissing, Forbidden
    """
    match ROUTES[route]:
        case ForAdministrators(scope):
            require_administrator(principal, scope=scope)
        case Special(_, scope):
            require_scope(principal, scope)
        case Action() as action:
            require_scope(principal, SCOPES[action])


class TicketOrToken(CallerFirst):
    """Such a route that also takes a ticket in its address."""

    @staticmethod
    def caller_of(request: Request) -> Caller:
        return identified_by_ticket(request)
