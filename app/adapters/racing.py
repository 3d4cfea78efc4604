"""Connects to a host that has several addresses: tries IPv6 and IPv4 side by side (RFC 8305, Happy Eyeballs).

If a mail server has four IPv6 addresses that nobody can reach, the caller must not wait for four timeouts before the IPv4
address is tried. So IPv6 and IPv4 addresses alternate. If an attempt has not ended after a quarter of a second, the next one
starts, while the first goes on. The first open connection wins.
"""

import contextlib
import errno
import ipaddress
import itertools
import selectors
import socket
import time
from collections.abc import Iterable, Sequence

from app.errors import ConnectionRefused, ConnectTimedOut, HostUnreachable, MailServerError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_ADDRESSES = 6
"""The limit for one name, so that a name with a hundred addresses does not cause a hundred connections."""
ATTEMPT_DELAY_S = 0.25
"""RFC 8305 §5, Connection Attempt Delay."""


def in_turns(addresses: Iterable[IPAddress]) -> list[IPAddress]:
    """The addresses, IPv6 and IPv4 alternating, beginning with the family of the first (RFC 8305 §4); at most `MAX_ADDRESSES`."""
    order = list(dict.fromkeys(addresses))
    if not order:
        return []
    first = [each for each in order if each.version == order[0].version]
    other = [each for each in order if each.version != order[0].version]
    turns = itertools.chain.from_iterable(itertools.zip_longest(first, other))
    return [each for each in turns if each is not None][:MAX_ADDRESSES]


def connect_first(addresses: Sequence[IPAddress], port: int, timeout_s: float) -> socket.socket:
    """A TCP connection to the address that answers first. `timeout_s` is for all of them together. The others are closed.

    Raises:
        ConnectTimedOut: at least one did not answer, and none accepted the connection.
        ConnectionRefused: at least one refused, and none accepted the connection.
        HostUnreachable: there is no route to any of them.
    """
    with contextlib.closing(_Race(port)) as race:
        deadline = time.monotonic() + timeout_s
        for position, address in enumerate(addresses):
            race.start(address)
            is_last = position == len(addresses) - 1
            until = deadline if is_last else min(deadline, time.monotonic() + ATTEMPT_DELAY_S)
            winner = race.wait(until)
            if winner is not None:
                return winner
        raise race.failure()


class _Race:
    """Connections that are being opened at the same time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._errors: list[int] = []

    def start(self, address: IPAddress) -> None:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        try:
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError as exc:  # this machine has no such family
            self._errors.append(exc.errno or errno.EAFNOSUPPORT)
            return
        connection.setblocking(False)
        error = connection.connect_ex((str(address), self._port))
        if error in {0, errno.EINPROGRESS}:
            self._selector.register(connection, selectors.EVENT_WRITE)
            return
        connection.close()
        self._errors.append(error)

    def wait(self, until: float) -> socket.socket | None:
        """The first open connection. None: all attempts have failed, or it is time for the next one."""
        while self._selector.get_map():
            ready = self._selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                return None
            for key, _ in ready:
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                self._selector.unregister(connection)
                error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not error:
                    return connection
                connection.close()
                self._errors.append(error)
        return None

    def failure(self) -> MailServerError:
        """The error if no attempt succeeded."""
        if self._selector.get_map() or errno.ETIMEDOUT in self._errors:
            return ConnectTimedOut(command="CONNECT")
        if errno.ECONNREFUSED in self._errors:
            return ConnectionRefused(command="CONNECT")
        return HostUnreachable(command="CONNECT")

    def close(self) -> None:
        """Close the connections that are not open yet."""
        for key in list(self._selector.get_map().values()):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            connection.close()
        self._selector.close()
