"""Requests that wait for another party's server hold up nobody except their own caller."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.services.connectors import checks
from tests.support.callers import Callers, UserHeaders, bearer, user_token
from tests.support.connector_bodies import PASSWORD
from tests.support.served_gateway import served_gateway
from tests.support.settings import SettingsFactory
from tools.servers.process import wait_until
from tools.servers.silent import SilentServer

WAIT_S = 60.0
PER_CALLER, PER_SERVER, THREADS = 3, 5, 8
GREETING = b"* OK [CAPABILITY IMAP4rev1] ready\r\n"
CALLS = 45
"""More than the framework has threads."""


@pytest.fixture(scope="module")
def gateway_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A served gateway without its jobs: nothing but requests connects anywhere."""
    folder = tmp_path_factory.mktemp("server-requests")
    with served_gateway(
        f"sqlite:///{folder / 'gateway.db'}",
        folder,
        RUN_JOBS="false",
        COMMAND_TIMEOUT_S="600",  # what hangs here hangs as long as its server wants
        SERVER_REQUESTS=str(THREADS),
        SERVER_REQUESTS_PER_CALLER=str(PER_CALLER),
        SERVER_REQUESTS_PER_SERVER=str(PER_SERVER),
    ) as client:
        yield client


def user(name: str) -> dict[str, str]:
    return bearer(user_token(name))


def connected(client: httpx.Client, owner: str, server: SilentServer) -> str:
    """The id of a new connector of theirs at the server."""
    body = {
        "name": owner,
        "kind": "personal",
        "owner": owner,
        "email_address": f"{owner}@firma.cz",
        "imap": {"host": server.host, "port": server.port, "security": "none", "username": owner},
        "credentials": PASSWORD,
        "first_fetch": "all",
    }
    answer = client.post("/connectors", json=body, headers=user(owner))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


