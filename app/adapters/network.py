"""The addresses to which the gateway may connect.

A name that does not exist and a name that leads only to forbidden addresses give the same error, `HostUnreachable`, before any
connection. More exact errors are given only for addresses to which the gateway may connect.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.adapters.racing import connect_first, in_turns
from app.errors import HostUnreachable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# Python's `is_global` follows the IANA registries as of its release, and accepts IPv6 space that is not allocated. The
# networks below are refused whatever `is_global` says, so that 3.11 and 3.13 agree.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291 §2.4: IANA allocates only from this
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1
_NEVER_PUBLIC = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # RFC 6890; 192.0.0.192 is Oracle's metadata service
    ipaddress.IPv4Network("192.88.99.0/24"),  # RFC 7526: 6to4 relays, deprecated
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's host agent, on a public address
    ipaddress.IPv6Network("3fff::/20"),  # RFC 9637: documentation
)


@dataclass(frozen=True)
class NetworkPolicy:
    """The addresses and ports to which connections are allowed."""

    allowed_private_networks: Sequence[IPNetwork] = ()
    public_ports: Sequence[int] | None = None
    """Ports allowed outside the private networks; None means any."""
    lookup: Callable[[str], list[str]] | None = None
    """Gives the addresses of a name, or raises HostUnreachable; None: the machine does."""

    def is_allowed_private(self, address: IPAddress) -> bool:
        """Whether an address, or the IPv4 address inside it, is in the allowed private networks."""
        effective = embedded_ipv4(address) or address
        return any(
            candidate.version == network.version and candidate in network
            for candidate in {address, effective}
            for network in self.allowed_private_networks
        )

    def permits(self, address: IPAddress, port: int) -> bool:
        """Whether a connection to this address is allowed."""
        if self.is_allowed_private(address):
            return True
        if not _is_public(address):
            return False
        return self.public_ports is None or port in self.public_ports

    def resolve(self, host: str, port: int, *, private_only: bool = False) -> list[IPAddress]:
        """The allowed addresses of a host, at most `racing.MAX_ADDRESSES`, IPv6 and IPv4 alternating (RFC 8305 §4).

        `private_only` keeps only those in the allowed private networks, where plain text is allowed.

        Raises:
            HostUnreachable: the name does not resolve, or resolves only to forbidden addresses.
        """
        addresses = dict.fromkeys(_plain(address) for address in self._addresses(host, port))
        permitted = [
            address
            for address in addresses
            if (self.is_allowed_private(address) if private_only else self.permits(address, port))
        ]
        if not permitted:
            raise HostUnreachable
        return in_turns(permitted)

    def _addresses(self, host: str, port: int) -> list[str]:
        if self.lookup is not None and not _is_of_machine(host):
            return self.lookup(host)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # ValueError: a NUL in the name; UnicodeError: a label that IDNA refuses.
        except (OSError, ValueError) as exc:
            raise HostUnreachable from exc
        return [str(entry[4][0]) for entry in found]

    def connect(self, host: str, port: int, timeout_s: float, *, private_only: bool = False) -> socket.socket:
        """A TCP connection to the first address that answers, without TLS yet. `private_only` as in `resolve`.

        Raises:
            HostUnreachable: forbidden, not resolvable, or without a route.
            ConnectionRefused: no program listens at the port.
            ConnectTimedOut: nothing answered in time.
        """
        connection = connect_first(self.resolve(host, port, private_only=private_only), port, timeout_s)
        connection.settimeout(timeout_s)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def is_private(self, host: str, port: int) -> bool:
        """Whether a host is in the allowed private networks, for the check of settings. A connection in plain text checks again
        with `private_only`, because the name may resolve to another address by then.

        Raises:
            HostUnreachable: as in `resolve`.
        """
        return all(self.is_allowed_private(address) for address in self.resolve(host, port))


def _is_of_machine(host: str) -> bool:
    """Whether no DNS is needed: an address, or the name of this machine."""
    return host.rstrip(".").lower() == "localhost" or is_address(host)


def is_address(host: str) -> bool:
    """Whether this is an address, and not a name that a server of names would be asked for."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def embedded_ipv4(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside a mapped, 6to4, Teredo or NAT64 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _plain(text: str) -> IPAddress:
    """An address without its zone. An IPv4-mapped address becomes the IPv4 address that the kernel uses for it."""
    address = ipaddress.ip_address(text.split("%", maxsplit=1)[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_public(address: IPAddress) -> bool:
    address = _plain(str(address))
    inner = embedded_ipv4(address)
    if inner is not None and not _is_public(inner):
        return False
    if any(address.version == network.version and address in network for network in _NEVER_PUBLIC):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return address in _NAT64
    return address.is_global and not address.is_multicast
