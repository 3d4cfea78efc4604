"""The ground of the tests that walk all routes."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.gateway import Gateway
from app.routers.waiting import watch_of
from tests.support.access_world import World


@pytest.fixture
def world(gateway: Gateway) -> World:
    """Objects of every kind, and everybody who may call."""
    return World(gateway)


@pytest.fixture
def client(client: TestClient) -> TestClient:
    """The gateway as while it is being stopped: nothing waits for events, and streams end after what there is."""
    app: Any = client.app
    watch_of(app).close()
    return client
