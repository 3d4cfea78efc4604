"""Whether the gateway is alive and ready, and its figures. Open to everybody: nothing here names a mailbox."""

import hmac
import ipaddress

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr

from app.deps import GatewayDep
from app.errors import Unauthenticated
from app.problems import problem_responses
from app.schemas.health import Live, Ready
from app.services import health
from app.services.access import callers

router = APIRouter(tags=["service"])

FORWARDED = frozenset({"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "x-original-url"})
FORWARDED_STARTS = ("x-forwarded-", "x-original-", "x-envoy-", "x-cluster-", "cf-", "fly-")
"""Headers that proxies add to what they forward."""


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
def get_live() -> Live:
    """The process answers."""
    return Live()


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready", responses={503: {"model": Ready, "description": "Not ready."}})
def get_ready(gateway: GatewayDep, response: Response) -> Ready:
    """Whether the gateway can serve requests: the database answers, its schema is the right version, the jobs run."""
    readiness = health.check(gateway)
    response.status_code = 200 if readiness.is_ready else 503
    return Ready(
        ready=readiness.is_ready,
        database=readiness.database,
        migrations=readiness.migrations,
        sweep=readiness.sweep,
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Figures."},
        **problem_responses(401),
    },
)
def get_metrics(request: Request, gateway: GatewayDep) -> Response:
    """Figures for Prometheus, without addresses. With `GATEWAY_METRICS_TOKEN` as the bearer token; if it is not set, only for
    connections from this machine that no proxy has forwarded."""
    if not _may_read_metrics(request, gateway.settings.metrics_token):
        raise Unauthenticated
    page = health.metrics_page(gateway)
    return Response(page.body, media_type=page.content_type)


def _may_read_metrics(request: Request, token: SecretStr | None) -> bool:
    # Not a security scheme of the framework: the page with the documentation would ask for two tokens.
    if token is None:
        return _is_from_this_machine(request)
    given = callers.bearer_token(request.headers.get("authorization", "")) or ""
    return hmac.compare_digest(given.encode(), token.get_secret_value().encode())


def _is_from_this_machine(request: Request) -> bool:
    # A proxy on this machine connects from it too, for clients anywhere.
    is_forwarded = any(name in FORWARDED or name.startswith(FORWARDED_STARTS) for name in request.headers)
    if request.client is None or is_forwarded:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
