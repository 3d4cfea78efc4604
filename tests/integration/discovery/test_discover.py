"""`POST /connectors/discover` of the served gateway, with a real DNS server, a real web server and a real Dovecot."""

import ipaddress
import shutil
import ssl
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from app.adapters.autoconfig_client import MAX_OCTETS, AutoconfigClient
from app.adapters.network import NetworkPolicy
from app.services.discovery.discovery import FOREIGN
from tests.support.callers import Callers
from tests.support.served_gateway import served_gateway
from tests.unit.discovery.test_autoconfig import FILE
from tools.servers.dns import DnsServer
from tools.servers.dovecot import Dovecot
from tools.servers.http_receiver import Answer, HttpReceiver

NUMBERS = count()
AUTHORITY = trustme.CA()


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="module")
def client(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, dns: DnsServer, dovecot: Dovecot
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("discover")
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    assert dovecot.certificates is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(dovecot.certificates.authority_file))
        url = f"sqlite:///{folder / 'gateway.db'}"
        server = f"{dns.host}:{dns.port}"
        with served_gateway(url, folder, RUN_JOBS="false", DNS_SERVERS=server) as made:
            yield made


def discover(client: httpx.Client, address: str) -> list[dict[str, Any]]:
    headers = Callers.user(f"user-{next(NUMBERS)}")
    answer = client.post("/connectors/discover", json={"email_address": address}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["candidates"]
    return found


def test_a_known_providers_address_needs_no_question(client: httpx.Client, dns: DnsServer) -> None:
    [found] = discover(client, "Jana.Novakova@Seznam.CZ")
    assert found["source"] == "preset"
    assert found["imap"] == {
        "host": "imap.seznam.cz",
        "port": 993,
        "security": "tls",
        "username": "Jana.Novakova@Seznam.CZ",
    }
    assert not any("seznam" in name for name in dns.questions)


def test_a_customers_domain_is_known_by_who_receives_its_mail(client: httpx.Client, dns: DnsServer) -> None:
    dns.add("google-customer.test", "MX", "10 aspmx.l.google.com.")
    [found] = discover(client, "info@google-customer.test")
    assert (found["source"], found["imap"]["host"]) == ("mx", "imap.gmail.com")
    assert found["auth"] == ["app_password"]
    assert found["foreign"] is False


def test_what_the_dns_names_can_be_connected_as_it_is(
    client: httpx.Client, dns: DnsServer, dovecot: Dovecot
) -> None:
    dns.add("_imaps._tcp.firma.test", "SRV", f"0 1 {dovecot.tls_port} localhost.", "0 0 0 .")
    dns.add("_imap._tcp.firma.test", "SRV", "0 0 0 .")
    dns.add("_submission._tcp.firma.test", "SRV", "20 1 587 late.firma.test.", "10 1 587 smtp.firma.test.")
    [found] = discover(client, dovecot.new_user())
    assert found["source"] == "srv"
    assert (found["smtp"]["host"], found["smtp"]["security"]) == ("smtp.firma.test", "starttls")
    assert found["foreign"] is True
    assert found["hint"] == FOREIGN
    body = {
        "imap": found["imap"],
        "credentials": {"type": "password", "password": dovecot.password},
    }
    tested = client.post("/connectors/test", json=body, headers=Callers.user("tester")).json()
    assert tested["ok"] is True


def test_only_the_domain_is_asked_for(client: httpx.Client, dns: DnsServer) -> None:
    discover(client, "very-private-name@nowhere.test")
    assert any("nowhere.test" in name for name in dns.questions)
    assert not any("very-private-name" in name for name in dns.questions)


@pytest.mark.parametrize(
    "address",
    [
        "info@nowhere.test",
        "info@háčky.test",
        f"info@{'a' * 70}.test",
        "info@x..y",
        "info@[::1",
        "info@a:b.test",
        "info@%00.test",
        "info@-.test",
        "info@xn--.test",
    ],
)
def test_a_domain_without_servers_has_no_candidates(client: httpx.Client, address: str) -> None:
    assert discover(client, address) == []


def test_a_dns_that_hangs_ends_in_time(client: httpx.Client, dns: DnsServer) -> None:
    dns.silent |= {
        "silent.test",
        *(f"{name}.silent.test" for name in ("_imaps._tcp", "imap", "mail", "autoconfig")),
    }
    began = time.monotonic()
    assert discover(client, "info@silent.test") == []
    # The limit is 10 s; without one each of these names would take as long.
    assert time.monotonic() - began < 40


def test_a_caller_may_look_for_ten_in_a_minute(client: httpx.Client) -> None:
    headers = Callers.user("curious")
    answers = [
        client.post("/connectors/discover", json={"email_address": "a@seznam.cz"}, headers=headers)
        for _ in range(11)
    ]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


class TestTheFile:
    """Over HTTPS, at a port of the tests."""

    DOMAIN = "firma.test"

    @pytest.fixture
    def web(self) -> Iterator[HttpReceiver]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        AUTHORITY.issue_cert(
            *(f"{name}firma.test" for name in ("autoconfig.", "www.", "", "not")), "evil.example"
        ).configure_cert(context)
        with HttpReceiver(context) as receiver:
            yield receiver

    def load(self, web: HttpReceiver, *, resolves_to: str = "127.0.0.1") -> bytes | None:
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)

        network = NetworkPolicy((ipaddress.ip_network("127.0.0.0/8"),), (443,), lambda _: [resolves_to])
        client = AutoconfigClient(network, context, port=web.port)
        return client.load(client.addresses(self.DOMAIN)[0], self.DOMAIN, timeout_s=30)

    def test_is_loaded_without_the_address(self, web: HttpReceiver) -> None:
        web.answer_with(Answer(200, FILE.encode()))
        assert self.load(web) == FILE.encode()
        [request] = web.requests
        assert request.path == "/mail/config-v1.1.xml"
        assert request.headers["host"] == f"autoconfig.firma.test:{web.port}"

    def test_may_lie_elsewhere_in_the_domain(self, web: HttpReceiver) -> None:
        moved = f"https://www.firma.test:{web.port}/config.xml"
        web.answer_with(Answer(301, headers=(("Location", moved),)), Answer(200, b"<x/>"))
        assert self.load(web) == b"<x/>"

    @pytest.mark.parametrize(
        "place",
        [
            "https://evil.example:{port}/x",
            "https://notfirma.test:{port}/x",
            "http://www.firma.test:{port}/x",
            "https://www.firma.test:1/x",
            "https://firma.test@127.0.0.1:{port}/x",
            "https://[::1/x",
        ],
    )
    def test_is_not_followed_out_of_the_domain(self, web: HttpReceiver, place: str) -> None:
        web.answer_with(
            Answer(302, headers=(("Location", place.format(port=web.port)),)), Answer(200, b"<x/>")
        )
        assert self.load(web) is None
        assert len(web.requests) == 1

    def test_is_not_followed_for_ever(self, web: HttpReceiver) -> None:
        web.redirect_to(f"https://www.firma.test:{web.port}/x")
        assert self.load(web) is None
        assert len(web.requests) == 4

    def test_has_64_kilobytes_at_most(self, web: HttpReceiver) -> None:
        web.answer_with(Answer(200, b" " * MAX_OCTETS))
        assert self.load(web) == b" " * MAX_OCTETS
        web.answer_with(Answer(200, b" " * (MAX_OCTETS + 1)))
        assert self.load(web) is None

    def test_is_not_asked_for_at_a_forbidden_address(self, web: HttpReceiver) -> None:
        web.answer_with(Answer(200, b"<x/>"))
        assert self.load(web, resolves_to="10.1.2.3") is None
        assert web.requests == []
