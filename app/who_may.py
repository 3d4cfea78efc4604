"""The rule of `services.access.rules` for each route. The documentation uses it, and so does the test that calls every
route as every kind of caller. A test requires a row for each route."""

import re
from dataclasses import dataclass

from app.services.access.rules import RULES, SCOPES, Action, Role

_NAMES = {
    Role.ADMINISTRATOR: "administrator",
    Role.OWNER: "owner of the personal connector",
    Role.MEMBER: "member of a bound group",
}


@dataclass(frozen=True)
class ForAdministrators:
    """For administrators, and keys with the scope."""

    scope: str


@dataclass(frozen=True)
class Open:
    """For everybody, without a token of ours."""

    words: str = "everybody, without a token"


@dataclass(frozen=True)
class Special:
    """A rule in words, and the scope a key needs."""

    words: str
    scope: str


Rule = Action | ForAdministrators | Open | Special

ROUTES: dict[str, Rule] = {
    "POST /connectors": Special(
        "administrator; every user, for a personal connector of their own", "connectors:write"
    ),
    "GET /connectors": Action.SEE_SHORT,
    "GET /connectors/{}": Action.SEE_SHORT,
    "PATCH /connectors/{}": Action.CHANGE_SETTINGS,
    "DELETE /connectors/{}": Action.DELETE_CONNECTOR,
    "GET /connectors/by-external-id/{}": Action.SEE_SHORT,
    "DELETE /connectors/by-external-id/{}": Action.DELETE_CONNECTOR,
    "PUT /connectors/by-external-id/{}": Special(
        "those who may change the connector; if there is none that the caller may change, those who may create",
        "connectors:write",
    ),
    "POST /connectors/discover": Special("every user with a token", "connectors:write"),
    "POST /connectors/test": Special("every user with a token", "connectors:write"),
    "POST /connectors/{}/test": Action.OPERATE,
    "GET /connectors/{}/folders": Action.LIST_FOLDERS,
    "PUT /connectors/{}/credentials": Action.ENTER_CREDENTIALS,
    "DELETE /connectors/{}/credentials": Action.ENTER_CREDENTIALS,
    "POST /connectors/{}/credential-links": Action.MAKE_CREDENTIAL_LINK,
    "DELETE /connectors/{}/credential-links": Action.MAKE_CREDENTIAL_LINK,
    "GET /connectors/{}/key-grants": Action.SEE_SETTINGS,
    "PUT /connectors/{}/key-grants/{}": Action.GRANT_KEYS,
    "DELETE /connectors/{}/key-grants/{}": Action.GRANT_KEYS,
    "POST /connectors/{}/pause": Action.OPERATE,
    "POST /connectors/{}/resume": Action.OPERATE,
    "POST /connectors/{}/fetch": Action.OPERATE,
    "GET /connectors/{}/cycles": Action.SEE_SETTINGS,
    "POST /group-bindings": Action.BIND_GROUPS,
    "GET /group-bindings": Action.BIND_GROUPS,
    "GET /group-bindings/{}": Action.BIND_GROUPS,
    "PATCH /group-bindings/{}": Action.BIND_GROUPS,
    "DELETE /group-bindings/{}": Action.BIND_GROUPS,
    "GET /messages": Action.READ_CONTENT,
    "GET /messages/counts": Action.READ_CONTENT,
    "GET /messages/{}": Action.READ_CONTENT,
    "GET /messages/{}/source": Action.READ_CONTENT,
    "GET /messages/{}/attachments/{}": Action.READ_CONTENT,
    "PATCH /messages/{}": Action.WRITE_CONTENT,
    "DELETE /messages/{}": Action.WRITE_CONTENT,
    "POST /messages/delete": Action.WRITE_CONTENT,
    "GET /quarantine": Action.READ_CONTENT,
    "POST /quarantine/retry": Action.WRITE_CONTENT,
    "POST /quarantine/{}/retry": Action.WRITE_CONTENT,
    "POST /submissions": Action.SEND,
    "GET /submissions": Action.SEND,
    "GET /submissions/{}": Action.SEND,
    "DELETE /submissions/{}": Action.SEND,
    "GET /submissions/{}/source": Action.READ_CONTENT,
    "GET /submissions/{}/attachments/{}": Action.READ_CONTENT,
    "POST /submissions/{}/retry": Action.SEND,
    "GET /events": Action.SEE_EVENTS,
    "GET /events/stream": Action.SEE_EVENTS,
    "POST /events/stream-tickets": Action.SEE_EVENTS,
    "POST /webhooks": ForAdministrators("webhooks:write"),
    "GET /webhooks": ForAdministrators("webhooks:write"),
    "GET /webhooks/{}": ForAdministrators("webhooks:write"),
    "PATCH /webhooks/{}": ForAdministrators("webhooks:write"),
    "DELETE /webhooks/{}": ForAdministrators("webhooks:write"),
    "GET /webhooks/{}/deliveries": ForAdministrators("webhooks:write"),
    "POST /webhooks/{}/rotate-secret": ForAdministrators("webhooks:write"),
    "POST /webhooks/{}/test": ForAdministrators("webhooks:write"),
    "POST /webhooks/{}/replay": ForAdministrators("webhooks:write"),
    "POST /api-keys": ForAdministrators("admin"),
    "GET /api-keys": ForAdministrators("admin"),
    "DELETE /api-keys/{}": ForAdministrators("admin"),
    "GET /audit": ForAdministrators("admin"),
    "GET /health/live": Open(),
    "GET /health/ready": Open(),
    "GET /metrics": Open(
        "anybody with the token of `GATEWAY_METRICS_TOKEN`; without that setting, connections from this machine"
    ),
}


def route_name(method: str, path: str) -> str:
    """The name of a route in `ROUTES`: method and path, without the names of parameters."""
    return f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}"


def who_may(rule: Rule) -> str:
    """A rule in words."""
    match rule:
        case Open(words):
            return words
        case ForAdministrators(scope):
            return f"administrator; API key with `{scope}`"
        case Special(words, scope):
            return f"{words}; API key with `{scope}`"
        case Action():
            return _action_in_words(rule)


def _action_in_words(action: Action) -> str:
    names = [_NAMES[role] for role in _NAMES if role in RULES[action]]
    if Role.KEY in RULES[action]:
        names.append(f"API key with `{SCOPES[action]}`")
    return "; ".join(names)
