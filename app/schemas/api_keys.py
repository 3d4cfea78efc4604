"""API keys."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from app.schemas.fields import Id, Input, Line, Output, Time

Scope = Literal[
    "connectors:read",
    "connectors:write",
    "messages:read",
    "messages:write",
    "submissions:write",
    "events:read",
    "webhooks:write",
    "admin",
]


class ApiKeyCreate(Input):
    name: Line
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]
    connector_ids: Annotated[list[Id], Field(max_length=1000)] = Field(default_factory=list)
    """The connectors that the key may use; empty means all."""
    expires_at: AwareDatetime | None = None


class ApiKeyRead(Output):
    id: str
    name: str
    prefix: str
    scopes: list[Scope]
    connector_ids: list[str]
    created_by: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None


class ApiKeyCreated(ApiKeyRead):
    key: str
    """Only this answer shows it."""
