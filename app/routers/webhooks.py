"""Webhooks: addresses to which events are delivered over HTTP. For administrators, and keys with `webhooks:write`."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from app.deps import CursorsDep, GatewayDep, PrincipalDep, ReadSession, WriteSession
from app.models import Webhook
from app.problems import problem_responses
from app.routers import resolving
from app.routers.callers_first import CallerFirst
from app.schemas.events import (
    DeliveryRead,
    ReplayCount,
    SecretRotation,
    WebhookCreate,
    WebhookCreated,
    WebhookRead,
    WebhookReplay,
    WebhookTestRead,
    WebhookUpdate,
)
from app.schemas.fields import Id, ListQuery, Page
from app.services.events import deliveries, webhooks
from app.services.events.webhook_secrets import HIDDEN
from app.services.events.webhooks import Created

router = APIRouter(
    route_class=CallerFirst, prefix="/webhooks", tags=["webhooks"], responses=problem_responses(403)
)


@router.post("", status_code=201, responses=problem_responses(429, 503))
async def create_webhook(body: WebhookCreate, gateway: GatewayDep, principal: PrincipalDep) -> WebhookCreated:
    """Deliver the events from now on to an address. Only this answer shows the secret that verifies them."""
    return await resolving.run(
        gateway,
        principal,
        lambda: _with_secret(webhooks.create(gateway, principal, body)),
        may_ask=webhooks.may_resolve(body.url),
    )


@router.get("")
def list_webhooks(
    principal: PrincipalDep,
    session: ReadSession,
    cursors_of: CursorsDep,
    query: Annotated[ListQuery, Query()],
) -> Page[WebhookRead]:
    """List webhooks, oldest first."""
    cursors = cursors_of("webhooks")
    page = webhooks.list_webhooks(session, principal, query, after=cursors.opened(query.after))
    return Page[WebhookRead].model_validate(cursors.with_cursor(page.map(_read)))


@router.get("/{webhook_id}", responses=problem_responses(404))
def get_webhook(webhook_id: Id, principal: PrincipalDep, session: ReadSession) -> WebhookRead:
    """One webhook."""
    return _read(webhooks.get(session, principal, webhook_id))


@router.patch("/{webhook_id}", responses=problem_responses(404, 429, 503))
async def change_webhook(
    webhook_id: Id, body: WebhookUpdate, gateway: GatewayDep, principal: PrincipalDep
) -> WebhookRead:
    """Change the fields that the request has. When an inactive webhook becomes active again, it gets the events that
    happened in the meantime. A webhook that rests goes on at once."""
    return await resolving.run(
        gateway,
        principal,
        lambda: _read(webhooks.change(gateway, principal, webhook_id, body)),
        may_ask=webhooks.may_resolve(body.url),
    )


@router.post("/{webhook_id}/rotate-secret", responses=problem_responses(404))
def rotate_webhook_secret(
    webhook_id: Id, gateway: GatewayDep, principal: PrincipalDep, body: SecretRotation | None = None
) -> WebhookCreated:
    """Give the webhook a new secret, which only this answer shows. For a day, or as long as the request says, events are signed
    with the previous secret, too: receivers accept a signature of either."""
    valid = timedelta(seconds=(body or SecretRotation()).previous_valid_s)
    return _with_secret(webhooks.rotate_secret(gateway, principal, webhook_id, previous_valid=valid))


@router.delete("/{webhook_id}", status_code=204, responses=problem_responses(404))
def delete_webhook(webhook_id: Id, principal: PrincipalDep, session: WriteSession) -> None:
    """Delete the webhook: nothing more is delivered."""
    webhooks.delete(session, principal, webhook_id)


@router.get("/{webhook_id}/deliveries", responses=problem_responses(404))
def list_webhook_deliveries(
    webhook_id: Id,
    principal: PrincipalDep,
    session: ReadSession,
    cursors_of: CursorsDep,
    query: Annotated[ListQuery, Query()],
) -> Page[DeliveryRead]:
    """List finished and open deliveries, the latest event first, for as long as events are kept."""
    cursors = cursors_of(f"webhooks/{webhook_id}/deliveries", is_feed=True)
    after = cursors.opened(query.after)
    page = webhooks.list_deliveries(session, principal, webhook_id, query, after=after)
    read = page.map(lambda row: {**row[0].model_dump(), "event_id": row[1].id, "event_type": row[1].type})
    return Page[DeliveryRead].model_validate(cursors.with_cursor(read))


@router.post("/{webhook_id}/test", responses=problem_responses(404, 429, 503))
async def send_test_event(webhook_id: Id, gateway: GatewayDep, principal: PrincipalDep) -> WebhookTestRead:
    """Send a test event now, signed like every event. The answer is a report, with status 200 even if the test
    fails. After a test that was accepted, a webhook that rests goes on at once."""
    outcome = await gateway.server_requests.run(
        principal.name, lambda: deliveries.send_test(gateway, principal, webhook_id)
    )
    return WebhookTestRead(
        ok=outcome.is_delivered, response_status=outcome.status, error_code=outcome.error_code
    )


@router.post("/{webhook_id}/replay", responses=problem_responses(404))
def replay_events(
    webhook_id: Id, body: WebhookReplay, gateway: GatewayDep, principal: PrincipalDep
) -> ReplayCount:
    """Deliver the events since a time again, if they are still kept."""
    return ReplayCount(queued=webhooks.replay(gateway, principal, webhook_id, body.since))


def _read(row: Webhook) -> WebhookRead:
    return WebhookRead.model_validate(
        {**row.model_dump(), "headers": dict.fromkeys(row.header_names, HIDDEN)}
    )


def _with_secret(created: Created) -> WebhookCreated:
    return WebhookCreated(**_read(created.row).model_dump(), secret=created.secret)
