"""HTTP to an address that somebody entered. Only this module imports httpcore.

The name is resolved once, the address is checked, and the connection goes to exactly this address (TLS verifies the name).
The whole exchange has one deadline.
"""

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpcore
import httpx

from app.adapters.network import IPAddress, NetworkPolicy
from app.errors import GatewayError

FAILURES = (
    GatewayError,  # the policy forbids the address, or the name does not resolve
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpx.HTTPError,
)
"""The errors that may be raised while a request is sent and its answer is read."""


class Deadline:
    """The time by which an attempt must have ended."""

    def __init__(self) -> None:
        self._end = 0.0

    def set(self, limit_s: float) -> None:
        self._end = time.monotonic() + limit_s

    def within(self, timeout_s: float | None) -> float:
        """The timeout, cut to the remaining time."""
        left_s = self._end - time.monotonic()
        return max(left_s if timeout_s is None else min(timeout_s, left_s), 0.001)

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end


class CheckedNetwork(httpcore.SyncBackend):
    """Connects only to addresses that the policy permits, never to a name."""

    def __init__(self, network: NetworkPolicy, deadline: Deadline, *, private_only: bool) -> None:
        self._network = network
        self._deadline = deadline
        self._private_only = private_only
        self.connected_to: IPAddress | None = None
        """The address of the last connection."""

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
                self.connected_to = address
                return TimedStream(stream, self._deadline)
        raise httpcore.ConnectError


class TimedStream(httpcore.NetworkStream):
    """Cuts every timeout to the remaining time of the attempt. A TLS handshake has one timeout as a whole."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
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
        return TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class CheckedTransport(httpx.BaseTransport):
    """httpx over our own network, because httpx's own transport does not accept one."""

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
