"""The application: `create_app(settings)` puts its parts together. Importing this module starts nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from app import __version__, middleware, openapi_document, problems
from app.config import Settings
from app.gateway import Gateway
from app.jobs import Jobs
from app.routers import (
    api_keys,
    audit,
    connectors,
    credential_links,
    credential_pages,
    documentation,
    event_streams,
    events,
    group_bindings,
    health,
    key_grants,
    messages,
    quarantine,
    submissions,
    webhooks,
)
from app.routers.query import require_known_query
from app.routers.waiting import watch_of
from app.services import secret_binding
from app.services.messages import rereading

DESCRIPTION = """\
The gateway receives and sends the e-mail of an application. It stores mail, moves it on the server and publishes events.

Every route except health, documentation and metrics needs `Authorization: Bearer` with a JWT or an API key.
Errors are `application/problem+json` (RFC 9457)."""


class _Application(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        return middleware.around(super().build_middleware_stack(), self.state.gateway)


def create_app(settings: Settings) -> FastAPI:
    """The gateway over HTTP, with its jobs if `run_jobs` is set.

    Raises:
        SettingsIncomplete
    """
    settings.require_serving()
    gateway = Gateway.from_settings(settings)
    app = assembled()
    app.state.gateway = gateway
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    gateway: Gateway = app.state.gateway
    secret_binding.bind_at_start(gateway)
    rereading.tell_waiting(gateway.db)
    jobs = Jobs(gateway) if gateway.settings.run_jobs else None
    if jobs is not None:
        jobs.start()
    gateway.db.listen()
    try:
        yield
    finally:
        watch_of(app).close()
        if jobs is not None:
            jobs.stop()
        gateway.close()


def assembled() -> FastAPI:
    """All routes and handlers. It serves the gateway that `state.gateway` has when it starts."""
    app = _Application(
        title="IMAP gateway",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
        docs_url=None,  # the framework's pages load scripts from a public host: see `documentation`
        redoc_url=None,
        # A redirect would lead wherever the Host header says: also the page on which a password is typed.
        redirect_slashes=False,
        # Spans would carry paths (a credential link is one), queries and bodies.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    modules = (
        connectors,
        credential_links,
        key_grants,
        group_bindings,
        messages,
        quarantine,
        submissions,
        events,
        event_streams,
        webhooks,
        api_keys,
        audit,
    )
    for router in (*(module.router for module in modules), event_streams.tickets):
        app.include_router(
            router,
            dependencies=[Depends(require_known_query)],
            responses=problems.problem_responses(401, 422, 503),
        )
    # Probes, browsers and mail programs add parameters of their own to these.
    app.include_router(credential_pages.router)
    app.include_router(health.router)
    app.include_router(documentation.router, include_in_schema=False)
    problems.install(app)
    openapi_document.describe(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
