"""The gateway as an operator runs it: `imap-gateway serve`, a process of its own, with its jobs and its parsers."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.support.callers import JWT_SECRET
from tests.support.forked_command import ForkedCommand
from tools.servers.process import end, free_port, wait_until

START_TIMEOUT_S = 60.0


def served_gateway(
    database_url: str, folder: Path, **settings: str
) -> contextlib.AbstractContextManager[httpx.Client]:
    """A client of the served gateway, without a token; its log is `gateway.log` in the folder.

    `settings` are further ones, by their names without the prefix: `MAX_MESSAGE_OCTETS="1000"`.
    """
    return served_at(free_port(), database_url, folder, **settings)


@contextlib.contextmanager
def served_at(port: int, database_url: str, folder: Path, **settings: str) -> Iterator[httpx.Client]:
    """Such a gateway on this port, for one that is started again."""
    values = {
        "DATABASE_URL": database_url,
        "SECRET_KEYS": "first-secret-key-of-the-tests-and-long-enough",
        "JWT_SECRET": JWT_SECRET,
        "ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
        **settings,
    }
    log = folder / "gateway.log"
    with log.open("ab") as output:
        process = ForkedCommand(
            ["serve", "--port", str(port)],
            folder=folder,  # a developer's .env is not for tests
            environment={**os.environ, **{f"GATEWAY_{name}": value for name, value in values.items()}},
            output=output,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            wait_until(lambda: _is_live(client) or process.poll() is not None, START_TIMEOUT_S, "the gateway")
            assert process.poll() is None, log.read_text(errors="replace")
            yield client
    finally:
        end(process, grace_s=10)


def _is_live(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/health/live").status_code == 200
    return False
