"""Turns a bearer token into a principal. Every fault of a token gets the same 401."""

from app.gateway import Gateway
from app.services.access import api_keys
from app.services.access.rules import Principal, PrincipalKind

ADMINISTRATOR_ROLE = "admin"


def bearer_token(authorization: str) -> str | None:
    """The token in an Authorization header (RFC 6750 §2.1); None if it is empty or has another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def identify(gateway: Gateway, token: str, *, origin: str | None) -> Principal:
    """The caller of a request that came from this network address.

    Raises:
        Unauthenticated: the token is neither a valid JWT nor a valid API key.
    """
    if token.startswith(api_keys.KEY_START):
        return _by_key(gateway, token, origin)
    claims = gateway.identity.verify(token)
    return Principal(
        kind=PrincipalKind.USER,
        id=claims.subject,
        groups=claims.groups,
        is_admin=ADMINISTRATOR_ROLE in claims.roles,
        origin=origin,
    )


def _by_key(gateway: Gateway, key: str, origin: str | None) -> Principal:
    with gateway.db.reading() as session:
        row = api_keys.recognise(session, key)
    if api_keys.is_use_to_be_recorded(row):
        with gateway.db.unit_of_work() as session:
            api_keys.record_use(session, row.id)
    return Principal(
        kind=PrincipalKind.KEY,
        id=row.id,
        scopes=frozenset(row.scopes),
        connector_limit=frozenset(row.connector_ids) or None,
        origin=origin,
    )
