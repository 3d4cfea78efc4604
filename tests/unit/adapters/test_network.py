"""The addresses to which the gateway may connect, in every spelling. It connects only to the address that it checked."""

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters.network import NetworkPolicy
from app.adapters.racing import connect_first, in_turns
from app.errors import ConnectionRefused, ConnectTimedOut, HostUnreachable
from tools.servers.listener import Listener

PUBLIC = NetworkPolicy()


def words(text: str) -> list[str]:
    return text.split()


FORBIDDEN = words("""
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255
127.0.0.1 127.0.0.53 127.255.255.254 169.254.0.1 169.254.169.254 169.254.170.2
172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255
192.0.0.1 192.0.0.9 192.0.0.192 192.0.2.1 192.88.99.1 168.63.129.16
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
224.0.0.1 224.0.1.1 233.252.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::2 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:0
64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::10.0.0.1 64:ff9b:1::8.8.8.8
2002:7f00:1:: 2002:a00:1:: 2002:a9fe:a9fe:: 2002:c0a8:101::
2001::1 2001:0:7f00:1:: 2001:db8::1 2001:2::1 2001:10::1 3fff::1
100::1 fc00::1 fd00::1 fd00:ec2::254 fe80::1 fe80::1%1 febf::1 fec0::1 ff02::1 ff0e::1
4000::1 5f00::1 8000::1 e000::1 fe00::1
""")

PERMITTED = words("""
1.1.1.1 8.8.8.8 9.9.9.9 77.75.77.77 169.253.255.255 172.15.255.255 172.32.0.1 100.63.255.255 100.128.0.1
192.167.255.255 223.255.255.254 2a00:1450:4014:80a::200e 2606:4700::1111 2001:4860:4860::8888
::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1
""")

# The C library's resolver (inet_aton) accepts these as addresses: all are 127.0.0.1 or 10.0.0.1.
SPELLINGS = words("""
2130706433 0x7f000001 0x7F.0.0.1 0177.0.0.1 017700000001 127.1 127.0.1 0x7f.1 localhost
167772161 0xa000001 10.1 012.0.0.1 0 0x0 ::ffff:7f00:1 0:0:0:0:0:ffff:127.0.0.1
""")


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text.split("%", maxsplit=1)[0])


@pytest.mark.parametrize("text", FORBIDDEN)
def test_an_address_that_is_not_public_is_refused(text: str) -> None:
    assert not PUBLIC.permits(address(text), 993)
    with pytest.raises(HostUnreachable):
        PUBLIC.resolve(text, 993)


@pytest.mark.parametrize("text", PERMITTED)
def test_a_public_address_is_permitted(text: str) -> None:
    assert PUBLIC.permits(address(text), 993)


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_an_address_gets_around_the_check(host: str) -> None:
    with pytest.raises(HostUnreachable):
        PUBLIC.resolve(host, 993)


@pytest.mark.parametrize(
    "host", ["[::1]", "[::ffff:127.0.0.1]", "no such host", "a\0b", "a" * 300, "xn--\u0161", "..", "%"]
)
def test_an_invalid_host_is_unreachable_and_raises_nothing_else(host: str) -> None:
    with pytest.raises(HostUnreachable):
        PUBLIC.resolve(host, 993)


def test_a_mapped_address_is_connected_to_as_what_it_is() -> None:
    assert PUBLIC.resolve("::ffff:8.8.8.8", 993) == [ipaddress.ip_address("8.8.8.8")]


def test_an_allowed_private_network_is_reached_in_every_form_of_its_addresses() -> None:
    policy = NetworkPolicy([ipaddress.ip_network("10.0.0.0/8")], public_ports=[993])
    for text in ("10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"):
        assert policy.permits(address(text), 12345)
    assert not policy.permits(address("192.168.0.1"), 993)
    assert not policy.permits(address("127.0.0.1"), 993)


def test_outside_the_private_networks_only_the_named_ports_are_reached() -> None:
    policy = NetworkPolicy([ipaddress.ip_network("10.0.0.0/8")], public_ports=[143, 993])
    assert policy.permits(address("8.8.8.8"), 993)
    assert not policy.permits(address("8.8.8.8"), 22)
    assert not policy.permits(address("2606:4700::1111"), 22)


