"""What the operator sees when the service starts, or does not: by its command, in a folder of its own."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app import __version__
from tests.support.forked_command import ForkedCommand, HeardCommand
from tools.servers.process import end, free_port, wait_until

SETTINGS = {
    "SECRET_KEYS": "a-secret-key-of-thirty-two-characters-or-more",
    "JWT_SECRET": "a-jwt-secret-of-thirty-two-bytes-or-more",
}


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return {**kept, **{f"GATEWAY_{name}": value for name, value in {**SETTINGS, **settings}.items()}}


@contextmanager
def started(folder: Path, name: str, **settings: str) -> Iterator[tuple[ForkedCommand, str, Path]]:
    """A `serve` in the folder: the process, its address, and the file of its log."""
    port = free_port()
    log = folder / f"{name}.log"
    with log.open("wb") as errors, (folder / f"{name}.out").open("wb") as output:
        process = ForkedCommand(
            ["serve", "--port", str(port)],
            folder=folder,
            environment=environment(**settings),
            output=output,
            errors=errors,
        )
    try:
        yield process, f"http://127.0.0.1:{port}", log
    finally:
        end(process, grace_s=30)


def is_live(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health/live", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_first_line_names_version_and_database_and_unknown_settings_follow(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_DATABASE_URL=sqlite:///./mail.db\n")
    with started(tmp_path, "only", PORT="tcp://10.0.0.1:8000") as (process, address, log):
        wait_until(lambda: is_live(address) or process.poll() is not None, 60, "the gateway")
        first, second = lines(log)[:2]
        assert (first["event"], first["version"], first["database"]) == (
            "starting",
            __version__,
            "sqlite ./mail.db",
        )
        assert (second["event"], second["name"], second["level"]) == (
            "setting_unknown",
            "GATEWAY_PORT",
            "warning",
        )
        assert (tmp_path / "mail.db").exists()


def test_a_monitor_may_ask_with_head(tmp_path: Path) -> None:
    with started(tmp_path, "only") as (_, address, _):
        wait_until(lambda: is_live(address), 60, "the gateway")
        for path in ("/health/live", "/health/ready"):
            answer = httpx.head(address + path, trust_env=False)
            assert (answer.status_code, answer.content) == (200, b"")


def test_a_second_server_on_one_file_waits_and_is_refused(tmp_path: Path) -> None:
    with started(tmp_path, "first") as (_, address, _):
        wait_until(lambda: is_live(address), 60, "the first")
        begun = time.monotonic()
        second = HeardCommand(
            ["serve", "--port", str(free_port())], folder=tmp_path, environment=environment()
        )
        _, errors = second.ended(120)
        assert second.returncode == 1
        assert time.monotonic() - begun > 15
        assert "Another process serves from this SQLite file" in errors
        # Neither a command nor a process without jobs is held up.
        command = HeardCommand(["keys", "list"], folder=tmp_path, environment=environment())
        _, errors = command.ended(60)
        assert command.returncode == 0, errors
        with started(tmp_path, "without jobs", RUN_JOBS="false") as (_, other, _):
            wait_until(lambda: is_live(other), 60, "the one without jobs")


def test_a_second_server_takes_over_from_one_that_stops(tmp_path: Path) -> None:
    with started(tmp_path, "first") as (first, address, _):
        wait_until(lambda: is_live(address), 60, "the first")
        with started(tmp_path, "second") as (second, other, log):
            wait_until(lambda: log.stat().st_size > 0, 60, "the second to begin")
            first.send_signal(signal.SIGKILL)
            wait_until(lambda: is_live(other) or second.poll() is not None, 60, "the second")
            assert second.poll() is None, log.read_text()


def refusal(folder: Path, url: str) -> str:
    command = HeardCommand(["migrate"], folder=folder, environment=environment(DATABASE_URL=url))
    _, errors = command.ended(60)
    assert command.returncode == 1, errors
    assert "Traceback" not in errors
    return errors


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    assert "The folder nowhere for the database does not exist" in refusal(
        tmp_path, "sqlite:///./nowhere/gateway.db"
    )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_missing_database_has_another_error_than_a_server_that_does_not_answer(
    database_url: str, tmp_path: Path
) -> None:
    server, _, _ = database_url.rpartition("/")
    told = refusal(tmp_path, f"{server}/no_such_database")
    assert "has no database no_such_database; create it (createdb no_such_database)" in told
    told = refusal(tmp_path, f"postgresql+psycopg://gateway:hunter2@127.0.0.1:{free_port()}/gateway")
    assert "cannot be reached, or refuses the login" in told
    assert "hunter2" not in told
