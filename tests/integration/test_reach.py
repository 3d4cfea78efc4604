"""No caller uses the gateway to reach what they should not: over HTTP, with ports that somebody listens on.

However an address is spelled and whatever a name answers, and however its answers change, nothing is connected to
but what is permitted; and of what is not, nobody learns whether it is there.
"""

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.adapters import smtp
from app.adapters.network import NetworkPolicy
from app.errors import MailServerError
from app.gateway import Gateway
from app.main import create_app
from tests.support.callers import Callers
from tests.support.settings import SettingsFactory
from tests.unit.adapters.test_network import SPELLINGS
from tools.servers.listener import Listener, on_one_port
from tools.servers.process import free_port

ADMIN = Callers.user("administrator", admin=True)
NAME = "mail.names.test"
PASSWORD = {"type": "password", "password": "not to be sent anywhere"}
ALLOWED, FORBIDDEN = "127.0.0.2", "127.0.0.1"
_numbers = itertools.count()
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Names:
    """The resolver's answers for one name: these addresses in turn, then always the last one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers: list[Sequence[str]] = []
        self.asked = 0
        self._ask = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def answer(self, *answers: str | Sequence[str]) -> None:
        """An answer is one address or several."""
        self._answers = [[each] if isinstance(each, str) else each for each in answers]

    def _answer(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != NAME:
            return self._ask(host, port, *arguments, **options)
        self.asked += 1
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [entry for each in addresses for entry in self._ask(each, port, *arguments, **options)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@contextlib.contextmanager
def gateway_over(settings: SettingsFactory, *networks: str, port: int) -> Iterator[TestClient]:
    """The gateway; mail servers and webhooks may be on this port, so that it is the address that decides."""
    with TestClient(
        create_app(settings(allowed_private_networks=",".join(networks), mail_ports=str(port)))
    ) as made:
        app: Any = made.app
        policy = app.state.gateway.webhook_network
        app.state.gateway = replace(
            app.state.gateway, webhook_network=NetworkPolicy(policy.allowed_private_networks)
        )
        yield made


def server(host: str, port: int, security: str = "tls") -> dict[str, Any]:
    return {"host": host, "port": port, "security": security, "username": "jana"}


def somebody(*, admin: bool = False) -> dict[str, str]:
    """A caller who has tried nothing yet."""
    return Callers.user(f"user-{next(_numbers)}", admin=admin)


def tried(client: TestClient, imap: dict[str, Any]) -> Any:
    """The answer to a try of this server."""
    body = {"imap": imap, "credentials": PASSWORD}
    return client.post("/connectors/test", json=body, headers=somebody())


def submitted(client: TestClient, server: dict[str, Any]) -> MailServerError:
    """How a login to this server over SMTP fails. Not over HTTP: a try asks there only after IMAP let it in."""
    app: Any = client.app
    gateway: Gateway = app.state.gateway
    limits = smtp.Limits(connect_s=2, command_s=2, attempt_s=2)
    with pytest.raises(MailServerError) as failed:
        smtp.check(
            smtp.Server(**server, password=PASSWORD["password"]),
            network=gateway.mail_network,
            tls=gateway.tls,
            limits=limits,
        )
    return failed.value


def fetched(client: TestClient, imap: dict[str, Any]) -> str | None:
    """The error of a cycle of a connector to this server. None: the connector was not even stored."""
    headers = somebody(admin=True)
    body = {
        "name": "Mail",
        "kind": "shared",
        "email_address": "info@firma.cz",
        "imap": imap,
        "credentials": PASSWORD,
    }
    made = client.post("/connectors", json=body, headers=headers)
    if made.status_code == 422:
        return None
    path = f"/connectors/{made.json()['id']}"
    answer = client.post(f"{path}/fetch", headers=headers)
    assert answer.status_code == 200, answer.text
    cycle = answer.json()
    assert client.delete(path, headers=headers).status_code == 204
    return str(cycle["error"]["code"])


def delivered(client: TestClient, url: str) -> Any:
    """The outcome of a test event. None: the webhook was not even stored."""
    headers = somebody(admin=True)
    made = client.post("/webhooks", json={"url": url}, headers=headers)
    if made.status_code == 422:
        return None
    answer = client.post(f"/webhooks/{made.json()['id']}/test", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


HOSTS = (
    *SPELLINGS,
    "[::1]",
    "[::ffff:127.0.0.1]",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::127.0.0.1",
    "127.0.0.1.",
    "LOCALHOST",
)
URLS = (
    *(f"{host}:{{port}}/" for host in SPELLINGS if ":" not in host),
    *(f"[{host}]:{{port}}/" for host in ("::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1")),
    "user@127.0.0.1:{port}/",
    "crm.firma.invalid@127.0.0.1:{port}/",
    "127.0.0.1:{port}\\@crm.firma.invalid/",
    "crm.firma.invalid:443\\@127.0.0.1:{port}/",
    "127.0.0.1:{port}#@crm.firma.invalid/",
    "127.0.0.1%00.crm.firma.invalid:{port}/",
    "%31%32%37.0.0.1:{port}/",
    "127.0.0.1.:{port}/",
    "LOCALHOST:{port}/",
)


def test_no_spelling_of_an_address_is_connected_to(settings: SettingsFactory) -> None:
    with (
        on_one_port("127.0.0.1", "::1") as (v4, v6),
        gateway_over(settings, port=v4.port) as client,
    ):
        for host in HOSTS:
            asked = server(host, v4.port)
            assert submitted(client, asked).code == "host_unreachable", host
            answer = tried(client, asked)
            if answer.status_code == 200:
                assert answer.json()["imap"]["code"] == "host_unreachable", host
            else:
                assert answer.status_code == 422, (host, answer.text)
            assert fetched(client, asked) in {None, "host_unreachable"}, host
        for rest in URLS:
            for scheme in ("https", "http"):
                report = delivered(client, f"{scheme}://{rest.format(port=v4.port)}")
                assert report in (
                    None,
                    {"ok": False, "response_status": None, "error_code": "host_unreachable"},
                )
        assert (v4.accepted, v6.accepted) == (0, 0)


@pytest.mark.parametrize("security", ["tls", "none"])
def test_a_name_that_changes_its_answer_gains_nothing(
    settings: SettingsFactory, names: Names, security: str
) -> None:
    with (
        on_one_port(ALLOWED, FORBIDDEN) as (allowed, forbidden),
        gateway_over(settings, f"{ALLOWED}/32", port=allowed.port) as client,
    ):
        asked = server(NAME, allowed.port, security)
        url = f"{'https' if security == 'tls' else 'http'}://{NAME}:{allowed.port}/"
        # However many answers are good before the first bad one: some lie between the check and the connection.
        for good in range(6):
            for attempt in (
                lambda: tried(client, asked),
                lambda: submitted(client, asked),
                lambda: fetched(client, asked),
                lambda: delivered(client, url),
            ):
                names.answer(*[ALLOWED] * good, FORBIDDEN)
                attempt()
        assert forbidden.accepted == 0
        assert allowed.accepted > 0
        assert names.asked > 6


def test_of_several_addresses_only_permitted_ones_are_connected_to(
    settings: SettingsFactory, names: Names
) -> None:
    with (
        on_one_port(ALLOWED, FORBIDDEN) as (allowed, forbidden),
        gateway_over(settings, f"{ALLOWED}/32", port=allowed.port) as client,
    ):
        asked = server(NAME, allowed.port)
        for answer in ([FORBIDDEN, ALLOWED], [ALLOWED, FORBIDDEN], ["::ffff:" + FORBIDDEN, ALLOWED]):
            names.answer(answer)
            before = allowed.accepted
            assert tried(client, asked).json()["imap"]["code"] == "connection_lost"
            submitted(client, asked)
            delivered(client, f"https://{NAME}:{allowed.port}/")
            assert allowed.accepted > before
        assert forbidden.accepted == 0


def test_what_is_forbidden_and_what_does_not_exist_look_alike(
    settings: SettingsFactory, names: Names
) -> None:
    with (
        Listener(FORBIDDEN) as forbidden,
        gateway_over(settings, f"{ALLOWED}/32", port=forbidden.port) as client,
    ):
        asked = server(NAME, forbidden.port)
        bodies: dict[str | None, set[str]] = {}
        durations: dict[str | None, list[float]] = {}
        for address in (FORBIDDEN, None) * 7:
            names.answer(address if address is not None else [])
            began = time.perf_counter()
            answer = tried(client, asked)
            durations.setdefault(address, []).append(time.perf_counter() - began)
            report = delivered(client, f"https://{NAME}:{forbidden.port}/")
            bodies.setdefault(address, set()).add(f"{answer.status_code} {answer.text} {report}")
        assert forbidden.accepted == 0
        assert bodies[FORBIDDEN] == bodies[None]
        assert len(bodies[None]) == 1
        # Not to the millisecond, but no timeout distinguishes the two.
        # Take the quickest of each: other work of the machine slows the others down.
        quickest = {address: min(each) for address, each in durations.items()}
        assert abs(quickest[FORBIDDEN] - quickest[None]) < max(0.25, quickest[None])


@pytest.mark.parametrize(
    "greeting",
    [
        b"* OK canary\r\n",
        b"* BYE canary\r\n",
        b"* PREAUTH canary\r\n",
        b"* OK [ALERT] canary\r\n* BYE canary\r\n",
        b"220 canary ESMTP\r\n",
        b"220 x\r\n421 4.3.2 canary\r\n",
        b"554-canary\r\n554 canary\r\n",
        b"+OK canary\r\n",
        b"SSH-2.0-canary\r\n",
        b"HTTP/1.1 200 canary\r\nX-Canary: canary\r\n\r\ncanary",
        b"\xffcanary" * 1000,
    ],
)
def test_what_a_server_says_is_not_repeated(settings: SettingsFactory, greeting: bytes) -> None:
    with (
        Listener(ALLOWED, greeting=greeting) as listener,
        gateway_over(settings, f"{ALLOWED}/32", port=listener.port) as client,
    ):
        for security in ("tls", "starttls", "none"):
            asked = server(ALLOWED, listener.port, security)
            answer = tried(client, asked)
            assert (answer.status_code, answer.json()["ok"]) == (200, False)
            assert "canary" not in answer.text.lower()
            assert "canary" not in submitted(client, asked).detail.lower()
        for scheme in ("https", "http"):
            assert "canary" not in str(delivered(client, f"{scheme}://{ALLOWED}:{listener.port}/"))
        assert listener.accepted >= 7


def test_a_caller_tries_ten_times_a_minute_whatever_it_is_that_is_tried(settings: SettingsFactory) -> None:
    port = free_port()
    with gateway_over(settings, f"{ALLOWED}/32", port=port) as client:
        asked = {"imap": server(ALLOWED, port), "credentials": PASSWORD}
        made = {"name": "Mail", "kind": "shared", "email_address": "info@firma.cz", **asked}
        path = f"/connectors/{client.post('/connectors', json=made, headers=ADMIN).json()['id']}"
        hook = client.post("/webhooks", json={"url": f"http://{ALLOWED}:{port}/"}, headers=ADMIN).json()
        tries: tuple[Callable[[], Any], ...] = (
            lambda: client.post("/connectors/test", json=asked, headers=ADMIN),
            lambda: client.post(f"{path}/test", headers=ADMIN),
            lambda: client.get(f"{path}/folders", headers=ADMIN),
            lambda: client.post(f"/webhooks/{hook['id']}/test", headers=ADMIN),
        )
        statuses = [each().status_code for _ in range(3) for each in tries]
        assert statuses == [200, 200, 503, 200] * 2 + [200, 200, 429, 429]
        assert {each().status_code for each in tries} == {429}
        assert client.post(f"{path}/test", headers=somebody(admin=True)).status_code == 200
