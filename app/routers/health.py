"""Whether the gateway is alive and ready, and its figures. Open to everybody: nothing here names a mailbox."""

from fastapi import APIRouter, Response

from app.deps import GatewayDep
from app.schemas.health import Live, Ready
from app.services import health

router = APIRouter(tags=["service"])


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
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Figures."}},
)
def get_metrics(gateway: GatewayDep) -> Response:
    """Figures for Prometheus, without addresses."""
    page = health.metrics_page(gateway)
    return Response(page.body, media_type=page.content_type)
