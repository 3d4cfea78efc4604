"""Webhooks: the addresses to which events are delivered over HTTP, and the choice of events. `deliveries` delivers them.

A webhook gets the events that the caller who last changed it may see. For an administrator these are all events. For a key
they are the events of the connectors whose events the key may see. An inactive webhook misses nothing: when it is active
again, it gets the events of the meantime that are still kept.

If another principal changes the webhook, an event that happened before is delivered only if both may see it: the principal
for whom it was queued, and the principal for whom the webhook acts at its delivery.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, col

from app import clock, wakeups
from app.adapters import webhook_client
from app.adapters.network import NetworkPolicy, is_address
from app.audit_actions import AuditAction
from app.errors import FieldFault, HostUnreachable, InvalidInput, NotFound
from app.events import full_type_of
from app.gateway import Gateway
from app.ids import new_id
from app.models import Connector, Event, Webhook, WebhookDelivery
from app.schemas.events import WebhookCreate, WebhookUpdate
from app.schemas.fields import ListQuery
from app.services import pages
from app.services.access import audit, rules
from app.services.access.audit import differences
from app.services.access.rules import Principal
from app.services.events import outbox, queueing, webhook_secrets
from app.services.pages import Slice
from app.wakeups import Topic

SCOPE = "webhooks:write"
REPLAY_BATCH = 500


@dataclass(frozen=True)
class Created:
    """A new webhook, with the secret that its receiver needs for verification. The secret is shown only now."""

    row: Webhook
    secret: str


def create(gateway: Gateway, principal: Principal, body: WebhookCreate) -> Created:
    """Create a webhook that gets the events from now on.

    Raises:
        ScopeMissing, Forbidden, InvalidInput
    """
    rules.require_administrator(principal, scope=SCOPE)
    _require_allowed(gateway.webhook_network, body.url)
    types = _full_types(body.types)
    secret = webhook_secrets.new()
    now = clock.utc_now()
    with gateway.db.unit_of_work() as session:
        _require_visible(session, principal, body.connector_ids)
        webhook_id = new_id()
        row = Webhook(
            id=webhook_id,
            url=body.url,
            types=types,
            connector_ids=list(dict.fromkeys(body.connector_ids)),
            active=body.active,
            body=body.body,
            secret_ciphertext=webhook_secrets.encrypted(gateway, webhook_id, secret),
            acts_for=principal.name,
            fanned_out_position=outbox.last_position(session),
            created_at=now,
            updated_at=now,
        )
        webhook_secrets.set_headers(gateway, row, body.headers)
        session.add(row)
        _record(session, principal, AuditAction.WEBHOOK_CREATED, row, before={})
    return Created(row, secret)


def get(session: Session, principal: Principal, webhook_id: str, *, for_update: bool = False) -> Webhook:
    """One webhook.

    Raises:
        ScopeMissing, Forbidden, NotFound
    """
    rules.require_administrator(principal, scope=SCOPE)
    row = session.get(Webhook, webhook_id, with_for_update=for_update or None)
    if row is None or not (principal.connector_limit is None or row.acts_for == principal.name):
        raise NotFound
    return row


def list_webhooks(
    session: Session, principal: Principal, query: ListQuery, *, after: str | None
) -> Slice[Webhook]:
    """Webhooks, oldest first. A key that is limited to certain connectors sees only its own.

    Raises:
        ScopeMissing, Forbidden, InvalidInput
    """
    rules.require_administrator(principal, scope=SCOPE)
    statement = select(Webhook)
    if principal.connector_limit is not None:
        statement = statement.where(col(Webhook.acts_for) == principal.name)
    return pages.entities(session, statement, col(Webhook.id), after=after, limit=query.limit)


def change(gateway: Gateway, principal: Principal, webhook_id: str, body: WebhookUpdate) -> Webhook:
    """Change the fields that the request has. From now on the webhook gets the events that this caller may see.

    Raises:
        ScopeMissing, Forbidden, NotFound, InvalidInput
    """
    rules.require_administrator(principal, scope=SCOPE)
    if body.url is not None:
        _require_allowed(gateway.webhook_network, body.url)
    types = _full_types(body.types) if body.types is not None else None
    with gateway.db.unit_of_work() as session:
        row = get(session, principal, webhook_id, for_update=True)
        if row.acts_for != principal.name:
            # Events from before this change are still queued for the previous principal.
            while queueing.queue_batch(session, row):
                pass
        before = _audited_settings(row)
        if body.connector_ids is not None:
            _require_visible(session, principal, body.connector_ids)
            row.connector_ids = list(dict.fromkeys(body.connector_ids))
        if types is not None:
            row.types = types
        webhook_secrets.change_headers(gateway, row, body.url or row.url, body.headers)
        row.url = body.url or row.url
        row.body = body.body or row.body
        if body.active is not None:
            row.active = body.active
            row.disabled_reason = row.disabled_at = None
        if row.active:
            row.failing_since = None
            queueing.go_on(session, row)
        row.acts_for = principal.name
        row.updated_at = clock.utc_now()
        _record(session, principal, AuditAction.WEBHOOK_CHANGED, row, before=before)
    return row


def rotate_secret(
    gateway: Gateway, principal: Principal, webhook_id: str, *, previous_valid: timedelta
) -> Created:
    """Give the webhook a new secret. The previous one also signs for this time.

    Raises:
        ScopeMissing, Forbidden, NotFound, SecretUnreadable
    """
    with gateway.db.unit_of_work() as session:
        row = get(session, principal, webhook_id, for_update=True)
        secret = webhook_secrets.rotate(gateway, row, previous_valid)
        row.updated_at = clock.utc_now()
        audit.record(session, principal, AuditAction.WEBHOOK_SECRET_ROTATED, f"webhooks/{row.id}")
    return Created(row, secret)


def delete(session: Session, principal: Principal, webhook_id: str) -> None:
    """Delete the webhook. A delivery that is already on its way may still arrive.

    Raises:
        ScopeMissing, Forbidden, NotFound
    """
    row = get(session, principal, webhook_id)
    session.delete(row)
    _record(session, principal, AuditAction.WEBHOOK_DELETED, row, before=_audited_settings(row))
    session.flush()


def list_deliveries(
    session: Session, principal: Principal, webhook_id: str, query: ListQuery, *, after: str | None
) -> Slice[tuple[WebhookDelivery, Event]]:
    """The deliveries of a webhook with their events, the latest event first.

    Raises:
        ScopeMissing, Forbidden, NotFound, InvalidInput
    """
    get(session, principal, webhook_id)
    statement = (
        select(WebhookDelivery, Event)
        .join(Event, col(Event.position) == col(WebhookDelivery.event_position))
        .where(col(WebhookDelivery.webhook_id) == webhook_id)
    )
    position = col(WebhookDelivery.event_position)
    found = pages.rows(session, statement, position, after=after, limit=query.limit, latest_first=True)
    return found.map(lambda row: (row[0], row[1]))


def replay(gateway: Gateway, principal: Principal, webhook_id: str, since: datetime) -> int:
    """Deliver the events since that time again, including delivered ones. Returns their number.

    Raises:
        ScopeMissing, Forbidden, NotFound
    """
    rules.require_administrator(principal, scope=SCOPE)
    position, queued = 0, 0
    record = audit.Counted(principal, AuditAction.WEBHOOK_REPLAYED)
    while True:
        with gateway.db.unit_of_work() as session:
            row = get(session, principal, webhook_id, for_update=True)
            statement = (
                select(col(Event.position))
                .where(
                    *queueing.wanted_events(session, row),
                    col(Event.time) >= since,
                    col(Event.position) > position,
                    col(Event.position) <= row.fanned_out_position,
                )
                .order_by(col(Event.position))
                .limit(REPLAY_BATCH)
            )
            positions = list(session.execute(statement).scalars())
            queueing.queue(session, row, positions)
            record.add(session, f"webhooks/{webhook_id}", len(positions))
            wakeups.require(session, Topic.EVENTS)
        queued += len(positions)
        if len(positions) < REPLAY_BATCH:
            return queued
        position = positions[-1]


def _audited_settings(row: Webhook) -> dict[str, Any]:
    # Without path and query, because receivers keep their secrets there.
    address = webhook_client.address_of(row.url)
    return {
        "host": f"{address.host}:{address.port}" if address is not None else None,
        "types": row.types,
        "connector_ids": row.connector_ids,
        "active": row.active,
        "body": row.body,
        "headers": row.header_names,
    }


def _record(
    session: Session, principal: Principal, action: AuditAction, row: Webhook, *, before: dict[str, Any]
) -> None:
    after = _audited_settings(row) if action is not AuditAction.WEBHOOK_DELETED else {}
    audit.record(session, principal, action, f"webhooks/{row.id}", changes=differences(before, after))


def _require_visible(session: Session, principal: Principal, connector_ids: Sequence[str]) -> None:
    statement = queueing.visible_connector_ids(principal).where(col(Connector.id).in_(connector_ids))
    visible = set(session.execute(statement).scalars())
    faults = [
        FieldFault(f"/connector_ids/{index}", "there is no such connector")
        for index, connector_id in enumerate(connector_ids)
        if connector_id not in visible
    ]
    if faults:
        raise InvalidInput(*faults)


def _full_types(names: Sequence[str]) -> list[str]:
    full = [full_type_of(name) for name in names]
    faults = [
        FieldFault(f"/types/{index}", "there is no such type of event")
        for index, name in enumerate(full)
        if name is None
    ]
    if faults:
        raise InvalidInput(*faults)
    return list(dict.fromkeys(name for name in full if name is not None))


def _require_allowed(network: NetworkPolicy, url: str) -> None:
    """Refuse an address that can never work. Each connection checks again what the name resolves to."""
    fault = _url_fault(network, url)
    if fault is not None:
        raise InvalidInput(FieldFault("/url", fault))


def may_resolve(url: str | None) -> bool:
    """Whether the check of this address asks for that of a name, which takes as long as strangers want."""
    address = webhook_client.address_of(url) if url is not None else None
    return address is not None and address.is_plain and not is_address(address.host)


def _url_fault(network: NetworkPolicy, url: str) -> str | None:
    address = webhook_client.address_of(url)
    if address is None:
        return "is not a web address"
    if not address.is_bare:
        return "must not hold a user name, a password or a fragment"
    if address.is_plain:
        try:
            is_private = network.is_private(address.host, address.port)
        except HostUnreachable:
            is_private = False
        return None if is_private else "http:// is allowed only to the allowed private networks"
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        return None
    return None if network.permits(ip, address.port) else "is not an address that this gateway connects to"
