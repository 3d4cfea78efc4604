"""The gateway as it is served: uvicorn on a free loopback port, in a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from app import http_protocol
from app.config import Settings
from app.main import create_app
from app.routers.waiting import watch_of
from tools.servers.process import free_port, wait_until

START_TIMEOUT_S = 20.0


@contextmanager
def live_gateway(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the served gateway, without a token. Jobs run if the settings say so."""
    with serving(create_app(settings)) as client:
        yield client


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of the served application."""
    port = free_port()
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        http=http_protocol.protocol_class(
            fetch_threads=8, database_sessions=56, stopping=lambda: watch_of(app).close()
        ),
        ws="none",
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="live-gateway", daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, START_TIMEOUT_S, "uvicorn")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
