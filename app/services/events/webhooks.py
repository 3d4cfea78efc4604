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
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, false, select, true, update
from sqlmodel import Session, col

from app import clock
from app.adapters import webhook_client
from app.adapters.network import NetworkPolicy
from app.adapters.secretbox import webhook_place
from app.audit_actions import AuditAction
from app.errors import FieldFault, HostUnreachable, InvalidInput, NotFound
from app.events import full_type_of
from app.gateway import Gateway
from app.ids import new_id
from app.models import ApiKey, Connector, Event, Webhook, WebhookDelivery
from app.schemas.events import WebhookCreate, WebhookUpdate
from app.services import pages
from app.services.access import api_keys, audit, rules
from app.services.access.audit import differences
from app.services.access.rules import SCOPES, Action, Principal, PrincipalKind
from app.services.events import outbox
from app.services.pages import Slice
from app.states import DeliveryStatus

SCOPE = "webhooks:write"
REPLAY_BATCH = 500
QUEUE_BATCH = 500


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
    secret = webhook_client.new_secret()
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
            secret_ciphertext=gateway.secrets.encrypt(secret, place=webhook_place(webhook_id)),
            acts_for=principal.name,
            fanned_out_position=outbox.last_position(session),
            created_at=now,
            updated_at=now,
        )
        session.add(row)
        _note(session, principal, AuditAction.WEBHOOK_CREATED, row, before={})
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


def list_webhooks(session: Session, principal: Principal, *, after: str | None, limit: int) -> Slice[Webhook]:
    """Webhooks, oldest first. A key that is limited to certain connectors sees only its own.

    Raises:
        ScopeMissing, Forbidden, InvalidInput
    """
    rules.require_administrator(principal, scope=SCOPE)
    statement = select(Webhook)
    if principal.connector_limit is not None:
        statement = statement.where(col(Webhook.acts_for) == principal.name)
    return pages.entities(session, statement, col(Webhook.id), after=after, limit=limit)


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
            # What has happened until now is still queued for the one before.
            while queue_batch(session, row):
                pass
        before = _audited_settings(row)
        if body.connector_ids is not None:
            _require_visible(session, principal, body.connector_ids)
            row.connector_ids = list(dict.fromkeys(body.connector_ids))
        if types is not None:
            row.types = types
        if body.url is not None:
            row.url = body.url
        if body.active is not None:
            row.active = body.active
        if body.url is not None or body.active:
            row.failures = 0
        row.acts_for = principal.name
        row.updated_at = clock.utc_now()
        _note(session, principal, AuditAction.WEBHOOK_CHANGED, row, before=before)
    return row


def delete(session: Session, principal: Principal, webhook_id: str) -> None:
    """Delete the webhook. A delivery that is already on its way may still arrive.

    Raises:
        ScopeMissing, Forbidden, NotFound
    """
    row = get(session, principal, webhook_id)
    session.delete(row)
    _note(session, principal, AuditAction.WEBHOOK_DELETED, row, before=_audited_settings(row))
    session.flush()


def list_deliveries(
    session: Session, principal: Principal, webhook_id: str, *, after: str | None, limit: int
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
    found = pages.rows(session, statement, position, after=after, limit=limit, latest_first=True)
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
                    *wanted_events(session, row),
                    col(Event.time) >= since,
                    col(Event.position) > position,
                    col(Event.position) <= row.fanned_out_position,
                )
                .order_by(col(Event.position))
                .limit(REPLAY_BATCH)
            )
            positions = list(session.execute(statement).scalars())
            _queue(session, row, positions)
            record.add(session, f"webhooks/{webhook_id}", len(positions))
        queued += len(positions)
        if len(positions) < REPLAY_BATCH:
            return queued
        position = positions[-1]


