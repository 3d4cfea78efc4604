"""A wheel of this checkout, installed as production installs it, once for all tests of a worker."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.settings import ROOT
from tools.servers.process import Account, command_as, server_account, within_reach, work_folder

INSTALL_TIMEOUT_S = 600


@dataclass(frozen=True)
class Installed:
    """The product in an environment of its own, and a folder of the account that runs it."""

    environment: Path
    wheel: Path
    home: Path
    account: Account

    @property
    def command(self) -> Path:
        return self.environment / "bin" / "imap-gateway"


def interpreter_for(account: Account, folder: Path) -> Path:
    """A Python that the account may start, also from a program of its own: ours, the machine's, or a copy of ours.

    Ours may lie below root's home. The probe goes through a shell: what setpriv starts itself, it starts with root's
    rights to look into folders.
    """
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    question = "import sys, ssl, sqlite3, venv; sys.exit(sys.version_info < (3, 11))"
    for python in (base, Path("/usr/bin/python3")):
        command = command_as(account, ["sh", "-c", f"{python} -c '{question}'; exit $?"])
        if subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0:
            return python
    return within_reach(Path(sys.base_prefix), account, folder) / "bin" / base.name


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command that must end well."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    account = server_account()
    home = work_folder("gateway-wheel-", account)
    home.chmod(0o755)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", home, str(ROOT), cwd=home)
    (wheel,) = home.glob("imap_gateway-*.whl")
    environment = home / "environment"
    run(interpreter_for(account, home), "-m", "venv", "--without-pip", environment, cwd=home)
    pip += ["--python", str(environment / "bin" / "python")]
    run(*pip, "install", "--require-hashes", "-r", ROOT / "requirements-production.lock", cwd=home)
    run(*pip, "install", "--no-deps", wheel, cwd=home)
    yield Installed(environment, wheel, home, account)
    shutil.rmtree(home)
