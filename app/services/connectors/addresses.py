"""Checks whether a connector may name a mail server. Call it before a transaction, because it resolves names.

A name that does not resolve now is no reason to refuse settings, because each connection resolves and checks it again
(`adapters.network`). An address to which the gateway never connects is refused at once, with the field.
"""

import ipaddress
from collections.abc import Iterator

from app.adapters.network import NetworkPolicy, is_address
from app.errors import FieldFault, HostUnreachable, InvalidInput
from app.gateway import Gateway
from app.schemas.connectors import ImapServer, ImapServerPatch, SmtpServer
from app.states import Security


def require_allowed(gateway: Gateway, *, imap: ImapServer | None, smtp: SmtpServer | None) -> None:
    """Refuse servers that this installation never connects to. None is ignored.

    Raises:
        InvalidInput
    """
    faults: list[FieldFault] = []
    for pointer, server in (("/imap", imap), ("/smtp", smtp)):
        if server is not None:
            faults += _faults(gateway.mail_network, gateway.settings.mail_ports, pointer, server)
    if faults:
        raise InvalidInput(*faults)


def may_resolve(*servers: ImapServer | SmtpServer | ImapServerPatch | None) -> bool:
    """Whether the check of these servers may have to resolve a name. The time for this depends on name servers of other people."""
    return any(server is not None and not (server.host and is_address(server.host)) for server in servers)


def _faults(
    network: NetworkPolicy, ports: tuple[int, ...], pointer: str, server: ImapServer | SmtpServer
) -> Iterator[FieldFault]:
    try:
        address = ipaddress.ip_address(server.host)
    except ValueError:
        is_private = _resolves_to_private(network, server)
    else:
        is_private = network.is_allowed_private(address)
        if not is_private and not any(network.permits(address, port) for port in ports):
            yield FieldFault(f"{pointer}/host", "is not an address that this gateway connects to")
            return
    if server.port not in ports and not is_private:
        allowed = ", ".join(map(str, ports))
        yield FieldFault(
            f"{pointer}/port", f"must be one of {allowed}, except in the allowed private networks"
        )
    if server.security == Security.NONE and not is_private:
        yield FieldFault(
            f"{pointer}/security", "connections without TLS are allowed only in the allowed private networks"
        )


def _resolves_to_private(network: NetworkPolicy, server: ImapServer | SmtpServer) -> bool:
    try:
        return network.is_private(server.host, server.port)
    except HostUnreachable:
        return False
