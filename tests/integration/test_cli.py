"""The commands of the operator."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app import __version__, cli
from app.adapters.identity import Claims, verifier_from
from app.config import Settings
from tools.servers.process import free_port, wait_until

KEY = "a-secret-key-of-thirty-two-characters-or-more"
JWT = "a-jwt-secret-of-thirty-two-bytes-or-more"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command in this process, in an empty folder; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, **environment: str) -> tuple[int, str, str]:
        for name, value in environment.items():
            monkeypatch.setenv(f"GATEWAY_{name}", value)
        monkeypatch.setattr(sys, "argv", ["imap-gateway", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output, errors = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), output, errors

    return call


def test_serve_without_settings_refuses_and_says_what_to_set(run: Run, tmp_path: Path) -> None:
    code, output, errors = run("serve", DATABASE_URL=f"sqlite:///{tmp_path / 'gateway.db'}")
    assert (code, output) == (2, "")
    for hint in ("GATEWAY_SECRET_KEYS", "generate-secret", "GATEWAY_JWT_SECRET", "GATEWAY_JWT_JWKS_URL"):
        assert hint in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "gateway.db").exists()


def test_serve_with_a_wrong_setting_names_it_without_its_value(run: Run) -> None:
    code, _, errors = run("serve", SECRET_KEYS="hunter2", JWT_SECRET=JWT)
    assert code == 2
    assert "GATEWAY_SECRET_KEYS" in errors
    assert "hunter2" not in errors


def test_a_generated_secret_serves_for_both_settings(run: Run) -> None:
    _, first, _ = run("generate-secret")
    _, second, _ = run("generate-secret")
    assert first != second
    Settings(secret_keys=first.strip(), jwt_secret=second.strip()).require_serving()


def test_a_development_token_is_accepted(run: Run) -> None:
    code, output, _ = run(
        "token", "--sub", "jana", "--group", "sales", "--group", "info", "--role", "admin", JWT_SECRET=JWT
    )
    assert code == 0
    claims = verifier_from(Settings.from_environment()).verify(output.strip())
    assert claims == Claims("jana", frozenset({"sales", "info"}), frozenset({"admin"}))


def test_without_the_shared_secret_there_are_no_development_tokens(run: Run) -> None:
    code, output, errors = run(
        "token",
        "--sub",
        "jana",
        JWT_JWKS_URL="https://idp.example/keys",
        JWT_ISSUER="https://idp.example",
        JWT_AUDIENCE="imap-gateway",
    )
    assert (code, output) == (2, "")
    assert "GATEWAY_JWT_SECRET" in errors


def test_a_key_is_made_listed_and_revoked(run: Run, database_url: str) -> None:
    code, key, _ = run(
        "keys", "create", "--name", "CRM", "--scope", "messages:read", DATABASE_URL=database_url
    )
    assert code == 0
    assert key.startswith("gwk_")
    _, listed, _ = run("keys", "list")
    assert key[:12] in listed
    assert "active" in listed
    assert key.strip()[13:] not in listed
    assert run("keys", "revoke", key[:12])[0] == 0
    assert "revoked" in run("keys", "list")[1]


def test_a_key_that_does_not_exist_is_not_revoked(run: Run, database_url: str) -> None:
    code, _, errors = run("keys", "revoke", "gwk_absent00", DATABASE_URL=database_url)
    assert code == 1
    assert "no such key" in errors


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--scope", "everything"), "scopes"),
        (("--scope", "admin", "--connector", "absent"), "/connector_ids/0"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    run: Run, database_url: str, arguments: tuple[str, ...], hint: str
) -> None:
    code, output, errors = run("keys", "create", "--name", "x", *arguments, DATABASE_URL=database_url)
    assert (code, output) == (1, "")
    assert hint in errors


def test_migrating_twice_is_no_error(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert run("migrate", DATABASE_URL=url)[0] == 0
    assert run("migrate")[0] == 0
    assert run("keys", "list") == (0, "", "")


def test_a_database_that_cannot_be_reached_is_one_sentence(run: Run, tmp_path: Path) -> None:
    code, _, errors = run("keys", "list", DATABASE_URL=f"sqlite:///{tmp_path}/no/such/folder/gateway.db")
    assert code == 1
    assert errors.count("\n") == 1
    assert "GATEWAY_DATABASE_URL" in errors


def test_rotation_without_keys_says_what_to_set(run: Run, database_url: str) -> None:
    code, _, errors = run("rotate-secrets", DATABASE_URL=database_url)
    assert code == 2
    assert "GATEWAY_SECRET_KEYS" in errors


def test_serve_migrates_serves_and_ends_at_a_signal(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'gateway.db'}",
        "GATEWAY_SECRET_KEYS": KEY,
        "GATEWAY_JWT_SECRET": JWT,
    }
    command = [sys.executable, "-m", "app.cli", "serve", "--port", str(port)]
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)

    def is_ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
        except httpx.TransportError:
            return server.poll() is not None

    try:
        wait_until(is_ready, 60, "the gateway to be ready")
        assert server.poll() is None
    finally:
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=30)
    assert "Traceback" not in errors
    assert JWT not in errors
    assert KEY not in errors


def test_the_version_is_told_without_loading_the_service() -> None:
    asked = (
        "import sys; from app.__main__ import main; sys.argv[1:] = ['--version']; main();"
        "print([name for name in ('app.cli', 'fastapi', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == f"imap-gateway {__version__}\n[]\n"
