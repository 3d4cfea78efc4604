"""The programs that read the files in deploy/ check them. The steps of the image run one by one."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml

from app.config import Settings
from tests.deploy.conftest import interpreter_for
from tests.support.settings import ROOT
from tools.servers.certificates import Certificates
from tools.servers.process import (
    end,
    free_port,
    server_account,
    start,
    wait_until,
    work_folder,
)
from tools.servers.unpack import COMPOSE, NGINX, SYSTEMD, installed_folder, library_path, unpacked

DEPLOY = ROOT / "deploy"
IMAGE_FOLDERS = ("build", "opt", "data")
STEP = re.compile(r"^(FROM|COPY|RUN|ENV|USER|WORKDIR|VOLUME|EXPOSE|HEALTHCHECK|CMD)\s+(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def test_the_compose_file_keeps_to_the_rules_for_one(compose: dict[str, Any]) -> None:
    (rules,) = unpacked(COMPOSE).rglob("compose_spec.json")
    validator = jsonschema_rs.validator_for(json.loads(rules.read_text()))
    assert list(validator.iter_errors(compose)) == []
    assert not validator.is_valid({**compose, "services": {"gateway": {"prots": ["8000"]}}})


def test_the_compose_file_gives_settings_that_exist(compose: dict[str, Any]) -> None:
    names = {
        name.removeprefix("GATEWAY_").removesuffix("_FILE").lower()
        for name in compose["services"]["gateway"]["environment"]
    }
    assert names <= set(Settings.model_fields)
    files = {Path(each["file"]).name for each in compose["secrets"].values()}
    assert files == {"database_url", "database_password", "secret_keys", "jwt_secret"}


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    installed = installed_folder(SYSTEMD)
    tree = None if installed else unpacked(SYSTEMD)
    verify = str(installed / "systemd-analyze" if installed else tree / "usr/bin/systemd-analyze")  # type: ignore[operator]
    shared = sorted((tree / "usr/lib").glob("*/systemd")) if tree else []
    libraries = ":".join([*map(str, shared), library_path(tree)]) if tree else ""
    environment = {**os.environ, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}
    text = (DEPLOY / "imap-gateway.service").read_text()
    # The program is looked for: here it is another one that exists.
    unit = tmp_path / "imap-gateway.service"
    unit.write_text(text.replace("/opt/imap-gateway/bin/imap-gateway", sys.executable))

    def check() -> str:
        command = [verify, "verify", "--man=no", str(unit)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        return done.stderr

    told = [line for line in check().splitlines() if "imap-gateway" in line]
    assert told == []
    unit.write_text(unit.read_text().replace("Restart=on-failure", "Restart=sometimes"))
    assert "sometimes" in check()


def test_nginx_takes_the_sample_and_refuses_it_misspelt(tmp_path: Path) -> None:
    installed = installed_folder(NGINX)
    tree = None if installed else unpacked(NGINX)
    program = installed / "nginx" if installed else tree / "usr/sbin/nginx"  # type: ignore[operator]
    made = Certificates.made_in(tmp_path)
    sample = (DEPLOY / "nginx.conf").read_text()
    sample = sample.replace("/etc/ssl/certs/mail.example.com.pem", str(made.server_file))
    sample = sample.replace("/etc/ssl/private/mail.example.com.key", str(made.server_file))

    def check(text: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "site.conf").write_text(text)
        (tmp_path / "nginx.conf").write_text(
            f"pid {tmp_path}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;"
            f" fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;"
            f" include {tmp_path}/site.conf; }}\n"
        )
        libraries = {"LD_LIBRARY_PATH": library_path(tree)} if tree else {}
        return subprocess.run(
            [program, "-t", "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"],
            env={**os.environ, **libraries},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    done = check(sample)
    assert done.returncode == 0, done.stderr
    assert check(sample.replace("proxy_buffering off", "proxy_bufering off")).returncode != 0


def test_the_image_is_built_and_runs_step_by_step() -> None:
    """The steps of deploy/Dockerfile with its folders below a temporary one, and its user's command at the end."""
    account = server_account()
    image = work_folder("gateway-image-", account)
    image.chmod(0o755)
    values: dict[str, str] = {}
    steps = STEP.findall((DEPLOY / "Dockerfile").read_text())
    assert [word for word, _ in steps].count("FROM") == 2
    command: list[str] = []
    stage = 0
    for word, rest in steps:
        stage += word == "FROM"
        if word == "FROM":
            wanted = re.match(r"python:(\d+)\.(\d+)-slim", rest)
            assert wanted is not None
            assert (int(wanted[1]), int(wanted[2])) >= (3, 11)
        elif word == "COPY" and stage == 1:
            copy(rest, image / "build")
        elif word == "RUN":
            execute(moved(rest, image), image / "build")
        elif word == "ENV":
            values |= dict(each.split("=", 1) for each in shlex.split(moved(rest, image)))
        elif word == "CMD":
            command = json.loads(rest)
        elif word == "USER":
            assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", rest)
    port = free_port()
    command = [str(image / "opt/gateway/bin" / command[0]), *command[1:]]
    command[command.index("--host") + 1], command[command.index("--port") + 1] = "127.0.0.1", str(port)
    if os.geteuid() == 0:
        os.chown(image / "data", account.uid, account.gid)
    settings = {
        "GATEWAY_DATABASE_URL": values["GATEWAY_DATABASE_URL"],
        "GATEWAY_SECRET_KEYS": "a-secret-key-of-thirty-two-characters-or-more",
        "GATEWAY_JWT_SECRET": "a-jwt-secret-of-thirty-two-bytes-or-more",
    }
    server = start(command, account, image / "data", die_with="KILL", environment=settings)
    check = health_check(steps, port)
    try:
        wait_until(lambda: check() or server.poll() is not None, 60, "the image's health check")
        assert server.poll() is None, (image / "data/output.log").read_text()
        assert (image / "data/gateway.db").exists()
        assert httpx.get(f"http://127.0.0.1:{port}/docs", trust_env=False).status_code == 200
    finally:
        end(server, grace_s=30)
    shutil.rmtree(image)


def health_check(steps: list[tuple[str, str]], port: int) -> Any:
    """Run the image's health check against the port. Returns whether it passes."""
    (text,) = [rest for word, rest in steps if word == "HEALTHCHECK"]
    words = json.loads(text[text.index("CMD ") + 4 :])
    words = [sys.executable, *(each.replace(":8000/", f":{port}/") for each in words[1:])]
    return lambda: subprocess.run(words, capture_output=True, check=False, timeout=30).returncode == 0


def moved(text: str, image: Path) -> str:
    """A step with the image's folders below the temporary one."""
    text = re.sub(rf"(?<![\w.]){re.escape('/')}({'|'.join(IMAGE_FOLDERS)})(?=[/\s]|$)", rf"{image}/\1", text)
    text = re.sub(r"(sqlite:////)data/", rf"sqlite:///{image}/data/", text)
    return re.sub(r"\bpython -m venv", f"{interpreter_for(server_account(), image)} -m venv", text)


def copy(rest: str, target: Path) -> None:
    """Copy files of the checkout that git knows, as a clean checkout would have them."""
    *sources, _ = rest.split()
    target.mkdir(exist_ok=True)
    for source in sources:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", source],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in listed.stdout.splitlines():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def execute(step: str, folder: Path) -> None:
    """Run one step in the shell; giving files to the image's user is left to who is root."""
    step = re.sub(r" && chown \S+ \S+$", "", step)
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        ["sh", "-ec", step], cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
