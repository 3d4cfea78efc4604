"""Delivery of one event over HTTP, signed as Standard Webhooks say (https://www.standardwebhooks.com). The only
importer of httpcore and standardwebhooks.

The receiver's address is somebody's input: its name is resolved once, the address is checked and is the one that
is connected to (TLS verifies the name), plain HTTP is spoken only inside the allowed private networks, redirects
are not followed, no proxy of the environment is used, and nothing of the answer's body is kept.
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
"""A short answer is read and forgotten, so that the connection can be used again."""


@dataclass(frozen=True)
class Limits:
    """How long things may take, by the wall clock; the resolver's time comes on top."""

    step_s: float = 10
    """For connecting, for one read, for one write."""
    attempt_s: float = 20
    """For all of it: a receiver that gives an octet a second would meet every other limit."""


@dataclass(frozen=True)
class Endpoint:
    """Where to, and the secret to sign with."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Address:
    """Where a URL leads, as the client that delivers reads it: parsers differ about strange ones."""

    is_plain: bool
    """http://"""
    host: str
    port: int
    is_bare: bool
    """Without user name, password and fragment."""


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt. `error_code` is None where the receiver took the event."""

    status: int | None
    error_code: str | None
    retry_after_s: float | None = None
    """How long the receiver asked us to stay away."""

    @property
    def is_delivered(self) -> bool:
        return self.error_code is None


GONE = "gone"
"""The receiver wants no more events (410)."""


def address_of(url: str) -> Address | None:
    """Where a URL leads; None where it is not one that can be delivered to."""
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
    """A fresh secret in the form of Standard Webhooks."""
    return SECRET_START + base64.b64encode(secrets.token_bytes(SECRET_OCTETS)).decode()


class WebhookClient:
    """Delivers to one target; the connection is kept between deliveries. Not for several threads at once."""

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
        """Send one event once. `at` is the time of the attempt, which is signed too."""
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
                # The answer counts from its first line on, whatever becomes of the rest.
                with contextlib.suppress(
                    httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError
                ):
                    _read_a_little(response)
                return _outcome(response, at)
        except GatewayError:
            # Refused by policy, refused by the host, not resolvable: all look alike.
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
    """RFC 9110 §10.2.3: seconds, or a date."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - at).total_seconds(), 0.0)
