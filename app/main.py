"""The application: `create_app(settings)` puts it together; nothing starts at import."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute

from app import __version__, problems
from app.config import Settings
from app.errors import TooLarge
from app.gateway import Gateway
from app.ids import new_id
from app.jobs import Jobs
from app.routers import (
    api_keys,
    audit,
    connectors,
    credential_links,
    credential_pages,
    events,
    group_bindings,
    health,
    key_grants,
    messages,
    quarantine,
    submissions,
    webhooks,
)
from app.routers.waiting import watch_of

log = structlog.get_logger(__name__)

DESCRIPTION = """\
Receives, keeps, moves, announces and sends the e-mail of an application.

Every route but health, documentation and metrics takes `Authorization: Bearer` with a JWT or an API key.
Errors are `application/problem+json` (RFC 9457)."""


def create_app(settings: Settings) -> FastAPI:
    """The gateway over HTTP, with its jobs where `run_jobs` is set.

    Raises:
        SettingsIncomplete
    """
    settings.require_serving()
    gateway = Gateway.from_settings(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        jobs = Jobs(gateway) if settings.run_jobs else None
        if jobs is not None:
            jobs.start()
        try:
            yield
        finally:
            watch_of(app).close()
            if jobs is not None:
                jobs.stop()
            gateway.close()

    app = FastAPI(
        title="IMAP gateway",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        responses=problems.problem_responses(401, 422),
    )
    app.state.gateway = gateway
    for module in (
        connectors,
        credential_links,
        credential_pages,
        key_grants,
        group_bindings,
        messages,
        quarantine,
        submissions,
        events,
        webhooks,
        api_keys,
        audit,
        health,
    ):
        app.include_router(module.router)
    problems.install(app)
    app.middleware("http")(_log_request)
    problems.describe(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


async def _log_request(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Give the request an id, refuse a body that is too large, and log the request once, without its query:
    a search term is content."""
    request.state.request_id = new_id()
    structlog.contextvars.bind_contextvars(request_id=request.state.request_id)
    started = time.perf_counter()
    status = 500  # what is answered outside of this middleware when a bug surfaces
    try:
        response = _refuse_large_body(request) or await call_next(request)
        status = int(response.status_code)
        response.headers["X-Request-Id"] = request.state.request_id
        route = request.scope.get("route")
        log.info(
            "request",
            method=request.method,
            route=getattr(route, "path", None),
            status=status,
            duration_ms=round((time.perf_counter() - started) * 1000, 1),
        )
        return response
    finally:
        request.app.state.gateway.metrics.count_request(
            method=request.method, route=getattr(request.scope.get("route"), "path", None), status=status
        )
        structlog.contextvars.unbind_contextvars("request_id")


def _refuse_large_body(request: Request) -> Response | None:
    limit: int = request.app.state.gateway.settings.max_request_octets
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) <= limit:
        return None
    if not length and "transfer-encoding" not in request.headers:
        return None
    return problems.problem(request, 413, code=TooLarge.code, detail=TooLarge.default_detail, retryable=False)
