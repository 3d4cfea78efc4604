"""A wheel of this checkout, installed as the image installs it, once for all tests of a worker."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.image import Image, built_image
from tools.servers.process import Account, work_folder

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


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command that must end well."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    made = built_image()
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture(scope="session")
def installed(image: Image) -> Iterator[Installed]:
    home = work_folder("gateway-wheel-", image.account)
    home.chmod(0o755)
    (wheel,) = (image.folder / "build" / "wheels").glob("imap_gateway-*.whl")
    yield Installed(image.folder / "opt" / "gateway", wheel, home, image.account)
    shutil.rmtree(home)
