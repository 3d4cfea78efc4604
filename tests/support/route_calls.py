"""How each route is called by the test that walks them all. A new route needs a row here and one in
`app/who_may.py`; one whose rule is in words (`Special`) also needs what these words mean in `SPECIAL`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.services.access.rules import Action

PASSWORD = {"type": "password", "password": "not what the server takes"}
NOBODY_LISTENS = 9
"""A port without a server. A call that tries to connect to it was allowed: its error shows this."""
SERVER = {"host": "127.0.0.1", "port": NOBODY_LISTENS, "security": "none"}


@dataclass(frozen=True)
class Call:
    """One request. `{connector}` and the like stand for the ids of the objects it is about."""

    path: str
    body: Mapping[str, Any] | None = None
    done: tuple[int, ...] = (200, 201, 204)
    """The statuses of a call that was allowed."""
    uses_up: bool = False
    """Whether the next call needs new objects."""
    limited_key: str = "yes"
    """The answer for a key that is limited to other connectors, if the rule is `ForAdministrators`."""


CALLS: dict[str, Call] = {
    "POST /connectors": Call(
        "/connectors",
        {
            "name": "New",
            "kind": "{kind}",
            "owner": "{owner}",
            "email_address": "new@firma.cz",
            "imap": {**SERVER, "username": "{new}"},
        },
    ),
    "GET /connectors": Call("/connectors"),
    "GET /connectors/{}": Call("/connectors/{connector}"),
    "PATCH /connectors/{}": Call("/connectors/{connector}", {"name": "Renamed"}),
    "DELETE /connectors/{}": Call("/connectors/{connector}?messages=delete&submissions=cancel", uses_up=True),
    "GET /connectors/by-external-id/{}": Call("/connectors/by-external-id/{external_id}"),
    "DELETE /connectors/by-external-id/{}": Call(
        "/connectors/by-external-id/{external_id}?messages=delete&submissions=cancel", uses_up=True
    ),
    "PUT /connectors/by-external-id/{}": Call(
        "/connectors/by-external-id/{external_id}",
        {
            "name": "Put",
            "kind": "{kind}",
            "owner": "{owner}",
            "email_address": "info@firma.cz",  # as it is: of a sealed connector it is the owner's to change
            "imap": {**SERVER, "username": "{username}"},
        },
    ),
    "POST /connectors/discover": Call("/connectors/discover", {"email_address": "info@seznam.cz"}),
    "POST /connectors/test": Call(
        "/connectors/test", {"imap": {**SERVER, "username": "info"}, "credentials": PASSWORD}
    ),
    "POST /connectors/{}/test": Call("/connectors/{connector}/test"),
    "GET /connectors/{}/folders": Call("/connectors/{connector}/folders", done=(503,)),
    # By this the owner seals the connector.
    "PUT /connectors/{}/credentials": Call("/connectors/{connector}/credentials", PASSWORD, uses_up=True),
    "DELETE /connectors/{}/credentials": Call("/connectors/{connector}/credentials", uses_up=True),
    "POST /connectors/{}/credential-links": Call("/connectors/{connector}/credential-links"),
    "DELETE /connectors/{}/credential-links": Call("/connectors/{connector}/credential-links"),
    "GET /connectors/{}/key-grants": Call("/connectors/{connector}/key-grants"),
    "PUT /connectors/{}/key-grants/{}": Call("/connectors/{connector}/key-grants/{api_key}"),
    "DELETE /connectors/{}/key-grants/{}": Call(
        "/connectors/{connector}/key-grants/{granted_key}", uses_up=True
    ),
    "POST /connectors/{}/pause": Call("/connectors/{connector}/pause"),
    "POST /connectors/{}/resume": Call("/connectors/{connector}/resume"),
    "POST /connectors/{}/fetch": Call("/connectors/{connector}/fetch"),
    "GET /connectors/{}/cycles": Call("/connectors/{connector}/cycles"),
    # 409: a caller who may bind groups learns that a personal connector takes none.
    "POST /group-bindings": Call(
        "/group-bindings", {"connector_id": "{connector}", "group": "{new}"}, done=(201, 409)
    ),
    "GET /group-bindings": Call("/group-bindings?connector_id={connector}"),
    "GET /group-bindings/{}": Call("/group-bindings/{binding}"),
    "PATCH /group-bindings/{}": Call("/group-bindings/{binding}", {"group": "nobodies"}, uses_up=True),
    "DELETE /group-bindings/{}": Call("/group-bindings/{binding}", uses_up=True),
    "GET /messages": Call("/messages?connector_id={connector}"),
    "GET /messages/counts": Call("/messages/counts"),
    "GET /messages/{}": Call("/messages/{message}"),
    "GET /messages/{}/source": Call("/messages/{message}/source"),
    "GET /messages/{}/attachments/{}": Call("/messages/{message}/attachments/1"),
    "PATCH /messages/{}": Call("/messages/{message}", {"state": "processed"}),
    "DELETE /messages/{}": Call("/messages/{message}", uses_up=True),
    "POST /messages/delete": Call("/messages/delete", {"connector_id": "{connector}"}, uses_up=True),
    "GET /quarantine": Call("/quarantine?connector_id={connector}"),
    "POST /quarantine/retry": Call("/quarantine/retry", {"connector_id": "{connector}"}),
    "POST /quarantine/{}/retry": Call("/quarantine/{quarantined}/retry"),
    "POST /submissions": Call(
        "/submissions", {"connector_id": "{connector}", "to": ["eva@firma.cz"], "text": "Hello"}
    ),
    "GET /submissions": Call("/submissions?connector_id={connector}"),
    "GET /submissions/{}": Call("/submissions/{submission}"),
    "GET /submissions/{}/source": Call("/submissions/{submission}/source"),
    "GET /submissions/{}/attachments/{}": Call("/submissions/{submission}/attachments/1"),
    # 409: it is queued.
    "POST /submissions/{}/retry": Call("/submissions/{submission}/retry", done=(409,)),
    "DELETE /submissions/{}": Call("/submissions/{submission}", uses_up=True),
    "GET /events": Call("/events"),
    "GET /events/stream": Call("/events/stream"),
    "POST /events/stream-tickets": Call("/events/stream-tickets"),
    "POST /webhooks": Call("/webhooks", {"url": "https://crm.firma.invalid/hook"}),
    "GET /webhooks": Call("/webhooks"),
    "GET /webhooks/{}": Call("/webhooks/{webhook}", limited_key="404"),
    "PATCH /webhooks/{}": Call("/webhooks/{webhook}", {"active": False}, limited_key="404"),
    "DELETE /webhooks/{}": Call("/webhooks/{webhook}", uses_up=True, limited_key="404"),
    "GET /webhooks/{}/deliveries": Call("/webhooks/{webhook}/deliveries", limited_key="404"),
    "POST /webhooks/{}/rotate-secret": Call("/webhooks/{webhook}/rotate-secret", limited_key="404"),
    "POST /webhooks/{}/test": Call("/webhooks/{webhook}/test", limited_key="404"),
    "POST /webhooks/{}/replay": Call(
        "/webhooks/{webhook}/replay", {"since": "2026-01-01T00:00:00Z"}, limited_key="404"
    ),
    # A key cannot create a key for connectors that it may not use itself.
    "POST /api-keys": Call("/api-keys", {"name": "New", "scopes": ["events:read"]}, limited_key="403"),
    "GET /api-keys": Call("/api-keys"),
    "DELETE /api-keys/{}": Call("/api-keys/{api_key}", uses_up=True, limited_key="404"),
    "GET /audit": Call("/audit"),
    "GET /health/live": Call("/health/live"),
    "GET /health/ready": Call("/health/ready"),
    "GET /metrics": Call("/metrics"),
}

CALLER_COLUMNS: dict[str, tuple[str, ...]] = {
    "administrator": ("administrator",),
    "administrator who is a member": ("administrator", "member of a bound group"),
    "owner": ("owner",),
    "member": ("member of a bound group",),
    "others": ("others",),
    "API key": ("API key",),
    "granted API key": ("API key the owner granted", "API key"),
    "API key for others": ("API key for others",),
}
"""A caller, with the columns of docs/access.md that apply to it."""

SPECIAL: dict[str, dict[str, str | Action]] = {
    # For the callers above, in their order.
    "POST /connectors": {
        "shared": "yes yes 403 403 403 yes yes 403",
        "personal": "yes yes yes 403 403 yes yes 403",
    },
    "PUT /connectors/by-external-id/{}": {
        # For those who may not change it, it is as if there were none: 403 for the body, which they may not create.
        "shared": "yes yes 403 403 403 yes yes 403",
        "personal": "yes yes yes 403 403 yes yes 403",
        "sealed": "yes yes yes 403 403 yes yes 403",
        "absent": "yes yes yes 403 403 yes yes 403",
    },
    "POST /connectors/test": {"shared": "yes yes yes yes yes yes yes yes"},
    "POST /connectors/discover": {"shared": "yes yes yes yes yes yes yes yes"},
}
"""What the rules in words mean, for each kind of object."""


def filled(body: Mapping[str, Any], objects: Mapping[str, Any]) -> dict[str, Any]:
    """A body with the ids of these objects."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if isinstance(value, Mapping):
            found[name] = filled(value, objects)
        elif isinstance(value, str) and value.startswith("{"):
            found[name] = objects[value.strip("{}")]
        else:
            found[name] = value
    return found
