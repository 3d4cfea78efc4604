"""The steps of the image build a wheel and install it with what production needs. From there the product runs, in
another folder, as an ordinary user."""

import os
import re
import signal
import subprocess
import sys
import tomllib
import zipfile

import httpx

from app import __version__
from tests.deploy.conftest import Installed, run
from tests.deploy.distributions import copied_to, pins, with_needs
from tests.deploy.image import Image, health_check
from tests.support.settings import ROOT
from tools.servers.process import command_as, end, free_port, start, wait_until

SETTINGS = {
    "GATEWAY_SECRET_KEYS": "a-secret-key-of-thirty-two-characters-or-more",
    "GATEWAY_JWT_SECRET": "a-jwt-secret-of-thirty-two-bytes-or-more",
}


def environment(installed: Installed) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PYTHON"))}
    return {**kept, **SETTINGS, "HOME": str(installed.home), "PYTHONDONTWRITEBYTECODE": "1"}


def call(installed: Installed, *arguments: str) -> str:
    """Run the installed command as the account; its output."""
    done = subprocess.run(
        command_as(installed.account, [installed.command, *arguments]),
        cwd=installed.home,
        env=environment(installed),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_carries_the_migrations_and_no_top_level_alembic(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    scripts = {
        f"app/migration_scripts/{path.relative_to(ROOT / 'alembic')}"
        for path in (ROOT / "alembic").rglob("*.py")
    }
    assert scripts <= set(names)
    assert {name.split("/")[0] for name in names} == {"app", f"imap_gateway-{__version__}.dist-info"}


def test_production_installs_the_tested_versions_and_no_tools_of_developers() -> None:
    production, tested, build = (
        pins(ROOT / name)
        for name in ("requirements-production.lock", "requirements.lock", "requirements-build.lock")
    )
    assert production.items() <= tested.items()
    assert build.items() <= tested.items()
    assert {"fastapi", "sqlmodel", "imapclient", "psycopg-binary"} <= set(production)
    assert not {"pytest", "mypy", "playwright", "ruff", "hypothesis", "pymap"} & set(production)
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[\[><=]", each)[0].replace(".", "-") for each in needed} <= set(production)


def test_the_command_prints_its_version(installed: Installed) -> None:
    assert call(installed, "--version") == f"imap-gateway {__version__}\n"


def test_the_image_runs_as_its_user(image: Image) -> None:
    """Its folders lie below a temporary one; its command and its health check are those of deploy/Dockerfile."""
    port = free_port()
    command = [str(image.folder / "opt/gateway/bin" / image.command[0]), *image.command[1:]]
    command[command.index("--host") + 1], command[command.index("--port") + 1] = "127.0.0.1", str(port)
    data = image.folder / "data"
    if os.geteuid() == 0:
        os.chown(data, image.account.uid, image.account.gid)
    settings = {"GATEWAY_DATABASE_URL": image.values["GATEWAY_DATABASE_URL"], **SETTINGS}
    server = start(command, image.account, data, die_with="KILL", environment=settings)
    check = health_check(image.steps, port)
    try:
        wait_until(lambda: check() or server.poll() is not None, 60, "the image's health check")
        assert server.poll() is None, (data / "output.log").read_text()
        assert (data / "gateway.db").exists()
        assert httpx.get(f"http://127.0.0.1:{port}/docs", trust_env=False).status_code == 200
    finally:
        end(server, grace_s=30)


def test_it_migrates_and_serves_as_an_ordinary_user(installed: Installed) -> None:
    assert "up to date" in call(installed, "migrate")
    assert (installed.home / "gateway.db").exists()
    port = free_port()
    log = installed.home / "serve.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command_as(installed.account, [installed.command, "serve", "--port", str(port)]),
            cwd=installed.home,
            env=environment(installed),
            stderr=output,
        )

    def is_ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return server.poll() is not None

    try:
        wait_until(is_ready, 60, "the gateway to be ready")
        assert server.poll() is None, log.read_text()
        token = call(installed, "token", "--sub", "me", "--role", "admin").strip()
        answer = httpx.get(
            f"http://127.0.0.1:{port}/connectors",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
        assert (answer.status_code, answer.json()["data"]) == (200, [])
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    first = log.read_text().split("\n")[0]
    assert f'"version": "{__version__}"' in first
    assert "sqlite" in first
    assert "Traceback" not in log.read_text()


def test_the_demo_runs_from_the_wheel_with_its_extra_and_leaves_nothing_behind(installed: Installed) -> None:
    """Last in this file: it adds to the environment what production does not install."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    pip += ["--python", str(installed.environment / "bin" / "python"), "install"]
    around = dict(os.environ)
    if installed.is_quick:
        copied_to(installed.environment, with_needs("aiosmtpd", "pymap"))
        # Without any place to look in, pip fails if the extra needs what is not there.
        pip.append("--no-index")
        around = {name: value for name, value in around.items() if not name.startswith("PIP_")}
    run(*pip, f"{installed.wheel}[demo]", cwd=installed.home, environment=around)
    temporary = installed.home / "temporary"
    temporary.mkdir()
    temporary.chmod(0o777)
    done = subprocess.run(
        command_as(installed.account, [installed.command, "demo", "--once"]),
        cwd=installed.home,
        env={**environment(installed), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything happened as it should." in done.stdout
    assert list(temporary.iterdir()) == []
