"""A wheel of this checkout, installed as the image installs it, once for all tests of a worker; by `make soak` with all that
pip fetches, too."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
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
    is_quick: bool

    @property
    def command(self) -> Path:
        return self.environment / "bin" / "imap-gateway"


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str]) -> None:
    """Run a command that must end well."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session", params=["quick", pytest.param("from pip", marks=pytest.mark.soak)])
def image(request: pytest.FixtureRequest) -> Iterator[Image]:
    made = built_image(is_quick=request.param == "quick")
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture(scope="session")
def installed(image: Image) -> Iterator[Installed]:
    home = work_folder("gateway-wheel-", image.account)
    home.chmod(0o755)
    (wheel,) = (image.folder / "build" / "wheels").glob("imap_gateway-*.whl")
    yield Installed(image.folder / "opt" / "gateway", wheel, home, image.account, image.is_quick)
    shutil.rmtree(home)
