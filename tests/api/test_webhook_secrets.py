"""The secrets of webhooks, their own headers, and who learns that one was switched off."""

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from fastapi.testclient import TestClient
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from app import clock
from app.adapters.network import IPAddress, NetworkPolicy
from app.adapters.webhook_client import Endpoint, WebhookClient
from app.gateway import Gateway
from app.services.events import deliveries
from tests.api.test_webhooks import ADMIN, created, pointers
from tests.support.callers import Callers, KeyHeaders
from tests.support.each_case import each_case
from tests.support.stored_mail import connector, store
from tools.servers.http_receiver import Answer, HttpReceiver, ReceivedRequest


def sample(client: TestClient, receiver: HttpReceiver, made: dict[str, Any]) -> ReceivedRequest:
    """The request of a test event."""
    assert client.post(f"/webhooks/{made['id']}/test", headers=ADMIN).json()["ok"]
    return receiver.requests[-1]


def with_headers(client: TestClient, url: str, headers: dict[str, str]) -> dict[str, Any]:
    answer = client.post("/webhooks", json={"url": url, "headers": headers}, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def verifies(secret: str, request: ReceivedRequest) -> bool:
    try:
        Verifier(secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True


class TestRotation:
    @pytest.mark.parametrize("body", [None, {}, {"previous_valid_s": 3600}])
    def test_both_secrets_sign_for_a_time_and_then_the_new_one_alone(
        self, client: TestClient, http_receiver: HttpReceiver, body: dict[str, int] | None
    ) -> None:
        made = created(client, url=f"{http_receiver.url}/hook")
        answer = client.post(f"/webhooks/{made['id']}/rotate-secret", json=body, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        old, new = made["secret"], answer.json()["secret"]
        request = sample(client, http_receiver, made)
        assert [verifies(each, request) for each in (old, new)] == [True, True]
        assert len(request.headers["webhook-signature"].split(" ")) == 2
        with time_machine.travel(clock.utc_now() + timedelta(hours=25), tick=True):
            headers = Callers.user("administrator", admin=True)
            assert client.post(f"/webhooks/{made['id']}/test", headers=headers).json()["ok"]
            request = http_receiver.requests[-1]
            assert [verifies(each, request) for each in (old, new)] == [False, True]

    def test_a_secret_that_has_leaked_can_end_at_once(
        self, client: TestClient, http_receiver: HttpReceiver
    ) -> None:
        made = created(client, url=f"{http_receiver.url}/hook")
        path = f"/webhooks/{made['id']}/rotate-secret"
        new = client.post(path, json={"previous_valid_s": 0}, headers=ADMIN).json()["secret"]
        request = sample(client, http_receiver, made)
        assert [verifies(each, request) for each in (made["secret"], new)] == [False, True]
        assert pointers(client.post(path, json={"previous_valid_s": -1}, headers=ADMIN)) == [
            "/previous_valid_s"
        ]
        audit = client.get("/audit?action=webhook.secret_rotated", headers=ADMIN).json()["data"]
        assert len(audit) == 1
        assert "whsec_" not in str(audit)


class TestHeaders:
    def test_the_receivers_headers_are_sent_and_never_shown(
        self, client: TestClient, http_receiver: HttpReceiver
    ) -> None:
        sent = {"Authorization": "Bearer t0ken-of-the-receiver", "X-Team": "crm"}
        made = with_headers(client, f"{http_receiver.url}/hook", sent)
        assert made["headers"] == {"Authorization": "***", "X-Team": "***"}
        request = sample(client, http_receiver, made)
        assert request.headers["authorization"] == "Bearer t0ken-of-the-receiver"
        assert request.headers["x-team"] == "crm"
        shown = [client.get(path, headers=ADMIN).text for path in (f"/webhooks/{made['id']}", "/audit")]
        assert not any("t0ken" in each for each in shown)

    def test_a_change_merges_headers_and_a_hidden_value_keeps_what_is_stored(
        self, client: TestClient, http_receiver: HttpReceiver
    ) -> None:
        made = with_headers(client, f"{http_receiver.url}/hook", {"X-A": "1", "X-B": "2", "X-C": "3"})
        change = {"url": f"{http_receiver.url}/other", "headers": {"X-A": "***", "x-b": "two", "X-C": None}}
        answer = client.patch(f"/webhooks/{made['id']}", json=change, headers=ADMIN)
        assert answer.json()["headers"] == {"X-A": "***", "x-b": "***"}
        request = sample(client, http_receiver, made)
        assert [request.headers.get(name) for name in ("x-a", "x-b", "x-c")] == ["1", "two", None]

    def test_headers_never_go_to_another_receiver(
        self, client: TestClient, http_receiver: HttpReceiver
    ) -> None:
        made = with_headers(client, "https://crm.firma.invalid/", {"Authorization": "Bearer t0ken"})
        path, elsewhere = f"/webhooks/{made['id']}", {"url": f"{http_receiver.url}/mine"}
        kept = {**elsewhere, "headers": {"Authorization": "***"}}
        assert pointers(client.patch(path, json=kept, headers=ADMIN)) == ["/headers/Authorization"]
        assert client.patch(path, json=elsewhere, headers=ADMIN).json()["headers"] == {}
        assert "authorization" not in sample(client, http_receiver, made).headers

    @each_case(
        "name",
        [
            "Connection",
            "te",
            "Transfer-Encoding",
            "Host",
            "content-length",
            "Content-Type",
            "Webhook-Id",
            "webhook-signature",
            "WEBHOOK-TIMESTAMP",
            "Proxy-Authorization",
            "Upgrade",
            "X Y",
            "X:Y",
            "",
            "X\r\nY",
        ],
    )
    def test_a_header_that_is_ours_or_of_a_hop_or_no_token_is_refused(
        self, client: TestClient, name: str
    ) -> None:
        body = {"url": "https://crm.firma.invalid/hook", "headers": {name: "x"}}
        assert client.post("/webhooks", json=body, headers=ADMIN).status_code == 422

    @each_case("value", ["", " x", "x ", "a\r\nX-B: c", "a\nb", "č", "x" * 2001, "***"])
    def test_a_value_that_is_no_header_value_is_refused(self, client: TestClient, value: str) -> None:
        body = {"url": "https://crm.firma.invalid/hook", "headers": {"X-A": value}}
        assert client.post("/webhooks", json=body, headers=ADMIN).status_code == 422

    def test_a_name_in_two_cases_and_too_many_names_are_refused(self, client: TestClient) -> None:
        for headers in ({"X-A": "1", "x-a": "2"}, {f"X-{n}": "1" for n in range(21)}):
            body = {"url": "https://crm.firma.invalid/hook", "headers": headers}
            assert pointers(client.post("/webhooks", json=body, headers=ADMIN)) == ["/headers"]


class TestSwitchedOff:
    def test_administrators_and_keys_for_webhooks_learn_it_and_nobody_else(
        self, client: TestClient, gateway: Gateway, http_receiver: HttpReceiver, as_key: KeyHeaders
    ) -> None:
        box = connector(gateway, groups=["orders"])
        http_receiver.answer_with(410)
        limited = as_key(["webhooks:write", "events:read"], [box.id])
        theirs = created(client, limited, url=f"{http_receiver.url}/hook", types=["message.stored"])
        http_receiver.answer_with(410)
        made = created(client, url=f"{http_receiver.url}/hook", types=["message.stored"])
        store(gateway, box)
        for each in (theirs, made):
            deliveries.serve(gateway, each["id"], threading.Event())
        read = client.get(f"/webhooks/{made['id']}", headers=ADMIN).json()
        assert (read["active"], read["disabled_reason"]) == (False, "gone")

        def told(headers: dict[str, str]) -> list[str]:
            found = client.get("/events", headers=headers).json()["data"]
            return [event["data"]["webhook_id"] for event in found if "webhook.disabled" in event["type"]]

        both = [theirs["id"], made["id"]]
        assert told(ADMIN) == both
        assert told(as_key(["webhooks:write", "events:read"])) == both
        assert told(limited) == [theirs["id"]]
        assert told(as_key(["events:read"])) == []


class _Everywhere(NetworkPolicy):
    """Takes the loopback network for a public one."""

    def resolve(self, host: str, port: int, *, private_only: bool = False) -> list[IPAddress]:
        return NetworkPolicy(self.allowed_private_networks).resolve(host, port)

    def is_allowed_private(self, address: IPAddress) -> bool:
        return False


def answered(gateway: Gateway, receiver: HttpReceiver, policy: NetworkPolicy, **headers: str) -> str | None:
    target = Endpoint(f"{receiver.url}/hook", ("whsec_c2VjcmV0LW9mLXRoZS13ZWJob29r",), headers=headers)
    with WebhookClient(target, network=policy, tls=gateway.tls) as sender:
        return sender.deliver(event_id="e", body=b"{}", at=clock.utc_now()).text


class TestTheAnswer:
    JSON = (("Content-Type", "application/json; charset=utf-8"),)

    def policies(self, gateway: Gateway) -> Sequence[NetworkPolicy]:
        private = gateway.webhook_network.allowed_private_networks
        return _Everywhere(private), NetworkPolicy(private)

    def test_the_beginning_of_a_text_is_shown_of_public_receivers_only(
        self, gateway: Gateway, http_receiver: HttpReceiver
    ) -> None:
        public, private = self.policies(gateway)
        http_receiver.answer_with(Answer(422, b'{"error": "no \xc5\xbe"}' + b"x" * 5000, self.JSON))
        shown = answered(gateway, http_receiver, public)
        assert shown is not None
        assert shown.startswith('{"error": "no ž"}')
        assert len(shown.encode()) == 2048
        assert answered(gateway, http_receiver, private) is None

    def test_what_is_no_text_is_not_shown(self, gateway: Gateway, http_receiver: HttpReceiver) -> None:
        public, _ = self.policies(gateway)
        for headers in (("Content-Type", "image/png"),), (*self.JSON, ("Content-Encoding", "gzip")):
            http_receiver.answer_with(Answer(200, b"octets", headers))
            assert answered(gateway, http_receiver, public) is None

    def test_secrets_that_a_receiver_repeats_are_masked(
        self, gateway: Gateway, http_receiver: HttpReceiver
    ) -> None:
        public, _ = self.policies(gateway)
        http_receiver.answer_with(
            Answer(400, b"got Bearer t0ken-of-theirs and t0ken-of-theirs\nthen this", self.JSON)
        )
        shown = answered(gateway, http_receiver, public, Authorization="Bearer t0ken-of-theirs")
        assert shown is not None
        assert "t0ken" not in shown
        assert shown.endswith("\nthen this")