def queue_batch(session: Session, webhook: Webhook) -> bool:
    """Queue a batch of the events that are new to the webhook. Returns whether there may be more."""
    # Get this first: every event that is committed later has a higher position.
    end = outbox.last_position(session)
    statement = (
        select(col(Event.position))
        .where(
            *wanted_events(session, webhook),
            col(Event.position) > webhook.fanned_out_position,
            col(Event.position) <= end,
        )
        .order_by(col(Event.position))
        .limit(QUEUE_BATCH)
    )
    positions = list(session.execute(statement).scalars())
    _queue(session, webhook, positions)
    has_more = len(positions) == QUEUE_BATCH
    webhook.fanned_out_position = positions[-1] if has_more else end
    return has_more


def _queue(session: Session, webhook: Webhook, positions: Sequence[int]) -> None:
    """Queue these events for delivery, again if they were delivered before."""
    now = clock.utc_now()
    of_these = (
        col(WebhookDelivery.webhook_id) == webhook.id,
        col(WebhookDelivery.event_position).in_(positions),
    )
    known = set(session.execute(select(col(WebhookDelivery.event_position)).where(*of_these)).scalars())
    session.execute(
        update(WebhookDelivery)
        .where(*of_these)
        .values(
            queued_for=webhook.acts_for,
            status=DeliveryStatus.PENDING,
            attempts=0,
            next_attempt_at=now,
            error_code=None,
            response_status=None,
        ),
        execution_options={"synchronize_session": False},
    )
    session.add_all(
        WebhookDelivery(
            id=new_id(),
            webhook_id=webhook.id,
            event_position=position,
            queued_for=webhook.acts_for,
            status=DeliveryStatus.PENDING,
            next_attempt_at=now,
        )
        for position in positions
        if position not in known
    )
    session.flush()


def wanted_events(session: Session, webhook: Webhook) -> list[ColumnElement[bool]]:
    """Conditions on `Event`: the webhook gets it."""
    conditions: list[ColumnElement[bool]] = [visible_to(session, webhook.acts_for)]
    if webhook.types:
        conditions.append(col(Event.type).in_(webhook.types))
    if webhook.connector_ids:
        conditions.append(col(Event.connector_id).in_(webhook.connector_ids))
    return conditions


def visible_to(session: Session, name: str) -> ColumnElement[bool]:
    """A condition on `Event`: the principal of this name may see it now. False for every event if their key has ended."""
    kind, _, principal_id = name.partition(":")
    if kind == PrincipalKind.USER:  # only administrators create webhooks
        return true()
    key = session.get(ApiKey, principal_id)
    if key is None or not api_keys.is_valid(key):
        return false()
    limit = frozenset(key.connector_ids) or None
    return col(Event.connector_id).in_(
        _visible_ids(Principal(PrincipalKind.KEY, key.id, connector_limit=limit))
    )


def _visible_ids(principal: Principal) -> Any:
    """The connectors whose events the webhooks of the principal may get. The scope `webhooks:write` is enough."""
    seeing = Principal(
        principal.kind,
        principal.id,
        is_admin=principal.is_admin,
        scopes=frozenset({SCOPES[Action.SEE_EVENTS]}),
        connector_limit=principal.connector_limit,
    )
    return rules.visible_connector_ids(seeing, Action.SEE_EVENTS)


def _audited_settings(row: Webhook) -> dict[str, Any]:
    # Without path and query, because receivers keep their secrets there.
    address = webhook_client.address_of(row.url)
    return {
        "host": f"{address.host}:{address.port}" if address is not None else None,
        "types": row.types,
        "connector_ids": row.connector_ids,
        "active": row.active,
    }


def _note(
    session: Session, principal: Principal, action: AuditAction, row: Webhook, *, before: dict[str, Any]
) -> None:
    after = _audited_settings(row) if action is not AuditAction.WEBHOOK_DELETED else {}
    audit.note(session, principal, action, f"webhooks/{row.id}", changes=differences(before, after))


def _require_visible(session: Session, principal: Principal, connector_ids: Sequence[str]) -> None:
    statement = _visible_ids(principal).where(col(Connector.id).in_(connector_ids))
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
