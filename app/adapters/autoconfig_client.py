"""Loads the file in which a domain describes its mail servers.

Only by HTTPS, and only from hosts of this domain, also after redirects. Only the domain of the address is sent.
"""

import ssl
from urllib.parse import urljoin, urlsplit

import httpx

from app.adapters.checked_http import FAILURES, CheckedNetwork, CheckedTransport, Deadline
from app.adapters.network import NetworkPolicy

MAX_OCTETS = 64 * 1024
MAX_REDIRECTS = 3
PORT = 443


class AutoconfigClient:
    """Loads from the web servers of a domain."""

    def __init__(self, network: NetworkPolicy, tls: ssl.SSLContext, *, port: int = PORT) -> None:
        self._network = network
        self._tls = tls
        self._port = port

    def addresses(self, domain: str) -> list[str]:
        """Where a domain may have its file, the preferred one first."""
        port = "" if self._port == PORT else f":{self._port}"
        return [
            f"https://autoconfig.{domain}{port}/mail/config-v1.1.xml",
            f"https://{domain}{port}/.well-known/autoconfig/mail/config-v1.1.xml",
        ]

    def load(self, address: str, domain: str, *, timeout_s: float) -> bytes | None:
        """The file at this address. None: there is none, it is too large, or it is on a host of another domain."""
        deadline = Deadline()
        deadline.set(timeout_s)
        network = CheckedNetwork(self._network, deadline, private_only=False)
        try:
            with httpx.Client(
                transport=CheckedTransport(network, self._tls), trust_env=False, timeout=timeout_s
            ) as client:
                return self._followed(client, address, domain)
        except (*FAILURES, httpx.InvalidURL):
            return None

    def _followed(self, client: httpx.Client, address: str, domain: str) -> bytes | None:
        for _ in range(MAX_REDIRECTS + 1):
            if not self._is_of(address, domain):
                return None
            with client.stream("GET", address, headers={"accept": "text/xml"}) as response:
                if response.is_success:
                    return _body(response)
                if not response.has_redirect_location:
                    return None
                address = urljoin(address, response.headers["location"])
        return None

    def _is_of(self, address: str, domain: str) -> bool:
        try:
            parts = urlsplit(address)
            host, port = (parts.hostname or "").rstrip("."), parts.port or PORT
        except ValueError:
            return False
        return parts.scheme == "https" and port == self._port and (f".{host}").endswith(f".{domain}")


def _body(response: httpx.Response) -> bytes | None:
    if response.headers.get("content-encoding", "identity") != "identity":
        return None  # a small answer that expands to a large one
    read = bytearray()
    for part in response.iter_raw():
        read += part
        if len(read) > MAX_OCTETS:
            return None
    return bytes(read)
