"""Bodies as clients really send them, over sockets to the served gateway: too large, without a length, with a
false one, nested without end."""

import contextlib
import http.client
import json
import os
import re
import select
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app import request_bodies
from app.gateway import Gateway
from app.main import create_app
from app.octet_budget import OctetBudget
from app.request_bodies import MAX_BODY_OCTETS
from tests.support import stored_mail
from tests.support.callers import Callers
from tests.support.live_gateway import serving
from tests.support.settings import SettingsFactory
from tools.servers.process import wait_until

# What is tested happens before any database is asked.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MIB = 1024 * 1024
LARGEST = 3 * MIB
AUTHORIZATION = Callers.user("jana", groups=["orders"])["Authorization"]


@pytest.fixture
def application(settings: SettingsFactory) -> FastAPI:
    return create_app(
        settings(
            max_request_octets=LARGEST, bodies_octets_per_caller=2 * LARGEST, bodies_octets=3 * LARGEST + MIB
        )
    )


@pytest.fixture
def budget(application: FastAPI) -> OctetBudget:
    gateway: Gateway = application.state.gateway
    return gateway.bodies


@pytest.fixture
def served(application: FastAPI) -> Iterator[httpx.Client]:
    with serving(application) as client:
        yield client
        assert 'status="500"' not in client.get("/metrics").text


@pytest.fixture
def line(served: httpx.Client) -> Iterator[socket.socket]:
    """A connection to the gateway."""
    with socket.create_connection(("127.0.0.1", served.base_url.port or 0), timeout=20) as connection:
        yield connection


def head(method: str, path: str, *lines: str) -> bytes:
    """The head of a request; `lines` are further header lines."""
    common = ("Host: gateway", f"Authorization: {AUTHORIZATION}", "Content-Type: application/json")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *common, *lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(line: socket.socket) -> tuple[int, str, bytes]:
    """Status, content type and body of the next answer on the connection."""
    response = http.client.HTTPResponse(line)
    response.begin()
    return response.status, response.getheader("Content-Type", ""), response.read()


def send_until_answered(line: socket.socket, pieces: Iterable[bytes]) -> int:
    """Send piece by piece until the gateway has something to say; the octets sent."""
    sent = 0
    for piece in pieces:
        if select.select([line], [], [], 0)[0]:
            break
        line.sendall(piece)
        sent += len(piece)
    return sent


def assert_too_large(line: socket.socket) -> None:
    status, content_type, body = answer(line)
    problem = json.loads(body)
    assert (status, content_type) == (413, "application/problem+json")
    assert (problem["code"], problem["status"], len(problem["request_id"])) == ("too_large", 413, 32)


