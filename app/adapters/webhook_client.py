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
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx
from standardwebhooks import Webhook

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
        self._deadline = _Deadline()
        self._client = httpx.Client(
            transport=_Transport(
                _CheckedNetwork(network, self._deadline, private_only=self._url.scheme == "http"), tls
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


class _Deadline:
    """When an attempt must have ended."""

    def __init__(self) -> None:
        self._end = 0.0

    def set(self, limit_s: float) -> None:
        self._end = time.monotonic() + limit_s

    def within(self, timeout_s: float | None) -> float:
        """A timeout cut to what is left."""
        left_s = self._end - time.monotonic()
        return max(left_s if timeout_s is None else min(timeout_s, left_s), 0.001)

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end


class _CheckedNetwork(httpcore.SyncBackend):
    """Connects to the addresses that the policy permits, never to a name."""

    def __init__(self, network: NetworkPolicy, deadline: _Deadline, *, private_only: bool) -> None:
        self._network = network
        self._deadline = deadline
        self._private_only = private_only

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._network.resolve(host, port, private_only=self._private_only)
        for tried, address in enumerate(addresses, start=1):
            share_s = self._deadline.within(timeout) / (len(addresses) - tried + 1)
            try:
                stream = super().connect_tcp(str(address), port, share_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if tried == len(addresses):
                    raise
            else:
                return _TimedStream(stream, self._deadline)
        raise httpcore.ConnectError


class _TimedStream(httpcore.NetworkStream):
    """Cuts every timeout to what is left of the attempt. A TLS handshake has one timeout for all of it."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._deadline.is_over:
            raise httpcore.ReadTimeout
        return self._stream.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._deadline.is_over:
            raise httpcore.WriteTimeout
        self._stream.write(buffer, self._deadline.within(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.within(timeout))
        return _TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Transport(httpx.BaseTransport):
    """httpx over our own network; its own transport takes none."""

    def __init__(self, network: httpcore.NetworkBackend, tls: ssl.SSLContext) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls, network_backend=network, max_connections=1, keepalive_expiry=10
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        response = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        extensions: Mapping[str, Any] = response.extensions
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=dict(extensions),
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()
