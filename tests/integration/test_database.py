"""Durability and transactions, as the databases really have them."""

import threading
from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from app import clock
from app.deps import WriteSession
from app.gateway import Gateway
from app.models import Connector, GroupBinding
from app.problems import install
from tests.support.stored_mail import connector

DURABLE: dict[str, dict[str, object]] = {
    "sqlite": {
        "PRAGMA journal_mode": "wal",
        "PRAGMA synchronous": 2,
        "PRAGMA page_size": 16384,
        "PRAGMA foreign_keys": 1,
    },
    "postgresql": {"SHOW synchronous_commit": "on", "SHOW TimeZone": "UTC"},
}
"""What a commit needs to survive a power cut, before its mail is moved on the server."""


def test_every_connection_is_durable(gateway: Gateway) -> None:
    expected = DURABLE["sqlite" if gateway.db.is_sqlite else "postgresql"]
    with gateway.db.reading() as one, gateway.db.reading() as other, gateway.db.unit_of_work() as writing:
        for session in (one, other, writing):
            found = {query: session.execute(text(query)).scalar_one() for query in expected}
            assert found == expected


class TestAUnitOfWork:
    def test_a_unit_of_work_that_raises_is_rolled_back(self, gateway: Gateway) -> None:
        with pytest.raises(LookupError), gateway.db.unit_of_work() as session:
            session.execute(text("UPDATE feed SET last_position = 7"))
            raise LookupError
        with gateway.db.reading() as session:
            assert session.execute(text("SELECT last_position FROM feed")).scalar_one() == 0

    def test_a_unit_of_work_that_writes_makes_the_next_writer_wait_but_no_reader(
        self, gateway: Gateway
    ) -> None:
        entered, order = threading.Event(), []

        def write() -> None:
            with gateway.db.unit_of_work() as session:
                session.execute(text("UPDATE feed SET last_position = last_position + 1"))
                entered.set()
                order.append("second")

        with gateway.db.unit_of_work() as session:
            session.execute(text("UPDATE feed SET last_position = last_position + 1"))
            second = threading.Thread(target=write)
            second.start()
            with gateway.db.reading() as reading:
                assert reading.execute(text("SELECT last_position FROM feed")).scalar_one() == 0
            assert not entered.wait(0.3)
            order.append("first")
        second.join()
        assert order == ["first", "second"]

    def test_errors_do_not_show_the_written_values(self, gateway: Gateway) -> None:
        row = connector(gateway, logged_in_at=clock.utc_now())
        with pytest.raises(IntegrityError) as caught, gateway.db.unit_of_work() as session:
            session.add(
                Connector(**{**row.model_dump(warnings=False), "id": "other", "name": "planted-secret"})
            )
            session.flush()
        assert "planted-secret" not in str(caught.value)

    def test_refuses_references_to_nothing(self, gateway: Gateway) -> None:
        binding = GroupBinding(id="b", connector_id="absent", group="g", created_at=clock.utc_now())
        with pytest.raises(IntegrityError), gateway.db.unit_of_work() as session:
            session.add(binding)


class TestARequest:
    def test_a_request_whose_commit_fails_is_not_answered_as_done(self, gateway: Gateway) -> None:
        app = FastAPI()
        app.state.gateway = gateway
        install(app)

        def break_at_commit(session: WriteSession) -> Iterator[None]:
            @event.listens_for(session, "before_commit", once=True)
            def _fail(_session: object) -> None:
                raise OperationalError("COMMIT", None, Exception("disk full"))

            yield

        @app.post("/things", status_code=201)
        def make(_: Annotated[None, Depends(break_at_commit, scope="function")]) -> dict[str, bool]:
            return {"made": True}

        with TestClient(app, raise_server_exceptions=False) as client:
            answer = client.post("/things")
        assert answer.status_code == 500
        assert "disk full" not in answer.text