def resident_octets() -> int:
    """The memory that this process, gateway included, holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def padded(value: object, octets: int) -> bytes:
    """JSON of that size."""
    return json.dumps(value).encode().ljust(octets)


class TestSize:
    @pytest.mark.parametrize(
        ("path", "limit"),
        [("/connectors", MAX_BODY_OCTETS), ("/messages/delete", MAX_BODY_OCTETS), ("/submissions", LARGEST)],
    )
    def test_a_body_may_be_as_large_as_the_limit_and_no_larger(
        self, served: httpx.Client, path: str, limit: int
    ) -> None:
        headers = {"Authorization": AUTHORIZATION, "Content-Type": "application/json"}
        at_limit = served.post(path, content=padded({"x": 1}, limit), headers=headers)
        assert (at_limit.status_code, at_limit.json()["code"]) == (422, "invalid_input")
        above = served.post(path, content=padded({"x": 1}, limit + 1), headers=headers)
        assert (above.status_code, above.json()["code"]) == (413, "too_large")
        assert above.headers["x-request-id"] == above.json()["request_id"]

    def test_without_a_token_even_a_body_that_is_too_large_is_401(self, served: httpx.Client) -> None:
        answered = served.post("/connectors", content=padded({"x": 1}, MAX_BODY_OCTETS + 1))
        assert answered.status_code == 401

    def test_who_may_not_call_is_told_that_and_may_go_on(self, line: socket.socket) -> None:
        line.sendall(head("POST", "/webhooks", f"Content-Length: {2 * MIB}"))
        assert problem_of(line) == (403, "forbidden")
        line.sendall(b" " * (2 * MIB) + head("GET", "/health/live"))
        assert answer(line)[0] == 200

    def test_a_declared_length_is_refused_before_the_body_is_sent(self, line: socket.socket) -> None:
        line.sendall(head("POST", "/connectors", f"Content-Length: {MAX_BODY_OCTETS + 1}"))
        assert_too_large(line)

    def test_a_client_that_asks_first_is_not_told_to_continue(self, line: socket.socket) -> None:
        line.sendall(head("POST", "/connectors", "Content-Length: 99999999", "Expect: 100-continue"))
        assert_too_large(line)

    def test_the_connection_goes_on_after_a_refusal(self, line: socket.socket) -> None:
        line.sendall(head("POST", "/connectors", f"Content-Length: {2 * MIB}"))
        assert_too_large(line)
        line.sendall(b" " * (2 * MIB) + head("GET", "/health/live"))
        assert answer(line)[0] == 200

    def test_a_request_that_takes_no_body_may_not_bring_one_either(self, line: socket.socket) -> None:
        line.sendall(head("GET", "/messages", f"Content-Length: {MAX_BODY_OCTETS + 1}"))
        assert_too_large(line)


class TestChunked:
    def test_a_body_in_chunks_is_taken(self, line: socket.socket) -> None:
        line.sendall(head("POST", "/messages/delete", "Transfer-Encoding: chunked"))
        for data in (b'{"ids"', b': ["no', b'ne"]}', b""):
            line.sendall(chunk(data))
        assert answer(line)[::2] == (200, b'{"deleted":0}')

    def test_in_a_chunked_body_the_received_octets_count(self, line: socket.socket) -> None:
        line.sendall(head("POST", "/messages/delete", "Transfer-Encoding: chunked"))
        sent = send_until_answered(line, (chunk(b" " * 8192) for _ in range(10_000)))
        assert_too_large(line)
        assert sent >= MAX_BODY_OCTETS

    def test_the_chunk_that_is_too_much_undoes_nothing_and_does_nothing(
        self, line: socket.socket, served: httpx.Client, gateway: Gateway
    ) -> None:
        at = stored_mail.connector(gateway, groups=["orders"])
        (message_id,) = stored_mail.store(gateway, at)
        line.sendall(head("POST", "/messages/delete", "Transfer-Encoding: chunked"))
        line.sendall(chunk(padded({"connector_id": at.id}, MAX_BODY_OCTETS + 1)) + chunk(b""))
        assert_too_large(line)
        found = served.get(f"/messages/{message_id}", headers={"Authorization": AUTHORIZATION})
        assert found.status_code == 200

    def test_a_body_without_end_is_not_kept(self, line: socket.socket) -> None:
        piece = chunk(b" " * 65_536)
        line.sendall(head("POST", "/submissions", "Transfer-Encoding: chunked"))
        send_until_answered(line, (piece for _ in range(1000)))
        before = resident_octets()
        for _ in range(1000):  # 62 MiB more, as from a client that does not listen
            line.sendall(piece)
        assert resident_octets() - before < 20 * MIB
        line.sendall(chunk(b""))
        assert_too_large(line)


class TestFalseLength:
    @pytest.mark.parametrize(
        "lines",
        [
            ["Content-Length: -1"],
            ["Content-Length: +2"],
            ["Content-Length: 0x2"],
            ["Content-Length: two"],
            ["Content-Length: 2", "Content-Length: 3"],
            ["Content-Length: 2, 3"],
            ["Content-Length: " + "9" * 5000],
        ],
    )
    def test_a_length_that_is_no_number_is_refused(self, line: socket.socket, lines: list[str]) -> None:
        line.sendall(head("POST", "/messages/delete", *lines) + b"{}")
        assert answer(line)[0] in (400, 413)

    def test_chunks_count_and_not_a_length_beside_them(self, line: socket.socket) -> None:
        line.sendall(head("POST", "/messages/delete", "Content-Length: 2", "Transfer-Encoding: chunked"))
        send_until_answered(line, (chunk(b" " * 8192) for _ in range(10_000)))
        assert answer(line)[0] in (400, 413)

    def test_a_body_shorter_than_declared_does_nothing(
        self, line: socket.socket, served: httpx.Client, gateway: Gateway
    ) -> None:
        at = stored_mail.connector(gateway, groups=["orders"])
        (message_id,) = stored_mail.store(gateway, at)
        body = json.dumps({"connector_id": at.id}).encode()
        line.sendall(head("POST", "/messages/delete", f"Content-Length: {len(body) + 1}") + body)
        line.shutdown(socket.SHUT_WR)
        while line.recv(4096):
            pass
        found = served.get(f"/messages/{message_id}", headers={"Authorization": AUTHORIZATION})
        assert found.status_code == 200

    def test_octets_beyond_the_declared_length_are_not_part_of_the_body(self, line: socket.socket) -> None:
        line.sendall(head("POST", "/messages/delete", "Content-Length: 2") + b"{}" + b'"trailing"\r\n\r\n')
        received = b"".join(iter(lambda: line.recv(65_536), b""))
        assert received.startswith(b"HTTP/1.1 422 ")
        assert re.findall(rb"HTTP/1\.1 ([0-9]+) ", received) == [b"422", b"400"]


class TestWithoutAGoodToken:
    @pytest.mark.parametrize(
        "authorization",
        ["", "Bearer nonsense", "Basic amFuYTpoZXNsbw==", Callers.user("jana")["Authorization"] + "x"],
    )
    def test_a_large_body_is_refused_before_it_is_read(self, line: socket.socket, authorization: str) -> None:
        lines = [
            f"Authorization: {authorization}",
            "Content-Length: 3000000",
            "Content-Type: application/json",
        ]
        line.sendall("\r\n".join(["POST /submissions HTTP/1.1", "Host: gateway", *lines, "", ""]).encode())
        assert problem_of(line) == (401, "unauthenticated")

    def test_a_body_without_a_length_is_refused_once_it_is_large(self, line: socket.socket) -> None:
        lines = ["Transfer-Encoding: chunked", "Content-Type: application/json"]
        line.sendall("\r\n".join(["POST /submissions HTTP/1.1", "Host: gateway", *lines, "", ""]).encode())
        sent = send_until_answered(line, (chunk(b" " * 8192) for _ in range(100_000)))
        line.sendall(chunk(b""))
        assert problem_of(line) == (401, "unauthenticated")
        assert sent < 100_000 * 8192

    def test_a_client_that_closes_after_its_body_gets_to_read_that(self, served: httpx.Client) -> None:
        answered = served.post("/submissions", content=b" " * (LARGEST - 1), headers={"Connection": "close"})
        assert (answered.status_code, answered.json()["code"]) == (401, "unauthenticated")


class TestManyAtOnce:
    """Bodies of callers who are known, each with a part of its octets still to come."""

    @staticmethod
    def begun(served: httpx.Client, octets: int, user: str) -> socket.socket:
        """A connection on which a body of so many octets was announced, and more was sent than is read without a token."""
        line = socket.create_connection(("127.0.0.1", served.base_url.port or 0), timeout=60)
        token = Callers.user(user)["Authorization"]
        lines = ["Host: gateway", f"Authorization: {token}", f"Content-Length: {octets}"]
        line.sendall("\r\n".join(["POST /submissions HTTP/1.1", *lines, "", ""]).encode() + b" " * 70_000)
        return line

    def test_one_caller_does_not_fill_the_memory_and_others_send_theirs(
        self, served: httpx.Client, budget: OctetBudget
    ) -> None:
        with contextlib.ExitStack() as lines:
            for _ in range(2):  # as many as one caller may
                lines.enter_context(self.begun(served, LARGEST, "bob"))
            wait_until(lambda: budget.taken("user:bob") == 2 * LARGEST, 60, "the bodies to be counted")
            third = lines.enter_context(self.begun(served, LARGEST, "bob"))
            assert problem_of(third) == (429, "too_many_requests")
            small = served.post("/submissions", json={}, headers=Callers.user("bob"))
            assert small.status_code == 422
            lines.enter_context(self.begun(served, LARGEST, "jana"))
            wait_until(lambda: budget.taken("user:jana") == LARGEST, 60, "another's body to be counted")
            fourth = lines.enter_context(self.begun(served, LARGEST, "eva"))
            assert problem_of(fourth) == (503, "overloaded")
        wait_until(lambda: not budget.taken("user:bob"), 60, "the end of the bodies")
        with self.begun(served, LARGEST, "bob") as line:
            line.sendall(b" " * (LARGEST - 70_000))
            assert problem_of(line) == (422, "invalid_input")
        wait_until(lambda: not budget.taken("user:bob"), 60, "the end of the body")

    def test_a_body_without_a_length_is_counted_as_it_comes(
        self, line: socket.socket, budget: OctetBudget
    ) -> None:
        line.sendall(head("POST", "/submissions", "Transfer-Encoding: chunked"))
        for _ in range(10):
            line.sendall(chunk(b" " * 100_000))
        wait_until(lambda: budget.taken("user:jana") >= 1_000_000, 60, "the octets to be counted")
        line.sendall(chunk(b""))
        assert problem_of(line) == (422, "invalid_input")
        wait_until(lambda: not budget.taken("user:jana"), 60, "the end of the body")


def problem_of(line: socket.socket) -> tuple[int, str]:
    status, _, body = answer(line)
    return status, json.loads(body)["code"]


class TestSlowly:
    @pytest.fixture(autouse=True)
    def _hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(request_bodies, "PAUSE_S", 0.5)
        monkeypatch.setattr(request_bodies, "READ_PAST_S", 0.2)

    def test_a_pause_in_a_body_ends_the_request(self, line: socket.socket) -> None:
        line.sendall(head("POST", "/messages/delete", "Content-Length: 10") + b"{")
        assert problem_of(line) == (408, "request_too_slow")

    def test_drop_by_drop_ends_too(self, line: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(request_bodies, "START_S", 1.0)
        line.sendall(head("POST", "/messages/delete", "Content-Length: 100000"))
        for _ in range(600):
            if select.select([line], [], [], 0.1)[0]:
                break
            line.sendall(b" ")
        assert problem_of(line) == (408, "request_too_slow")

    def test_a_request_may_wait_for_its_answer(self, served: httpx.Client) -> None:
        answered = served.get("/messages", params={"wait_s": 2}, headers={"Authorization": AUTHORIZATION})
        assert answered.status_code == 200


class TestJson:
    @pytest.mark.parametrize(
        "body",
        [b"[" + b"[]," * 100_000 + b"[]]", b"[" * 100_000, b'"",' * 60_000, b'""' * 60_000, b"," * 60_000],
    )
    def test_more_values_than_anybody_needs_are_refused(self, served: httpx.Client, body: bytes) -> None:
        answered = served.post(
            "/submissions",
            content=body,
            headers={"Authorization": AUTHORIZATION, "Content-Type": "application/json"},
        )
        assert (answered.status_code, answered.json()["code"]) == (413, "too_large")

    def test_what_stands_in_a_text_is_no_value(self, served: httpx.Client, gateway: Gateway) -> None:
        at = stored_mail.connector(gateway, groups=["orders"])
        text = '[{,"\\' * 60_000
        answered = served.post(
            "/submissions",
            json={"connector_id": at.id, "to": ["karel@example.com"], "text": text},
            headers={"Authorization": AUTHORIZATION},
        )
        # The connector of the test has no server for sending; with the body nothing is wrong.
        assert [fault["pointer"] for fault in answered.json()["errors"]] == ["/connector_id"]

    @pytest.mark.parametrize("depth", [100, 900, 1000, 12_000])
    def test_nesting_without_end_is_invalid_input(self, served: httpx.Client, depth: int) -> None:
        for path in ("/connectors", "/messages/delete", "/submissions", "/group-bindings"):
            for opening, closing in (("[", "]"), ('{"imap":', "}"), ('{"ids":[', "]}")):
                answered = served.post(
                    path,
                    content=opening * depth + "1" + closing * depth,
                    headers={"Authorization": AUTHORIZATION, "Content-Type": "application/json"},
                )
                assert (answered.status_code, answered.json()["code"]) == (422, "invalid_input")

    @pytest.mark.parametrize(
        "body", [b"9" * 5000, b"1e999999", b'{"ids": [' + b"9" * 5000 + b"]}", b"\xff\xfe", b"\0", b"NaN"]
    )
    def test_numbers_and_octets_beyond_reason_are_invalid_input(
        self, served: httpx.Client, body: bytes
    ) -> None:
        answered = served.post(
            "/messages/delete",
            content=body,
            headers={"Authorization": AUTHORIZATION, "Content-Type": "application/json"},
        )
        assert (answered.status_code, answered.json()["code"]) == (422, "invalid_input")
