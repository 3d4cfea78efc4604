"""No token or a bad one: 401, always with the same words."""

import base64
import hashlib
import hmac
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import time_machine
from fastapi.testclient import TestClient
from joserfc import jwk, jwt

from app import clock
from app.adapters import identity
from app.adapters.identity import (
    JWKS_MAX_AGE,
    JWKS_TRUSTED_FOR,
    Claims,
    JwtVerifier,
    PublishedKeys,
    verifier_from,
)
from app.config import Settings
from app.errors import Unauthenticated
from tests.support.callers import JWT_SECRET, bearer, user_token
from tests.support.each_case import each_case
from tools.servers.http_receiver import Answer, HttpReceiver
from tools.servers.process import wait_until

ISSUER = "https://idp.example"
AUDIENCE = "imap-gateway"


def signed(claims: dict[str, Any], *, secret: str = JWT_SECRET, **header: Any) -> str:
    algorithm = header.setdefault("alg", "HS256")
    return jwt.encode(header, claims, jwk.OctKey.import_key(secret), algorithms=[algorithm])


def by_hand(header: object, claims: object, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def signed_by_hand(header: object, claims: object) -> str:
    """With a right signature, for what the library would not sign."""
    unsigned = by_hand(header, claims).rsplit(".", 1)[0]
    mac = hmac.new(JWT_SECRET.encode(), unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def good(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "sub": "jana",
        "groups": ["sales"],
        "roles": [],
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


@contextmanager
def drip(document: bytes, *, each_s: float) -> Iterator[str]:
    """The address of a server that sends the document octet by octet."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(document))
            for octet in document:
                time.sleep(each_s)
                connection.sendall(bytes([octet]))

    server = threading.Thread(target=answer)
    server.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
    finally:
        server.join()
        listener.close()


def hs256_settings(**changes: Any) -> Settings:
    values = {"jwt_secret": JWT_SECRET, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, **changes}
    return Settings(**values)


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "no JWT at all": lambda: "open sesame",
    "two parts": lambda: "a.b",
    "four parts": lambda: signed(good()) + ".x",
    "two tokens in one": lambda: f"{signed(good())}.{signed(good())}",
    "claims twice": lambda: ".".join([*signed(good()).split(".")[:2], *signed(good()).split(".")[1:]]),
    "a JWS in JSON": lambda: json.dumps(
        dict(zip(("protected", "payload", "signature"), signed(good()).split("."), strict=True))
    ),
    "not base64": lambda: "ä.ö.ü",
    "brackets for a header": lambda: (
        base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("=") + "." + signed(good()).split(".", 1)[1]
    ),
    "longer than any token": lambda: signed(good(groups=["g" * 200] * 100)),
    "alg none": lambda: by_hand({"alg": "none"}, good()),
    "alg None with capitals": lambda: by_hand({"alg": "NoNe"}, good()),
    "alg missing": lambda: by_hand({"typ": "JWT"}, good()),
    "alg no text": lambda: by_hand({"alg": ["HS256"]}, good()),
    "another secret": lambda: signed(good(), secret="x" * 40),
    "another HMAC": lambda: signed(good(), alg="HS512"),
    "signature cut off": lambda: signed(good()).rsplit(".", 1)[0] + ".",
    "claims exchanged": lambda: ".".join(
        [
            signed(good()).split(".")[0],
            signed(good(sub="administrator")).split(".")[1],
            signed(good()).split(".")[2],
        ]
    ),
    "an unknown critical header": lambda: signed_by_hand({"alg": "HS256", "crit": ["exp"], "exp": 1}, good()),
    "a critical header that only the token knows": lambda: signed_by_hand(
        {"alg": "HS256", "crit": ["x"], "x": 1}, good()
    ),
    "a key of its own": lambda: signed(good(), secret="x" * 40, jwk={"kty": "oct", "k": "eHh4eA"}),
    "an address of its own key": lambda: signed(good(), secret="x" * 40, jku="https://evil.example/keys"),
    "a certificate of its own": lambda: signed(good(), secret="x" * 40, x5u="https://evil.example/cert"),
    "encrypted, by its header": lambda: signed_by_hand({"alg": "dir", "enc": "A256GCM"}, good()),
    "HS384": lambda: signed(good(), alg="HS384"),
    "RS256 by its header, HMAC by its signature": lambda: signed_by_hand({"alg": "RS256"}, good()),
    "claims no JSON": lambda: signed_by_hand({"alg": "HS256"}, None).replace("bnVsbA", "bnVsb"),
    "claims null": lambda: signed_by_hand({"alg": "HS256"}, None),
    "claims no object": lambda: signed_by_hand({"alg": "HS256"}, ["jana"]),
    "exp missing": lambda: signed(good(exp=...)),
    "exp long past": lambda: signed(good(exp=int(time.time()) - 3600)),
    "exp just past the leeway": lambda: signed(good(exp=int(time.time()) - 31)),
    "exp a text": lambda: signed(good(exp="2999-01-01")),
    "exp true": lambda: signed(good(exp=True)),
    "exp infinite": lambda: signed(good(exp=float("inf"))),
    "exp not a number": lambda: signed(good(exp=float("nan"))),
    "exp with 400 digits": lambda: signed(good(exp=10**400)),
    "nbf ahead": lambda: signed(good(nbf=int(time.time()) + 3600)),
    "iat ahead": lambda: signed(good(iat=int(time.time()) + 3600)),
    "another issuer": lambda: signed(good(iss="https://evil.example")),
    "issuer missing": lambda: signed(good(iss=...)),
    "issuer a list": lambda: signed(good(iss=[ISSUER])),
    "another audience": lambda: signed(good(aud="another-service")),
    "audience missing": lambda: signed(good(aud=...)),
    "sub missing": lambda: signed(good(sub=...)),
    "sub empty": lambda: signed(good(sub="")),
    "sub a number": lambda: signed(good(sub=7)),
    "sub with NUL": lambda: signed(good(sub="jana\0")),
    "sub with half a character": lambda: signed_by_hand({"alg": "HS256"}, good(sub="\ud800")),
    "sub without end": lambda: signed(good(sub="j" * 256)),
    "groups an object": lambda: signed(good(groups={"sales": True})),
    "groups with a number": lambda: signed(good(groups=["sales", 1])),
    "roles a number": lambda: signed(good(roles=1)),
    "an API key of wrong form": lambda: "gwk_short",
    "an API key that does not exist": lambda: "gwk_abcdefgh_" + "A" * 43,
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_bad_token_is_refused(name: str) -> None:
    with pytest.raises(Unauthenticated):
        verifier_from(hs256_settings()).verify(BAD_TOKENS[name]())


def test_what_is_signed_by_hand_is_accepted_where_nothing_else_is_wrong() -> None:
    token = signed_by_hand({"alg": "HS256"}, good())
    assert verifier_from(hs256_settings()).verify(token).subject == "jana"


def test_a_good_token_tells_user_groups_and_roles() -> None:
    token = signed(good(groups=["sales", "info"], roles="admin", aud=["other", AUDIENCE]))
    claims = verifier_from(hs256_settings()).verify(token)
    assert claims == Claims("jana", frozenset({"sales", "info"}), frozenset({"admin"}))


def test_without_groups_and_roles_there_are_none() -> None:
    claims = verifier_from(hs256_settings()).verify(signed(good(groups=..., roles=None)))
    assert claims == Claims("jana", frozenset(), frozenset())


def test_the_claims_are_named_by_the_settings() -> None:
    verifier = verifier_from(hs256_settings(jwt_groups_claim="teams", jwt_roles_claim="rights"))
    claims = verifier.verify(signed(good(teams=["sales"], rights=["admin"], groups=["other"])))
    assert claims == Claims("jana", frozenset({"sales"}), frozenset({"admin"}))


def test_issuer_and_audience_are_not_asked_for_where_they_are_not_set() -> None:
    verifier = verifier_from(hs256_settings(jwt_issuer=None, jwt_audience=None))
    assert verifier.verify(signed(good(aud="anybody"))).subject == "jana"


def test_clocks_may_differ_by_some_seconds() -> None:
    now = int(time.time())
    claims = good(exp=now - 20, nbf=now + 20, iat=now + 20)
    assert verifier_from(hs256_settings()).verify(signed(claims)).subject == "jana"


def test_without_a_way_to_verify_every_token_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        verifier_from(Settings()).verify(signed(good()))


class TestPublishedKeys:
    """Keys of an identity provider, over real HTTP."""

    @pytest.fixture
    def provider(self, http_receiver: HttpReceiver) -> "Provider":
        return Provider(http_receiver)

    @pytest.mark.parametrize(
        ("algorithm", "kind", "parameter"),
        [
            ("RS256", "RSA", 2048),
            ("PS256", "RSA", 2048),
            ("ES256", "EC", "P-256"),
            ("ES384", "EC", "P-384"),
            ("Ed25519", "OKP", "Ed25519"),
        ],
    )
    def test_a_token_of_the_provider_is_accepted(
        self, provider: "Provider", algorithm: str, kind: str, parameter: str | int
    ) -> None:
        key = provider.publish(kind, parameter)
        assert provider.verifier().verify(provider.sign(key, algorithm)).subject == "jana"

    def test_the_public_key_is_no_hmac_secret(self, provider: "Provider") -> None:
        key = provider.publish("RSA", 2048)
        assert isinstance(key, jwk.RSAKey)
        # By hand: the library itself refuses to use a PEM as a secret.
        unsigned = by_hand({"alg": "HS256", "kid": key.kid}, good()).rsplit(".", 1)[0]
        for secret in (key.as_pem(private=False), key.as_pem(private=False).strip()):
            mac = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
            forged = f"{unsigned}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
            with pytest.raises(Unauthenticated):
                provider.verifier().verify(forged)

    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "none", "RS256", "PS256", "Ed25519"])
    def test_a_key_of_one_kind_verifies_no_other(self, provider: "Provider", algorithm: str) -> None:
        key = provider.publish("EC", "P-256")
        header = {"alg": algorithm, "kid": key.kid}
        _, claims, signature = provider.sign(key, "ES256").split(".")
        forged_header = by_hand(header, {}).partition(".")[0]
        with pytest.raises(Unauthenticated):
            provider.verifier().verify(f"{forged_header}.{claims}.{signature}")

    def test_a_token_does_not_say_where_its_key_is(self, provider: "Provider") -> None:
        provider.publish("RSA", 2048)
        with HttpReceiver() as elsewhere:
            evil = Provider(elsewhere)
            key = evil.publish("RSA", 2048)
            for named in (
                {"jku": elsewhere.url},
                {"x5u": elsewhere.url},
                {"jwk": key.as_dict(private=False)},
                {"kid": elsewhere.url},
            ):
                header = {"alg": "RS256", "kid": key.kid, **named}
                token = jwt.encode(header, good(), key, algorithms=["RS256"])
                with pytest.raises(Unauthenticated):
                    provider.verifier().verify(token)
            assert evil.requests == 0

    @pytest.mark.parametrize("key_id", [None, 1, [], {}, "", "../keys", "x" * 8000, "\0"])
    def test_a_strange_key_id_is_an_unknown_one(self, provider: "Provider", key_id: object) -> None:
        provider.publish("EC", "P-256")
        other = provider.publish("EC", "P-256")
        _, claims, signature = provider.sign(other, "ES256").split(".")
        header = by_hand({"alg": "ES256", "kid": key_id}, {}).partition(".")[0]
        with pytest.raises(Unauthenticated):
            provider.verifier().verify(f"{header}.{claims}.{signature}")

    def test_a_symmetric_key_in_the_set_is_passed_over(self, provider: "Provider") -> None:
        provider.publish("RSA", 2048)
        secret = jwk.OctKey.import_key("s" * 40, {"kid": "shared"})
        provider.documents.append(secret.as_dict(private=True))
        provider.answer()
        token = jwt.encode({"alg": "HS256", "kid": "shared"}, good(), secret)
        with pytest.raises(Unauthenticated):
            provider.verifier().verify(token)

    def test_a_key_for_encryption_is_passed_over(self, provider: "Provider") -> None:
        key = provider.publish("RSA", 2048, use="enc")
        with pytest.raises(Unauthenticated):
            provider.verifier().verify(provider.sign(key, "RS256"))

    def test_an_unreadable_key_does_not_spoil_the_others(self, provider: "Provider") -> None:
        provider.documents += [{"kty": "RSA"}, {"kty": "post-quantum"}, {"kty": "EC", "crv": "P-256"}]
        key = provider.publish("EC", "P-256")
        assert provider.verifier().verify(provider.sign(key, "ES256")).subject == "jana"

    def test_keys_are_fetched_once(self, provider: "Provider") -> None:
        key = provider.publish("EC", "P-256")
        verifier = provider.verifier()
        for _ in range(5):
            verifier.verify(provider.sign(key, "ES256"))
        assert provider.requests == 1

    def test_an_unknown_key_id_fetches_again_at_most_once_a_minute(self, provider: "Provider") -> None:
        first = provider.publish("EC", "P-256")
        verifier = provider.verifier()
        with time_machine.travel(clock.utc_now(), tick=False) as traveller:
            verifier.verify(provider.sign(first, "ES256"))
            second = provider.publish("EC", "P-256")
            for _ in range(3):
                with pytest.raises(Unauthenticated):
                    verifier.verify(provider.sign(second, "ES256"))
            assert provider.requests == 1
            traveller.shift(61)
            assert verifier.verify(provider.sign(second, "ES256")).subject == "jana"
            assert provider.requests == 2

    def test_a_withdrawn_key_is_forgotten(self, provider: "Provider") -> None:
        withdrawn = provider.publish("EC", "P-256")
        verifier = provider.verifier()
        with time_machine.travel(clock.utc_now(), tick=False) as traveller:
            verifier.verify(provider.sign(withdrawn, "ES256"))
            provider.documents.clear()
            provider.publish("EC", "P-256")
            traveller.shift(JWKS_MAX_AGE.total_seconds() + 1)
            with pytest.raises(Unauthenticated):
                verifier.verify(provider.sign(withdrawn, "ES256"))

    def test_known_keys_serve_while_the_provider_is_down(self, provider: "Provider") -> None:
        key = provider.publish("EC", "P-256")
        verifier = provider.verifier()
        with time_machine.travel(clock.utc_now(), tick=False) as traveller:
            verifier.verify(provider.sign(key, "ES256"))
            provider.fail(503)
            traveller.shift(JWKS_MAX_AGE.total_seconds() + 1)
            assert verifier.verify(provider.sign(key, "ES256")).subject == "jana"

    def test_one_caller_alone_waits_for_a_provider_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(identity, "JWKS_TIMEOUT_S", 60.0)
        with HttpReceiver() as receiver:
            self._require_one_waits(Provider(receiver))

    @staticmethod
    def _require_one_waits(provider: "Provider") -> None:
        key = provider.publish("EC", "P-256")
        verifier = provider.verifier()
        with time_machine.travel(clock.utc_now(), tick=False) as traveller, ThreadPoolExecutor(1) as pool:
            verifier.verify(provider.sign(key, "ES256"))
            traveller.shift(JWKS_MAX_AGE.total_seconds() + 1)
            provider.hang()
            waiting = pool.submit(verifier.verify, provider.sign(key, "ES256"))
            wait_until(lambda: provider.requests == 2, 60, "a request to the provider")
            assert verifier.verify(provider.sign(key, "ES256")).subject == "jana"
            assert not waiting.done()
            provider.end()
            assert waiting.result().subject == "jana"

    def test_they_serve_for_a_day_at_most(self, provider: "Provider") -> None:
        key = provider.publish("EC", "P-256")
        verifier = provider.verifier()
        with time_machine.travel(clock.utc_now(), tick=False) as traveller:
            verifier.verify(provider.sign(key, "ES256"))
            provider.fail(503)
            traveller.shift(JWKS_TRUSTED_FOR.total_seconds() + 1)
            with pytest.raises(Unauthenticated):
                verifier.verify(provider.sign(key, "ES256"))
            provider.answer()
            traveller.shift(61)
            assert verifier.verify(provider.sign(key, "ES256")).subject == "jana"

    @pytest.mark.parametrize(("networks", "is_let_in"), [((), True), (("10.0.0.0/8",), True), (None, False)])
    def test_plain_http_is_spoken_inside_loopback_and_the_private_networks_alone(
        self, provider: "Provider", monkeypatch: pytest.MonkeyPatch, networks: Any, is_let_in: bool
    ) -> None:
        if networks is None:  # the provider's address counts as one outside
            monkeypatch.setattr(identity, "LOOPBACK", ())
        key = provider.publish("EC", "P-256")
        private = [ipaddress.ip_network(network) for network in networks or ()]
        verifier = JwtVerifier(PublishedKeys(provider.url, private_networks=private))
        token = provider.sign(key, "ES256")
        if is_let_in:
            assert verifier.verify(token).subject == "jana"
        else:
            with pytest.raises(Unauthenticated):
                verifier.verify(token)
        assert provider.requests == int(is_let_in)

    def test_an_answer_that_drips_is_given_up(
        self, provider: "Provider", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(identity, "JWKS_TIMEOUT_S", 0.3)
        key = provider.publish("EC", "P-256")
        document = json.dumps({"keys": provider.documents}).encode()
        with drip(document, each_s=20 / len(document)) as url, pytest.raises(Unauthenticated):
            JwtVerifier(PublishedKeys(url)).verify(provider.sign(key, "ES256"))

    def test_a_redirect_to_keys_is_not_followed(self, provider: "Provider") -> None:
        key = provider.publish("EC", "P-256")
        with HttpReceiver() as elsewhere:
            elsewhere.answer_with(Answer(200, json.dumps({"keys": provider.documents}).encode()))
            provider.redirect_to(f"{elsewhere.url}/keys")
            with pytest.raises(Unauthenticated):
                provider.verifier().verify(provider.sign(key, "ES256"))
            assert (provider.requests, elsewhere.requests) == (1, [])

    @pytest.mark.parametrize("status", [302, 404, 500])
    def test_without_keys_every_token_is_refused(self, provider: "Provider", status: int) -> None:
        key = provider.publish("EC", "P-256")
        provider.fail(status)
        with pytest.raises(Unauthenticated):
            provider.verifier().verify(provider.sign(key, "ES256"))


class Provider:
    """An identity provider: publishes keys at a real HTTP address and signs with them."""

    def __init__(self, receiver: HttpReceiver) -> None:
        self._receiver = receiver
        self.documents: list[Any] = []

    def publish(self, kind: str, parameter: str | int, **attributes: str) -> jwk.Key:
        key = jwk.JWKRegistry.generate_key(kind, parameter, private=True)
        key.ensure_kid()
        self.documents.append({**key.as_dict(private=False), **attributes})
        self.answer()
        return key

    def answer(self) -> None:
        self._receiver.answer_with(Answer(200, json.dumps({"keys": self.documents}).encode()))

    def fail(self, status: int) -> None:
        self._receiver.answer_with(Answer(status, headers=(("Location", f"{self._receiver.url}/keys"),)))

    def redirect_to(self, url: str) -> None:
        self._receiver.redirect_to(url)

    def hang(self) -> None:
        self._receiver.answer_with(Answer(delay_s=600))

    def end(self) -> None:
        """Cut off who waits."""
        self._receiver.stop()

    @property
    def url(self) -> str:
        return self._receiver.url

    @property
    def requests(self) -> int:
        return len(self._receiver.requests)

    def verifier(self) -> JwtVerifier:
        return JwtVerifier(PublishedKeys(self._receiver.url), issuer=ISSUER, audience=AUDIENCE)

    @staticmethod
    def sign(key: jwk.Key, algorithm: str) -> str:
        header = {"alg": algorithm, "kid": key.kid}
        return jwt.encode(header, good(), key, algorithms=[algorithm])


@pytest.mark.any_database
class TestOverHttp:
    """Every protected route asks for a token."""

    @each_case(
        "headers",
        [
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": "Basic dXNlcjpwYXNz"},
            {"Authorization": "Bearer gwk_abcdefgh_" + "A" * 43},
            bearer("nonsense"),
            bearer(user_token("jana", exp=1)),
        ],
    )
    def test_without_a_good_token_it_is_401(self, client: TestClient, headers: dict[str, str]) -> None:
        answer = client.get("/api-keys", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
        body = answer.json()
        assert (body["code"], body["detail"]) == (
            "unauthenticated",
            "This request needs a valid bearer token.",
        )

    def test_every_route_but_the_open_ones_is_401_without_a_token(self, client: TestClient) -> None:
        open_paths = {"/health/live", "/health/ready", "/metrics"}
        document = client.get("/openapi.json").json()
        paths: Sequence[tuple[str, str]] = [
            (method, path)
            for path, item in document["paths"].items()
            for method in item
            if path not in open_paths
        ]
        assert paths
        for method, path in paths:
            answer = client.request(method, path.replace("{", "").replace("}", ""))
            assert answer.status_code == 401, f"{method} {path}: {answer.status_code}"
