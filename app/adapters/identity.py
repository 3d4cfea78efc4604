"""Finds out for whom a JWT speaks (RFC 7519, RFC 8725). It is verified with the shared HS256 secret, or with the public
keys that the identity provider publishes (JWKS, RFC 7517).

We choose the algorithm, never the token. With the secret it is only HS256. With published keys it is one of the asymmetric
algorithms, and published keys of another kind are ignored. So neither `none` nor a public key that is used as an HMAC
secret is accepted.
"""

import ipaddress
import ssl
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeGuard

import httpx
import structlog
from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError

from app import clock
from app.adapters import checked_http
from app.adapters.checked_http import CheckedNetwork, CheckedTransport, Deadline
from app.adapters.network import IPNetwork, NetworkPolicy
from app.config import Settings
from app.errors import Overloaded, SettingsIncomplete, Unauthenticated

log = structlog.get_logger(__name__)

LEEWAY_S = 30
LEEWAY = timedelta(seconds=LEEWAY_S)
"""The largest difference between the issuer's clock and ours."""
MAX_TOKEN_CHARS = 16_384
MAX_NAME_CHARS = 255
TIMES = ("exp", "nbf", "iat")
MAX_TIME_S = 1e12
"""Far beyond any date. A larger number is not accepted as a time."""
FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)
JWKS_TIMEOUT_S = 5.0
"""The limit for one connection and for one read. The limit for the whole request is twice this."""
JWKS_WAITING = 8
"""So many requests wait for the provider at once: anybody can name an unknown key, and each holds a thread."""
JWKS_MAX_OCTETS = 1_000_000
JWKS_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
JWKS_RETRY_AFTER = timedelta(minutes=1)
"""There is at most one request in this time, whatever tokens come in."""
JWKS_MAX_AGE = timedelta(hours=1)
"""After this time the keys are fetched again, so a key that the provider has withdrawn is forgotten."""
JWKS_TRUSTED_FOR = timedelta(days=1)
"""How long the old keys serve while the provider cannot be reached."""
LOOPBACK = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
ANYWHERE = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))

ASYMMETRIC_ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
# RecursionError: very many nested brackets.
FETCH_FAILURES = (*checked_http.FAILURES, ValueError, TypeError, KeyError, RecursionError)
ASYMMETRIC_KEY_TYPES = frozenset({"RSA", "EC", "OKP"})


@dataclass(frozen=True)
class Claims:
    """The statements of a verified token about its bearer."""

    subject: str
    groups: frozenset[str]
    roles: frozenset[str]
    expires_at: datetime = field(default=FAR_FUTURE, compare=False)
    """The token is accepted `LEEWAY` longer, because clocks differ."""


class TokenVerifier(Protocol):
    """Turns a token into claims, or refuses the token."""

    def verify(self, token: str) -> Claims:
        """Raise Unauthenticated, with the same sentence for every fault; Overloaded if too many wait for the issuer's keys."""


class Keys(Protocol):
    """The source of the keys that tokens name."""

    @property
    def algorithms(self) -> Sequence[str]: ...

    def find(self, key_id: str | None) -> jwk.Key | None: ...


