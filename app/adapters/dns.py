"""Asks the DNS. Only this module imports dnspython, and only when there is a question: the library takes half as long to load as
the gateway, and child processes do not need it.

The machine's own resolver returns only addresses. Which servers a domain names for its mail is in SRV and MX records.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import HostUnreachable

LOOKUP_S = 5.0
MAX_RECORDS = 20
"""The largest number of records that are read. A mail server has only a few."""


@dataclass(frozen=True, slots=True)
class Service:
    """A server that a domain names for a service (RFC 2782)."""

    host: str
    port: int


class DnsClient:
    """Asks these servers; if there are none, those of the machine. It keeps no answers and is for any thread."""

    def __init__(self, servers: Sequence[tuple[str, int]] = ()) -> None:
        """`servers`: addresses and ports."""
        self._servers = servers

    def addresses(self, host: str) -> list[str]:
        """The addresses of a host, of IPv6 and IPv4, as text.

        Raises:
            HostUnreachable: the name has none, or there is no answer.
        """
        ends_at = time.monotonic() + LOOKUP_S
        found = [
            str(record.address) for kind in ("AAAA", "A") for record in self._records(host, kind, ends_at)
        ]
        if not found:
            raise HostUnreachable
        return found

    def services(self, name: str, *, ends_at: float) -> list[Service]:
        """The servers for a service, as `_imaps._tcp.example.com`, in the order in which to try them: by priority, then
        the greatest weight first. Empty: the domain does not say, or says that there is none (RFC 6186 §3.4).

        `ends_at`: there is an answer by then (`time.monotonic`).
        """
        records = self._records(name, "SRV", ends_at)
        records.sort(key=lambda record: (record.priority, -record.weight))
        found = [Service(_host(record.target), record.port) for record in records]
        return [each for each in found if each.host and each.port]

    def mail_exchangers(self, domain: str, *, ends_at: float) -> list[str]:
        """The hosts that receive the domain's mail, the preferred one first. Empty: there are none, or there is no answer."""
        records = self._records(domain, "MX", ends_at)
        records.sort(key=lambda record: record.preference)
        return [host for host in (_host(record.exchange) for record in records) if host]

    def _records(self, name: str, kind: str, ends_at: float) -> list[Any]:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            return []
        import dns.exception  # noqa: PLC0415 - see the top of this file
        import dns.nameserver  # noqa: PLC0415 - see the top of this file
        import dns.resolver  # noqa: PLC0415 - see the top of this file

        try:
            resolver = dns.resolver.Resolver(configure=not self._servers)
            if self._servers:
                resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in self._servers]
            answer = resolver.resolve(name, kind, lifetime=min(left_s, LOOKUP_S), search=False)
        # UnicodeError, ValueError: a name that the DNS cannot carry.
        except (dns.exception.DNSException, OSError, UnicodeError, ValueError):
            return []
        return list(answer)[:MAX_RECORDS]


def _host(name: Any) -> str:
    """A name without its last dot, in lower case; empty for the root."""
    return str(name).rstrip(".").lower()
