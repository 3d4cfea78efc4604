"""One caller, one mailbox or one hostile server stops, slows or fills nothing for others."""

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from app.config import Settings
from app.services.sending.sender import THREADS
from tests.attacks.world import MAIL, WAIT_S, Attacked, server_at, somebody
from tools.servers.process import wait_until
from tools.servers.scripted_imap import ScriptedImap
from tools.servers.silent import SilentServer
from tools.servers.smtp import SmtpServer

SETTINGS = {"COMMAND_TIMEOUT_S": "600", "CONNECT_TIMEOUT_S": "600"}
"""So that what hangs here hangs as long as its server wants."""
FETCH_THREADS = Settings.model_fields["fetch_threads"].default
STREAMS = Settings.model_fields["waiting_per_caller"].default
LINES = 5


@pytest.fixture(scope="module")
def without_a_request(attacked: Attacked) -> Iterator[list[socket.socket]]:
    """Connections that say nothing, and some that never end their head."""
    with contextlib.ExitStack() as stack:
        lines = []
        for number in range(LINES):
            address = ("127.0.0.1", attacked.client.base_url.port)
            line = stack.enter_context(socket.create_connection(address, timeout=WAIT_S))
            if number % 2:
                line.sendall(b"GET /health/live HTTP/1.1\r\nX-Slow: ")
            lines.append(line)
        yield lines


@pytest.mark.usefixtures("without_a_request")
def test_silent_servers_of_one_owner_do_not_stop_the_mail_of_another(
    attacked: Attacked, imap: ScriptedImap, smtp_server: SmtpServer
) -> None:
    owner, bob = somebody("bob")
    greeting = b"220 ready\r\n"
    with SilentServer(greeting) as one, SilentServer(greeting) as two, SilentServer(greeting) as three:
        ids = []
        for server in (one, two, three) * 8:
            made = attacked.connected(bob, imap, owner, smtp=server_at(server.port, "bob"))
            ids.append(attacked.submit(made["id"], bob))

        def states() -> Counter[str]:
            return Counter(attacked.well("GET", f"/submissions/{each}", bob)["status"] for each in ids)

        wait_until(lambda: states()["sending"] >= THREADS // 2, WAIT_S, "submissions that hang")
        name, jana = somebody("jana")
        mine = attacked.connected(jana, imap, name, smtp=server_at(smtp_server.port, "jana"))
        sent = attacked.submit(mine["id"], jana)
        path = f"/submissions/{sent}"
        wait_until(lambda: attacked.well("GET", path, jana)["status"] == "sent", WAIT_S, "the mail")
        # All of it while they hang: no attempt has ended, so no further one has begun, and a quarter of the threads is left.
        assert states()["sending"] >= THREADS // 2
        assert one.accepted + two.accepted + three.accepted <= THREADS * 3 // 4
        for each in ids:
            attacked.call("DELETE", f"/submissions/{each}", bob)


def test_silent_mailboxes_of_one_owner_do_not_stop_the_fetching_of_another(
    attacked: Attacked, imap: ScriptedImap
) -> None:
    owner, bob = somebody("bob")
    with SilentServer(b"* OK ready\r\n") as one, SilentServer(b"* OK ready\r\n") as two:
        for number in range(3 * FETCH_THREADS):
            server = one if number % 2 else two
            attacked.connected(bob, imap, owner, imap=server_at(server.port, f"b{number}"))
        wait_until(lambda: one.accepted + two.accepted >= FETCH_THREADS // 2, WAIT_S, "cycles that hang")
        name, jana = somebody("jana")
        imap.inbox.add(MAIL % 1)
        made = attacked.connected(jana, imap, name)
        path = f"/messages?connector_id={made['id']}"
        wait_until(lambda: len(attacked.well("GET", path, jana)["data"]) == 1, WAIT_S, "the mail")
        assert one.accepted + two.accepted <= FETCH_THREADS * 3 // 4


def test_one_caller_has_so_many_streams_and_another_has_theirs(attacked: Attacked) -> None:
    _, bob = somebody("bob")
    _, jana = somebody("jana")
    client = attacked.client
    with contextlib.ExitStack() as streams:
        for _ in range(STREAMS):
            stream = streams.enter_context(client.stream("GET", "/events/stream", headers=bob))
            assert stream.status_code == 200
        for path in ("/events/stream", "/events?wait_s=1", "/messages?wait_s=1"):
            refused = client.get(path, headers=bob)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests"), path
            assert int(refused.headers["Retry-After"]) > 0
        assert client.get("/events", headers=bob).status_code == 200
        assert streams.enter_context(client.stream("GET", "/events/stream", headers=jana)).status_code == 200


def test_connections_without_a_request_are_closed_by_the_command_that_serves(
    without_a_request: list[socket.socket],
) -> None:
    for line in without_a_request:
        with contextlib.suppress(ConnectionError):
            assert line.recv(1) == b""