def test_plain_text_is_for_allowed_private_networks() -> None:
    policy = NetworkPolicy([ipaddress.ip_network("10.0.0.0/8")])
    assert policy.is_private("10.1.2.3", 143)
    assert not policy.is_private("8.8.8.8", 143)
    with pytest.raises(HostUnreachable):
        policy.resolve("8.8.8.8", 143, private_only=True)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as made:
        yield made


LOOPBACK = NetworkPolicy([ipaddress.ip_network("127.0.0.0/8")])


def test_the_address_that_was_checked_is_the_one_connected_to(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The resolver is asked once: there is no second answer that could differ (DNS rebinding).
    asked: list[object] = []
    real = socket.getaddrinfo

    def counting(host: object, *arguments: object, **options: object) -> object:
        if host == "localhost":
            asked.append(host)
        return real(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", counting)
    with LOOPBACK.connect("localhost", listener.port, 2) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"
    assert asked == ["localhost"]


def test_only_the_allowed_address_of_a_name_is_tried(
    listener: Listener,
) -> None:
    # localhost is 127.0.0.1 and, on most machines, ::1: the policy allows the former alone.
    assert LOOPBACK.resolve("localhost", listener.port) == [ipaddress.ip_address("127.0.0.1")]


def test_a_forbidden_target_is_never_connected_to_and_looks_like_a_name_that_is_none(
    listener: Listener,
) -> None:
    with pytest.raises(HostUnreachable) as forbidden:
        PUBLIC.connect("127.0.0.1", listener.port, 2)
    with pytest.raises(HostUnreachable) as absent:
        PUBLIC.connect("no such host", listener.port, 2)
    assert listener.accepted == 0
    told = [(each.value.code, each.value.detail) for each in (forbidden, absent)]
    assert told[0] == told[1] == ("host_unreachable", "The mail server could not be reached.")


def test_a_closed_port_behind_an_address_that_may_be_reached_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionRefused):
        LOOPBACK.connect("127.0.0.1", port, 2)


def test_a_host_that_never_answers_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        # Linux drops further SYNs once the queue of a listener that never accepts is full.
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        with pytest.raises(ConnectTimedOut):
            LOOPBACK.connect("127.0.0.1", port, 0.3)
        for one in waiting:
            one.close()


def addresses(*texts: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return [ipaddress.ip_address(text) for text in texts]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class TestAHostOfSeveralAddresses:
    def test_has_its_families_tried_in_turns(self) -> None:
        v6 = [f"2606:4700::{number}" for number in range(1, 100)]
        turns = in_turns(addresses(*v6, "8.8.8.8", "9.9.9.9"))
        assert turns == addresses(v6[0], "8.8.8.8", v6[1], "9.9.9.9", v6[2], v6[3])
        assert in_turns(addresses("8.8.8.8", *v6))[:2] == addresses("8.8.8.8", v6[0])
        assert in_turns([]) == []

    def test_is_reached_at_the_one_that_answers_though_four_before_it_are_silent(
        self, silent_port: int
    ) -> None:
        """127.0.0.1 answers nothing at this port; 127.0.0.2 does."""
        with Listener("127.0.0.2", silent_port) as answering:
            hosts = ["127.0.0.1"] * 4 + ["127.0.0.2"]
            # No network of IPv6 is needed: what counts is that silence before it keeps no address from being tried.
            connected = connect_first(addresses(*hosts), silent_port, 10)
            assert connected.getpeername()[0] == "127.0.0.2"
            connected.close()
            assert answering.port == silent_port

    def test_takes_the_slow_one_where_a_later_one_fails(self, listener: Listener) -> None:
        connected = connect_first(addresses("127.0.0.1", "127.0.0.9"), listener.port, 5)
        assert connected.getpeername()[0] == "127.0.0.1"
        connected.close()

    def test_that_are_silent_and_refuse_times_out(self, silent_port: int) -> None:
        with pytest.raises(ConnectTimedOut):
            connect_first(addresses("127.0.0.1", "127.0.0.3"), silent_port, 0.6)

    def test_leaves_no_connection_open_behind_it(self, silent_port: int) -> None:
        before = open_files()
        with Listener("127.0.0.2", silent_port):
            during = open_files()
            connect_first(addresses("127.0.0.1", "127.0.0.1", "127.0.0.2"), silent_port, 10).close()
            assert open_files() <= during + 1  # what the listener has accepted
        assert open_files() <= before + 1


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at which nothing answers a SYN: Linux drops them once the queue of a listener that never accepts is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = int(full.getsockname()[1])
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()
