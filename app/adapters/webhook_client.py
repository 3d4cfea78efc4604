"""Delivers one event over HTTP, signed as Standard Webhooks define (https://www.standardwebhooks.com). Only this module
imports standardwebhooks.

A caller entered the receiver's address, so `checked_http` checks it. Plain HTTP is allowed only inside the allowed private
networks. The client does not follow redirects and uses no proxy from the environment. It keeps the beginning of a text that
a public receiver answers. The answer of a receiver in a private network is not shown to the person who entered its address.
"""

import base64
import contextlib
import secrets
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import httpcore
import httpx
from standardwebhooks import Webhook

from app.adapters.checked_http import CheckedNetwork, CheckedTransport, Deadline
from app.adapters.masking import Mask
from app.adapters.network import NetworkPolicy
from app.errors import GatewayError
from app.mime.text import clean_text
from app.states import WebhookBody

SECRET_START = "whsec_"  # noqa: S105 - what every secret begins with
SECRET_OCTETS = 32
CONTENT_TYPES = {
    WebhookBody.CLOUDEVENTS: "application/cloudevents+json",
    WebhookBody.JSON: "application/json",
}
BODY_READ_OCTETS = 4096
"""A short answer is read to its end, so that the connection can be used again."""
TEXT_KEPT_OCTETS = 2048
TEXT_TYPES = ("text/", "application/json", "application/xml", "application/problem+")


@dataclass(frozen=True)
class Limits:
    """Time limits, by the wall clock. The time of the resolver is additional."""

    step_s: float = 20
    """The limit for connecting, for one read, and for one write."""
    attempt_s: float = 20
    """The limit for the whole attempt: a receiver that sends one octet a second would never exceed the other limits."""


@dataclass(frozen=True)
class Endpoint:
    """The address, the secrets that sign (the present one first), and the additional headers for the receiver."""

    url: str
    secrets: tuple[str, ...] = field(repr=False)
    body: WebhookBody = WebhookBody.CLOUDEVENTS
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Address:
    """The target of a URL, as the delivering client reads it: parsers differ about strange URLs."""

    is_plain: bool
    """http://"""
    host: str
    port: int
    is_bare: bool
    """Without user name, password and fragment."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an attempt. `error_code` is None if the receiver accepted the event."""

    status: int | None
    error_code: str | None
    retry_after_s: float | None = None
    """How long the receiver asked us to wait."""
    duration_ms: int = 0
    text: str | None = None
    """The beginning of the answer, if a public receiver answered a text."""

    @property
    def is_delivered(self) -> bool:
        return self.error_code is None


GONE = "gone"
"""The receiver wants no more events (410)."""
NOT_REACHED = frozenset({"host_unreachable", "certificate_refused"})
"""Nothing was sent, so the event is not at fault."""
NO_ANSWER = frozenset({"timeout", "connection_lost"})


def address_of(url: str) -> Address | None:
    """The target of a URL. None: events cannot be delivered to it."""
    try:
        read = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    is_plain = read.scheme == "http"
    port = read.port if read.port is not None else (80 if is_plain else 443)
    if read.scheme not in {"http", "https"} or not read.raw_host or not 0 < port < 65536:
        return None
    is_bare = not read.userinfo and not read.fragment
    return Address(is_plain, read.raw_host.decode("ascii"), port, is_bare)


def new_secret() -> str:
    """A new secret in the form of Standard Webhooks."""
    return SECRET_START + base64.b64encode(secrets.token_bytes(SECRET_OCTETS)).decode()


class WebhookClient:
    """Delivers to one target, and keeps the connection between deliveries. Not for several threads at once."""

    def __init__(
        self, target: Endpoint, *, network: NetworkPolicy, tls: ssl.SSLContext, limits: Limits = Limits()
    ) -> None:
        self.target = target
        self._url = httpx.URL(target.url)
        self._signers = [Webhook(secret) for secret in target.secrets]
        self._policy = network
        self._limits = limits
        self._deadline = Deadline()
        self._network = CheckedNetwork(network, self._deadline, private_only=self._url.scheme == "http")
        self._client = httpx.Client(
            transport=CheckedTransport(self._network, tls),
            timeout=limits.step_s,
            follow_redirects=False,
            trust_env=False,
        )

    def deliver(self, *, event_id: str, body: bytes, at: datetime) -> Outcome:
        """Send one event once. `at` is the time of the attempt; the signature covers it."""
        started = time.monotonic()
        outcome = self._deliver(event_id, body, at)
        return replace(outcome, duration_ms=round((time.monotonic() - started) * 1000))

    def _deliver(self, event_id: str, body: bytes, at: datetime) -> Outcome:
        text = body.decode()
        headers = {
            **self.target.headers,
            "Content-Type": CONTENT_TYPES[self.target.body],
            "User-Agent": "imap-gateway",
            "Accept-Encoding": "identity",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signer.sign(event_id, at, text) for signer in self._signers),
        }
        self._deadline.set(self._limits.attempt_s)
        try:
            with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                read = bytearray()
                # The first line of the answer counts, even if the rest cannot be read.
                with contextlib.suppress(
                    httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError
                ):
                    _read_a_little(response, read)
                return replace(_outcome(response, at), text=self._text(response, read))
        except GatewayError:
            # Forbidden by the policy, refused by the host, not resolvable: all give the same code.
            return Outcome(None, "host_unreachable")
        except httpcore.TimeoutException:
            return Outcome(None, "timeout")
        except httpcore.ConnectError as exc:
            is_certificate = isinstance(exc.__cause__ or exc.__context__, ssl.SSLError)
            return Outcome(None, "certificate_refused" if is_certificate else "host_unreachable")
        except (httpcore.NetworkError, httpcore.ProtocolError):
            return Outcome(None, "connection_lost")

    def _text(self, response: httpx.Response, read: bytearray) -> str | None:
        address = self._network.connected_to
        is_public = address is not None and not self._policy.is_allowed_private(address)
        if not (is_public and read and _is_text(response.headers)):
            return None
        text = clean_text(read[:TEXT_KEPT_OCTETS].decode(errors="replace"), TEXT_KEPT_OCTETS)
        for secret in _secrets_of(self.target):  # a receiver may repeat what it was sent
            text = Mask(None, secret).whole(text)
        return text[:TEXT_KEPT_OCTETS] or None

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_a_little(response: httpx.Response, read: bytearray) -> None:
    for part in response.iter_raw():
        read += part[: BODY_READ_OCTETS + 1]
        if len(read) > BODY_READ_OCTETS:
            return


def _is_text(headers: httpx.Headers) -> bool:
    kind = headers.get("content-type", "").strip().lower()
    return bool(kind.startswith(TEXT_TYPES)) and headers.get("content-encoding") in {None, "identity"}


def _secrets_of(target: Endpoint) -> Iterable[str]:
    """What must not be shown again: the secrets, the receiver's headers, and the last word of each (`Bearer …`)."""
    yield from target.secrets
    for value in target.headers.values():
        yield value
        yield value.rpartition(" ")[2]


def _outcome(response: httpx.Response, at: datetime) -> Outcome:
    status = response.status_code
    if response.is_success:
        return Outcome(status, None)
    if status == httpx.codes.GONE:
        return Outcome(status, GONE)
    if response.is_redirect:
        return Outcome(status, "redirect_refused")
    return Outcome(status, "status_refused", _retry_after_s(response.headers.get("retry-after", ""), at))


def _retry_after_s(value: str, at: datetime) -> float | None:
    """The value of `Retry-After` (RFC 9110 §10.2.3): seconds, or a date."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - at).total_seconds(), 0.0)
