"""Alive, ready, and how it does: open to everybody, and silent about mailboxes."""

import re
from datetime import timedelta
from pathlib import Path

import time_machine
from fastapi.testclient import TestClient

from app import clock
from app.gateway import Gateway
from app.main import create_app
from app.models import Connector
from app.services import health
from app.services.health import Readiness
from app.states import ConnectorKind, ConnectorStatus, Security
from tests.support.each_case import each_case
from tests.support.settings import SettingsFactory
from tools.servers.postgres import Postgres
from tools.servers.process import wait_until

PLANTED = ("jana.novakova@firma.cz", "imap.firma.cz", "jana", "Schránka Jany")


def figures(text: str) -> dict[str, float]:
    """The page's samples by name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


class TestLive:
    def test_it_is_open_and_asks_nothing(self, client: TestClient) -> None:
        answer = client.get("/health/live")
        assert (answer.status_code, answer.json()) == (200, {"status": "live"})


class TestReady:
    def test_with_a_migrated_database_it_is_ready(self, client: TestClient) -> None:
        answer = client.get("/health/ready")
        assert answer.status_code == 200
        assert answer.json() == {"ready": True, "database": True, "migrations": True, "sweep": None}

    def test_with_an_empty_database_it_is_not(self, settings: SettingsFactory, tmp_path: Path) -> None:
        made = settings(database_url=f"sqlite:///{tmp_path / 'empty.db'}")
        with TestClient(create_app(made)) as client:
            answer = client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "database": True, "migrations": False, "sweep": None}

    def test_without_its_database_it_is_not(self, settings: SettingsFactory, postgres: Postgres) -> None:
        url = postgres.url.set(database="no_such_database").render_as_string(hide_password=False)
        with TestClient(create_app(settings(database_url=url)), client=("127.0.0.1", 50000)) as client:
            answer = client.get("/health/ready")
            figures_answer = client.get("/metrics")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "database": False, "migrations": False, "sweep": None}
        assert figures_answer.status_code == 200
        assert figures(figures_answer.text)["gateway_database_up"] == 0

    def test_with_jobs_it_is_ready_while_the_sweep_runs(self, settings: SettingsFactory) -> None:
        gateway = Gateway.from_settings(settings(run_jobs=True))
        assert health.check(gateway) == Readiness(database=True, migrations=True, sweep=False)
        gateway.last_runs["sweep"] = clock.utc_now()
        assert health.check(gateway).is_ready
        with time_machine.travel(clock.utc_now() + timedelta(seconds=61)):
            assert not health.check(gateway).is_ready
        gateway.close()

    def test_with_jobs_started_the_sweep_runs(self, settings: SettingsFactory) -> None:
        app = create_app(settings(run_jobs=True))
        with TestClient(app) as client:
            wait_until(lambda: client.get("/health/ready").status_code == 200, 20, "the first sweep")
            answer = client.get("/health/ready")
        assert answer.json() == {"ready": True, "database": True, "migrations": True, "sweep": True}


class TestMetrics:
    def test_it_counts_what_the_database_holds(self, client: TestClient, gateway: Gateway) -> None:
        now = clock.utc_now()
        with gateway.db.unit_of_work() as session:
            for number, status in enumerate(
                (ConnectorStatus.ACTIVE, ConnectorStatus.ACTIVE, ConnectorStatus.FAILING)
            ):
                session.add(
                    Connector(
                        id=f"connector-{number}",
                        name=PLANTED[3],
                        kind=ConnectorKind.PERSONAL,
                        owner=PLANTED[2],
                        email_address=PLANTED[0],
                        imap_host=PLANTED[1],
                        imap_port=993,
                        imap_security=Security.TLS,
                        imap_username=f"{PLANTED[0]}{number}",
                        source_folder="INBOX",
                        processed_folder="\\Trash",
                        poll_interval_s=60,
                        status=status,
                        created_at=now,
                        updated_at=now,
                    )
                )
        answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        found = figures(answer.text)
        assert found['gateway_connectors{status="active"}'] == 2
        assert found['gateway_connectors{status="failing"}'] == 1
        assert found["gateway_database_up"] == 1
        for name in ("messages_stored", "quarantined", "deliveries_pending", "submissions_queued"):
            assert found[f"gateway_{name}"] == 0
        for secret in PLANTED:
            assert secret not in answer.text

    def test_requests_are_counted_by_route_and_not_by_what_the_caller_wrote(
        self, client: TestClient, as_admin: dict[str, str]
    ) -> None:
        client.delete("/api-keys/jana.novakova@firma.cz", headers=as_admin)
        client.get("/no/such/jana.novakova@firma.cz")
        client.request("JANA", "/api-keys")
        text = client.get("/metrics").text
        found = figures(text)
        route = 'gateway_http_requests_total{method="DELETE",route="/api-keys/{key_id}",status="422"}'
        assert found[route] == 1
        assert found['gateway_http_requests_total{method="GET",route="unmatched",status="404"}'] == 1
        assert re.search(r'method="OTHER"', text)
        assert "jana" not in text.lower()

    def test_figures_are_counted_anew_after_some_seconds(self, client: TestClient) -> None:
        before = client.get("/metrics").text
        assert "gateway_outbox_position 0.0" in before
        with time_machine.travel(clock.utc_now() + timedelta(seconds=6)):
            assert client.get("/metrics").status_code == 200


FORWARDED_BY_PROXIES = (
    *("Forwarded", "Via", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "Fly-Client-IP"),
    *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix"),
    *("X-Original-URL", "X-Original-Host", "X-Cluster-Client-IP", "X-Envoy-External-Address"),
)


class TestWhoReadsMetrics:
    TOKEN = "a-token-for-prometheus"

    @each_case("name", FORWARDED_BY_PROXIES)
    def test_what_a_proxy_has_forwarded_is_refused(self, client: TestClient, name: str) -> None:
        answer = client.get("/metrics", headers={name: "127.0.0.1"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")

    @each_case(
        ("host", "status"),
        [("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 401), ("10.0.0.1", 401), ("testclient", 401)],
    )
    def test_without_a_token_only_this_machine_reads_them(
        self, client: TestClient, host: str, status: int
    ) -> None:
        from_host = TestClient(client.app, client=(host, 50000))
        assert from_host.get("/metrics").status_code == status

    def test_with_a_token_whoever_has_it_reads_them(self, settings: SettingsFactory) -> None:
        app = create_app(settings(metrics_token=self.TOKEN))
        with TestClient(app, client=("192.0.2.7", 50000)) as client:
            good = client.get("/metrics", headers={"Authorization": f"Bearer {self.TOKEN}"})
            bad = client.get("/metrics", headers={"Authorization": f"Bearer {self.TOKEN}x"})
        with TestClient(app, client=("127.0.0.1", 50000)) as client:
            none = client.get("/metrics")
        assert [good.status_code, bad.status_code, none.status_code] == [200, 401, 401]


@each_case("path", ["/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"])
def test_it_is_open(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200
