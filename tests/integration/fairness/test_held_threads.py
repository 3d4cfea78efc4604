"""Requests that wait for the parser, or for a server of names, hold up nobody except their own caller."""

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.adapters import identity
from app.gateway import Gateway
from app.main import create_app
from tests.support.callers import Callers
from tests.support.live_gateway import serving
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import connector, store, with_attachment
from tools.servers.process import wait_until
from tools.servers.silent import SilentServer

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

WAIT_S = 60.0
PER_CALLER = 3
CALLS = 45
"""More than the framework has threads."""
SLOW_NAME = "imap.slow.example"
BOB, JANA = Callers.user("bob"), Callers.user("jana")
ADMIN = Callers.user("administrator", admin=True)


@pytest.fixture
def live(settings: SettingsFactory) -> Iterator[tuple[httpx.Client, Gateway]]:
    app = create_app(settings(server_requests_per_caller=PER_CALLER))
    with serving(app) as client:
        client.timeout = httpx.Timeout(WAIT_S)
        yield client, app.state.gateway


@contextlib.contextmanager
def many_at_once(send: Any) -> Iterator[list[Future[httpx.Response]]]:
    with ThreadPoolExecutor(CALLS) as pool:
        yield [pool.submit(send, number) for number in range(CALLS)]


def pending(calls: list[Future[httpx.Response]]) -> int:
    return sum(not call.done() for call in calls)


def require_others_are_served(client: httpx.Client) -> None:
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 200
    assert client.get("/connectors", headers=JANA).status_code == 200


def test_attachments_wait_for_the_parser_without_a_thread_and_all_of_them_come(
    live: tuple[httpx.Client, Gateway],
) -> None:
    client, gateway = live
    mailbox = connector(gateway, owner="bob")
    [message_id] = store(gateway, mailbox, with_attachment("attachment; filename=a.pdf"))
    path = f"/messages/{message_id}/attachments/1"
    with contextlib.ExitStack() as parsers:
        for _ in range(gateway.settings.fetch_threads):
            parsers.enter_context(gateway.parsers._checked_out())  # no parser is free
        with many_at_once(lambda _: client.get(path, headers=BOB)) as calls:
            require_others_are_served(client)
            assert pending(calls) == CALLS
            parsers.close()
            assert {call.result().status_code for call in calls} == {200}


class SlowNames:
    """Names that a server of names answers only in the end; others as ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.answered = threading.Event()
        self._ask = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: Any, *args: Any, **more: Any) -> Any:
        if host == SLOW_NAME:
            self.asked += 1
            assert self.answered.wait(WAIT_S)
            raise socket.gaierror
        return self._ask(host, *args, **more)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "POST a webhook", "PATCH a webhook"])
def test_a_server_of_names_that_does_not_answer_holds_up_its_caller_alone(
    live: tuple[httpx.Client, Gateway], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    client, gateway = live
    names = SlowNames(monkeypatch)
    mailbox = connector(gateway, owner="bob")
    whole = {
        "name": "New",
        "kind": "personal",
        "owner": "bob",
        "email_address": "bob@firma.cz",
        "imap": {"host": SLOW_NAME, "username": "bob"},
    }

    hook = {"url": f"http://{SLOW_NAME}/hook"}
    made = client.post("/webhooks", json={"url": "https://receiver.example/hook"}, headers=ADMIN).json()

    def send(number: int) -> httpx.Response:
        path, body, headers = {
            "POST": ("/connectors", whole, BOB),
            "PUT": (f"/connectors/by-external-id/{number}", whole, BOB),
            "PATCH": (f"/connectors/{mailbox.id}", {"imap": {"host": SLOW_NAME}}, BOB),
            "POST a webhook": ("/webhooks", hook, ADMIN),
            "PATCH a webhook": (f"/webhooks/{made['id']}", hook, ADMIN),
        }[method]
        return client.request(method.split(maxsplit=1)[0], path, json=body, headers=headers)

    with many_at_once(send) as calls:
        try:
            wait_until(lambda: pending(calls) == PER_CALLER, WAIT_S, "the refusals")
            require_others_are_served(client)
            refused = [call.result() for call in calls if call.done()]
            assert {(each.status_code, each.json()["code"]) for each in refused} == {
                (429, "too_many_requests")
            }
            assert all(int(each.headers["Retry-After"]) > 0 for each in refused)
            # What asks for no name goes on.
            renamed = client.patch(f"/connectors/{mailbox.id}", json={"name": "Renamed"}, headers=BOB)
            assert renamed.status_code == 200
            assert (pending(calls), names.asked) == (PER_CALLER, PER_CALLER)
        finally:
            names.answered.set()


def test_keys_that_nobody_knows_hold_a_few_threads_while_their_provider_hangs(
    settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "JWKS_TIMEOUT_S", WAIT_S)
    header = base64.urlsafe_b64encode(b'{"alg": "ES256", "kid": "nobody knows"}').decode().rstrip("=")
    with SilentServer() as provider:
        url = f"http://127.0.0.1:{provider.port}/keys"
        made = settings(jwt_secret=None, jwt_jwks_url=url, jwt_issuer="i", jwt_audience="a")
        with serving(create_app(made)) as client:
            client.timeout = httpx.Timeout(WAIT_S)

            def send(_: int) -> httpx.Response:
                return client.get("/connectors", headers={"Authorization": f"Bearer {header}.e30.AAAA"})

            with many_at_once(send) as calls:
                wait_until(lambda: pending(calls) == identity.JWKS_WAITING, WAIT_S, "the refusals")
                assert client.get("/health/live").status_code == 200
                assert client.get("/health/ready").status_code == 200
                refused = [call.result() for call in calls if call.done()]
                assert {(each.status_code, each.json()["code"]) for each in refused} == {(503, "overloaded")}
                assert (pending(calls), provider.accepted) == (identity.JWKS_WAITING, 1)
                provider.hang_up()
            assert {call.result().status_code for call in calls} == {401, 503}