class JwtVerifier:
    """Checks signature, times, issuer and audience."""

    def __init__(
        self,
        keys: Keys,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        groups_claim: str = "groups",
        roles_claim: str = "roles",
    ) -> None:
        self._keys = keys
        # No other claim is checked: the registry would refuse a `jti` that is a number, which does no harm.
        self._checked: dict[str, jwt.ClaimsOption] = {"exp": {"essential": True}, "nbf": {}, "iat": {}}
        if issuer is not None:
            self._checked["iss"] = {"essential": True, "value": issuer}
        if audience is not None:
            self._checked["aud"] = {"essential": True, "value": audience}
        self._groups_claim = groups_claim
        self._roles_claim = roles_claim

    def verify(self, token: str) -> Claims:
        try:
            return self._claims(self._verified(token))
        except _TokenRefused as refused:
            # The reason helps the person who sets the gateway up; the caller learns only that the token is not valid.
            log.info("token_refused", reason=str(refused))
            raise Unauthenticated from refused

    def _verified(self, token: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise _TokenRefused("too long")
        try:
            header = jws.extract_compact(token.encode()).headers()
            key_id = header.get("kid")
            key = self._keys.find(key_id if isinstance(key_id, str) else None)
            if key is None:
                raise _TokenRefused("unknown key id")
            return jwt.decode(token, key, algorithms=list(self._keys.algorithms)).claims
        # RecursionError: a header that consists of brackets only.
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as exc:
            raise _TokenRefused(f"signature or form: {type(exc).__name__}") from exc

    def _claims(self, claims: Mapping[str, Any]) -> Claims:
        given = {name: claims[name] for name in self._checked if claims.get(name) is not None}
        for name in TIMES:
            _require_time(given, name)
        registry = jwt.JWTClaimsRegistry(
            now=int(clock.utc_now().timestamp()), leeway=LEEWAY_S, **self._checked
        )
        try:
            registry.validate(given)
        except JoseError as exc:
            raise _TokenRefused(str(exc)) from exc
        subject = claims.get("sub")
        if not _is_name(subject):
            raise _TokenRefused("sub is missing or no user id")
        return Claims(
            subject=subject,
            groups=_names(claims, self._groups_claim),
            roles=_names(claims, self._roles_claim),
            expires_at=datetime.fromtimestamp(min(claims["exp"], FAR_FUTURE.timestamp()), UTC),
        )


class SharedSecret:
    """The only key of an issuer that shares a secret with the gateway."""

    algorithms = ("HS256",)

    def __init__(self, secret: str) -> None:
        self._key = jwk.OctKey.import_key(secret)

    def find(self, key_id: str | None) -> jwk.Key | None:
        return self._key


class PublishedKeys:
    """The identity provider's public keys. They are fetched when they are first needed, when an unknown key id appears, and
    when they are an hour old.

    With http:// an attacker on the network could replace the keys, so http:// is allowed only to loopback addresses and
    `private_networks`. An https:// address may be anywhere, because the operator sets it.
    """

    algorithms = ASYMMETRIC_ALGORITHMS

    def __init__(self, url: str, *, private_networks: Sequence[IPNetwork] = ()) -> None:
        self._url = httpx.URL(url)
        is_plain = self._url.scheme == "http"
        self._deadline = Deadline()
        self._network = CheckedNetwork(
            NetworkPolicy([*LOOPBACK, *private_networks] if is_plain else ANYWHERE),
            self._deadline,
            private_only=is_plain,
        )
        self._lock = threading.Lock()
        self._places = threading.Semaphore(JWKS_WAITING)
        self._keys: Sequence[jwk.Key] = ()
        self._fetched_at = self._tried_at = datetime.min.replace(tzinfo=UTC)

    def find(self, key_id: str | None) -> jwk.Key | None:
        """The key of this id.

        Raises:
            Overloaded: as many callers wait for the provider as may.
        """
        key = self._known(key_id)
        if key is None:
            if not self._places.acquire(blocking=False):
                raise Overloaded
            try:
                with self._lock:  # those who come during the request wait for the keys and are not refused
                    self._refresh()
            finally:
                self._places.release()
        # One caller fetches again what is old; the others go on with the keys that they know.
        elif clock.utc_now() - self._fetched_at > JWKS_MAX_AGE and self._lock.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._lock.release()
        return self._known(key_id)

    def _known(self, key_id: str | None) -> jwk.Key | None:
        keys = self._keys if clock.utc_now() - self._fetched_at < JWKS_TRUSTED_FOR else ()
        if key_id is None:
            # RFC 7515 §4.1.4: `kid` is optional. Without it, the key is known only if there is just one.
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.kid == key_id), None)

    def _refresh(self) -> None:
        """Call it with the lock."""
        now = clock.utc_now()
        if now - self._tried_at < JWKS_RETRY_AFTER:
            return
        self._tried_at = now
        try:
            self._keys = _usable_keys(self._fetch())
            self._fetched_at = now
        except FETCH_FAILURES as exc:
            # Keep the old keys: a provider that is down for an hour must not lock everybody out.
            log.error("jwks_unavailable", error=type(exc).__name__, known_keys=len(self._keys))

    def _fetch(self) -> Any:
        self._deadline.set(JWKS_TIMEOUT_S * 2)
        with (
            httpx.Client(
                transport=CheckedTransport(self._network, ssl.create_default_context()),
                timeout=JWKS_TIMEOUT_S,
            ) as client,
            client.stream("GET", self._url, headers=JWKS_HEADERS) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise ValueError("not 200")
            body = b""
            for part in response.iter_raw():
                body += part
                if len(body) > JWKS_MAX_OCTETS:
                    raise ValueError("too large")
        return httpx.Response(200, content=body).json()


def verifier_from(settings: Settings) -> TokenVerifier:
    """The verifier for these settings. Without a secret or keys, it refuses every token."""
    keys: Keys
    if settings.jwt_secret is not None:
        keys = SharedSecret(settings.jwt_secret.get_secret_value())
    elif settings.jwt_jwks_url is not None:
        keys = PublishedKeys(settings.jwt_jwks_url, private_networks=settings.allowed_private_networks)
    else:
        return _RefuseAll()
    return JwtVerifier(
        keys,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        groups_claim=settings.jwt_groups_claim,
        roles_claim=settings.jwt_roles_claim,
    )


def development_token(settings: Settings, *, claims: Mapping[str, Any], ttl_s: int) -> str:
    """A token signed with the shared secret.

    Raises:
        SettingsIncomplete: there is no shared secret.
    """
    if settings.jwt_secret is None:
        raise SettingsIncomplete("not set: GATEWAY_JWT_SECRET (a JWKS address cannot make tokens)")
    issued_at = int(clock.utc_now().timestamp())
    full: dict[str, Any] = {**claims, "iat": issued_at, "exp": issued_at + ttl_s}
    if settings.jwt_issuer is not None:
        full["iss"] = settings.jwt_issuer
    if settings.jwt_audience is not None:
        full["aud"] = settings.jwt_audience
    key = jwk.OctKey.import_key(settings.jwt_secret.get_secret_value())
    return jwt.encode({"alg": "HS256"}, full, key, algorithms=["HS256"])


class _TokenRefused(Exception):
    """The reason why a token was refused, for the log."""


class _RefuseAll:
    def verify(self, token: str) -> Claims:
        raise Unauthenticated


def _usable_keys(document: Any) -> list[jwk.Key]:
    """The public signature keys of a JWK set. Other keys, and keys that we cannot read, are skipped (RFC 7517 §5)."""
    usable = []
    for entry in document["keys"]:
        if entry.get("kty") not in ASYMMETRIC_KEY_TYPES or entry.get("use", "sig") != "sig":
            continue
        try:
            usable.append(jwk.JWKRegistry.import_key(entry))
        except (JoseError, ValueError, TypeError, KeyError) as exc:
            log.warning("jwk_unreadable", error=type(exc).__name__)
    return usable


def _require_time(claims: Mapping[str, Any], name: str) -> None:
    """Refuse a value that is not a NumericDate (RFC 7519 §2). Python's JSON also reads NaN and infinity. These, and numbers
    beyond any date, would never expire."""
    value = claims.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_TIME_S:
        raise _TokenRefused(f"{name} is not a time")


def _names(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """A list of strings, or a single one."""
    value = claims.get(name)
    if value is None:
        return frozenset()
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(_is_name(entry) for entry in entries):
        raise _TokenRefused(f"{name} is not a list of strings")
    return frozenset(entries)


def _is_name(value: object) -> TypeGuard[str]:
    """Whether a database can hold the text and a log can show it: PostgreSQL refuses NUL, and neither accepts surrogates."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS:
        return False
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in value)
