"""The programs that read the files in deploy/ check them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from app.config import Settings
from app.services.fetching import history
from tests.support.settings import ROOT
from tools.servers.certificates import Certificates
from tools.servers.unpack import COMPOSE, NGINX, SYSTEMD, installed_folder, library_path, unpacked

DEPLOY = ROOT / "deploy"


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


def test_the_nginx_sample_fits_the_gateway() -> None:
    sample = (DEPLOY / "nginx.conf").read_text()
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", sample)
    assert int(megabytes) * 1024 * 1024 >= Settings.model_fields["max_request_octets"].default
    (location, rules) = re.findall(r"location ~ (\S+) \{(.*?)\}", sample, re.DOTALL)[0]
    unlogged = [path for path in ("/credential-links/token", "/events/stream") if re.match(location, path)]
    assert unlogged == ["/credential-links/token", "/events/stream"]
    assert "access_log off;" in rules
    assert "proxy_buffering off;" in rules
    # A fetch by command waits for a cycle that runs, and then runs its own.
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", sample)
    assert int(seconds) > 2 * history.WAIT_S
