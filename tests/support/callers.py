"""The callers in tests: tokens and headers of users, administrators and API keys."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from joserfc import jwt
from joserfc.jwk import OctKey

if TYPE_CHECKING:
    from app.gateway import Gateway

JWT_SECRET = "the tests' own JWT secret of 32 bytes or more"


class UserHeaders(Protocol):
    def __call__(self, sub: str, groups: Sequence[str] = (), admin: bool = False) -> dict[str, str]: ...


class KeyHeaders(Protocol):
    def __call__(self, scopes: Sequence[str], connector_ids: Sequence[str] = ()) -> dict[str, str]: ...


def user_token(sub: str, *, groups: Sequence[str] = (), admin: bool = False, **claims: Any) -> str:
    """A token as the frontend's; `claims` add or override, None leaves one out."""
    values: dict[str, Any] = {
        "sub": sub,
        "groups": list(groups),
        "roles": ["admin"] if admin else [],
        "exp": int(time.time()) + 3600,
        **claims,
    }
    present = {name: value for name, value in values.items() if value is not None}
    return jwt.encode({"alg": "HS256"}, present, OctKey.import_key(JWT_SECRET))


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


class Callers:
    """Headers by kind of caller; keys are stored in the gateway's database."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @staticmethod
    def user(sub: str, groups: Sequence[str] = (), admin: bool = False) -> dict[str, str]:
        return bearer(user_token(sub, groups=groups, admin=admin))

    def key(self, scopes: Sequence[str], connector_ids: Sequence[str] = ()) -> dict[str, str]:
        """The headers of a new API key."""
        return bearer(self.new_key(scopes, connector_ids)[1])

    def new_key(self, scopes: Sequence[str], connector_ids: Sequence[str] = ()) -> tuple[str, str]:
        """A new API key: its id, and the key itself."""
        from app.services.access import api_keys
        from app.services.access.audit import NamedActor

        with self._gateway.db.unit_of_work() as session:
            created = api_keys.issue(
                session,
                name="a key of the tests",
                scopes=scopes,
                connector_ids=connector_ids,
                by=NamedActor("user:administrator"),
            )
            return created.row.id, created.key
