"""Grants of API keys."""

from app.schemas.fields import Output, Time


class KeyGrantRead(Output):
    api_key_id: str
    name: str
    prefix: str
    scopes: list[str]
    granted_at: Time


class KeyGrantList(Output):
    data: list[KeyGrantRead]
