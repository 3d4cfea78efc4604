"""Delivers one event over HTTP, signed as Standard Webhooks define (https://www.standardwebhooks.com). Only this module
imports standardwebhooks.

A caller entered the receiver's address, so `checked_http` checks it. Plain HTTP is allowed only inside the allowed private
networks. The client does not follow redirects, uses no proxy from the environment, and keeps nothing of the answer's
body.
"""

import base64
import contextlib
import secrets
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import httpcore
import httpx
from standardwebhooks import Webhook

from app.adapters.checked_http import CheckedNetwork, CheckedTransport, Deadline
from app.adapters.network import NetworkPolicy
from app.errors import GatewayError

SECRET_START = "whsec_"  # noqa: S105 - what every secret begins with
SECRET_OCTETS = 32
CONTENT_TYPE = "application/cloudevents+json"
BODY_READ_OCTETS = 4096
"""A short answer is read and dropped, so that the connection can be used again."""


@dataclass(frozen=True)
class Limits:
    """Time limits, by the wall clock. The time of the resolver is additional."""

    step_s: float = 10
    """The limit for connecting, for one read, and for one write."""
    attempt_s: float = 20
    """The limit for the whole attempt: a receiver that sends one octet a second would never exceed the other limits."""


@dataclass(frozen=True)
class Endpoint:
    """The address, and the secret for the signature."""

    url: str
    secret: str = field(repr=False)


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

    @property
    def is_delivered(self) -> bool:
        return self.error_code is None


GONE = "gone"
"""Whether the receiver wants no more events (410)."""


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
        self._url = httpx.URL(target.url)
        self._signer = Webhook(target.secret)
        self._limits = limits
        self._deadline = Deadline()
        self._client = httpx.Client(
            transport=CheckedTransport(
                CheckedNetwork(network, self._deadline, private_only=self._url.scheme == "http"), tls
            ),
            timeout=limits.step_s,
            follow_redirects=False,
            trust_env=False,
        )

    def deliver(self, *, event_id: str, body: bytes, at: datetime) -> Outcome:
        """Send one event once. `at` is the time of the attempt; the signature covers it."""
        headers = {
            "Content-Type": CONTENT_TYPE,
            "User-Agent": "imap-gateway",
            "Accept-Encoding": "identity",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self._signer.sign(event_id, at, body.decode()),
        }
        self._deadline.set(self._limits.attempt_s)
        try:
            with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                # The first line of the answer counts, whatever happens to the rest.
                with contextlib.suppress(
                    httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError
                ):
                    _read_a_little(response)
                return _outcome(response, at)
        except GatewayError:
            # Refused by the policy, refused by the host, not resolvable: all look the same.
            return Outcome(None, "host_unreachable")
        except httpcore.TimeoutException:
            return Outcome(None, "timeout")
        except httpcore.ConnectError as exc:
            is_certificate = isinstance(exc.__cause__ or exc.__context__, ssl.SSLError)
            return Outcome(None, "certificate_refused" if is_certificate else "host_unreachable")
        except (httpcore.NetworkError, httpcore.ProtocolError):
            return Outcome(None, "connection_lost")

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_a_little(response: httpx.Response) -> None:
    read = 0
    for part in response.iter_raw():
        read += len(part)
        if read > BODY_READ_OCTETS:
            return


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