class Waiting:
    """Requests under way in threads of their own; a server that ends sends all of them home."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(100)
        self.futures: list[Future[httpx.Response]] = []

    def post(
        self,
        client: httpx.Client,
        path: str,
        owner: str,
        times: int = 1,
        headers: dict[str, str] | None = None,
    ) -> list[Future[httpx.Response]]:
        def call() -> httpx.Response:
            return client.post(path, headers=headers or user(owner), timeout=WAIT_S)

        sent = [self._pool.submit(call) for _ in range(times)]
        self.futures += sent
        return sent

    def answered(self) -> list[httpx.Response]:
        return [future.result() for future in self.futures if future.done()]

    def pending(self) -> int:
        return sum(not future.done() for future in self.futures)

    def end(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    made = Waiting()
    yield made
    made.end()


def require_refusals(answers: list[httpx.Response], status: int, code: str) -> None:
    assert {each.status_code for each in answers} == {status}
    assert {each.json()["code"] for each in answers} == {code}
    assert all(int(each.headers["Retry-After"]) > 0 for each in answers)


def test_one_callers_hanging_fetches_leave_others_alone(
    gateway_client: httpx.Client, waiting: Waiting
) -> None:
    with SilentServer(GREETING) as server:
        connector = connected(gateway_client, "bob", server)
        waiting.post(gateway_client, f"/connectors/{connector}/fetch", "bob", CALLS)
        wait_until(lambda: waiting.pending() == PER_CALLER, WAIT_S, "the refusals")
        require_refusals(waiting.answered(), 429, "too_many_requests")
        assert gateway_client.get("/health/live").status_code == 200
        assert gateway_client.get("/health/ready").status_code == 200
        assert gateway_client.get("/connectors", headers=user("jana")).status_code == 200
        # All of it while they hang.
        assert waiting.pending() == PER_CALLER
        assert server.accepted == 1


def test_a_caller_who_waits_no_more_may_call_again(gateway_client: httpx.Client, waiting: Waiting) -> None:
    with SilentServer(GREETING) as server:
        connector = connected(gateway_client, "petr", server)
        waiting.post(gateway_client, f"/connectors/{connector}/fetch", "petr", PER_CALLER)
        wait_until(lambda: server.accepted == 1, WAIT_S, "a connection")
    wait_until(lambda: waiting.pending() == 0, WAIT_S, "the end of the calls")
    again = gateway_client.post(f"/connectors/{connector}/fetch", headers=user("petr"))
    assert again.status_code == 200
    assert again.json()["outcome"] == "failed"


def test_one_server_that_hangs_leaves_the_others_alone(
    gateway_client: httpx.Client, waiting: Waiting
) -> None:
    with SilentServer(GREETING) as hanging, SilentServer(GREETING) as other:
        for number in range(PER_SERVER + 2):
            name = f"eva{number}"
            connector = connected(gateway_client, name, hanging)
            waiting.post(gateway_client, f"/connectors/{connector}/fetch", name)
        wait_until(lambda: waiting.pending() == PER_SERVER, WAIT_S, "the refusals")
        require_refusals(waiting.answered(), 503, "overloaded")
        # There is a thread for somebody else's server.
        elsewhere = connected(gateway_client, "ivo", other)
        waiting.post(gateway_client, f"/connectors/{elsewhere}/fetch", "ivo")
        wait_until(lambda: other.accepted == 1, WAIT_S, "a connection")


def test_when_all_threads_are_taken_nobody_is_queued(gateway_client: httpx.Client, waiting: Waiting) -> None:
    with contextlib.ExitStack() as servers:
        for number in range(THREADS + 3):
            name = f"jan{number}"
            connector = connected(gateway_client, name, servers.enter_context(SilentServer(GREETING)))
            waiting.post(gateway_client, f"/connectors/{connector}/fetch", name)
        wait_until(lambda: waiting.pending() == THREADS, WAIT_S, "the refusals")
        require_refusals(waiting.answered(), 503, "overloaded")
        assert gateway_client.get("/health/live").status_code == 200
        assert waiting.pending() == THREADS


@pytest.mark.parametrize("route", ["test", "folders"])
def test_tests_and_folders_hang_alone(gateway_client: httpx.Client, waiting: Waiting, route: str) -> None:
    with SilentServer() as server:
        name = f"ota-{route}"
        connector = connected(gateway_client, name, server)
        method = "GET" if route == "folders" else "POST"

        def call() -> httpx.Response:
            return gateway_client.request(method, f"/connectors/{connector}/{route}", headers=user(name))

        with ThreadPoolExecutor(CALLS) as pool:
            futures = [pool.submit(call) for _ in range(CALLS)]
            wait_until(lambda: sum(not each.done() for each in futures) == PER_CALLER, WAIT_S, "the refusals")
            refused = [each.result() for each in futures if each.done()]
            require_refusals(refused, 429, "too_many_requests")
            assert gateway_client.get("/health/live").status_code == 200
            assert server.accepted <= CALLS - len(refused)
            server.hang_up()


def test_a_receiver_of_webhooks_that_hangs_holds_up_its_caller_alone(
    gateway_client: httpx.Client, waiting: Waiting
) -> None:
    admin = Callers.user("administrator", admin=True)
    with SilentServer() as receiver:
        url = f"http://{receiver.host}:{receiver.port}/"
        hook = gateway_client.post("/webhooks", json={"url": url}, headers=admin).json()
        waiting.post(gateway_client, f"/webhooks/{hook['id']}/test", "administrator", CALLS, headers=admin)
        wait_until(lambda: waiting.pending() == PER_CALLER, WAIT_S, "the refusals")
        require_refusals(waiting.answered(), 429, "too_many_requests")
        assert gateway_client.get("/health/live").status_code == 200
        assert gateway_client.get("/connectors", headers=user("jana")).status_code == 200
        assert receiver.accepted <= CALLS - len(waiting.answered())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_test_ends_by_its_deadline_however_slowly_the_server_answers(
    monkeypatch: pytest.MonkeyPatch, settings: SettingsFactory, as_user: UserHeaders
) -> None:
    monkeypatch.setattr(checks, "DEADLINE_S", 0.5)
    app = create_app(settings(command_timeout_s=60))
    with (
        SilentServer(b"* OK [CAPABILITY IMAP4rev1] hi\r\n", drips=True) as server,
        TestClient(app, base_url="http://localhost") as client,
    ):
        body = {
            "imap": {"host": server.host, "port": server.port, "security": "none", "username": "u"},
            "credentials": PASSWORD,
        }
        begun = time.monotonic()
        report = client.post("/connectors/test", json=body, headers=as_user("bob")).json()
        took_s = time.monotonic() - begun
    assert report["imap"]["code"] == "mail_server_timeout"
    # One command alone may take twice as long as this.
    assert took_s < 30
