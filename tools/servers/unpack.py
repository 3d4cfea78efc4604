"""Servers for machines that have none: the distribution's packages, unpacked into the project's own folder.

Nothing is installed: `apt-get download` fetches the packages and those of their dependencies that the machine
lacks, `dpkg -x` lays them out below `.servers/`, no maintainer script runs, so no daemon starts and no root
is needed. `python -m tools.servers.unpack` fetches all ahead of time. TEST_UNPACK=1 takes no notice of installed
servers, TEST_SERVERS_DIR puts the folder elsewhere (a read-only checkout).
"""

import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.servers.process import ServerMissing, find_program

STAMP = ".complete"
# Not needed to run the server itself, or harmful: a second C library beside the machine's loader crashes;
# PostgreSQL's LLVM is a hundred megabytes and serves only its just-in-time compiler, which the tests turn off.
UNWANTED = re.compile(
    r"^(libc6|libc-bin|libc-l10n|locales|libllvm.*|perl.*|libperl.*|lib.*-perl|netbase|ssl-cert|ucf|sysvinit.*"
    r"|exim4.*|bsd-mailx|mailutils|gnutls-bin|debconf|lsb-base|mysql-common|mariadb-common|guile.*|gamin|tcl.*|expect"
    r"|python3.*|libpython3.*|postgresql-common.*|postgresql-client-common|systemd.*|adduser|init-system-helpers|.*-dev|openssl)$"
)


@dataclass(frozen=True)
class Package:
    """One server of the distribution: the package to ask for and a program that shows it is installed."""

    name: str
    packages: tuple[str, ...]
    program: str


DOVECOT = Package("dovecot", ("dovecot-core", "dovecot-imapd"), "dovecot")
PROOT = Package("proot", ("proot",), "proot")
# These four are never taken from the machine: the packages of IMAP servers exclude each other, and so do those of mail servers.
COURIER = Package("courier", ("courier-imap",), "")
MAILUTILS = Package("mailutils", ("mailutils-imap4d",), "")
CYRUS = Package("cyrus", ("cyrus-imapd", "libsasl2-modules"), "")
EXIM = Package("exim", ("exim4-daemon-light",), "")
POSTGRESQL = Package("postgresql", ("postgresql",), "initdb")
# With a font: a machine without a screen has none, and then a page has no text.
CHROMIUM = Package("chromium", ("chromium", "fonts-dejavu-core"), "chromium")
NGINX = Package("nginx", ("nginx",), "nginx")
# Not run: it contains the rules for a compose file.
COMPOSE = Package("compose", ("docker-compose",), "")
# Not run as a service: it checks a unit.
SYSTEMD = Package("systemd", ("systemd", "libsystemd-shared"), "systemd-analyze")
# No server: it watches what the gateway asks of the kernel.
STRACE = Package("strace", ("strace",), "strace")


class _AptFailed(Exception):
    pass


def unpacking_is_forced() -> bool:
    """Whether to ignore installed servers."""
    return os.environ.get("TEST_UNPACK", "") not in ("", "0")


def installed_folder(package: Package) -> Path | None:
    """The folder of the installed server's programs. None: there is none, or unpacking is forced."""
    if unpacking_is_forced():
        return None
    # Debian keeps PostgreSQL's server programs off the PATH, one folder for each major version.
    versioned = list(Path("/usr/lib/postgresql").glob(f"*/bin/{package.program}"))
    program = find_program(package.program)
    if program is None and versioned:
        program = max(versioned, key=lambda found: float(found.parts[-3]))
    return program.resolve().parent if program else None


def servers_folder() -> Path:
    """Where everything is that the tests need beside the locked packages of Python."""
    return Path(os.environ.get("TEST_SERVERS_DIR") or Path(__file__).parents[2] / ".servers").absolute()


def unpacked(package: Package) -> Path:
    """The root of the server's unpacked tree, fetched now if need be; ServerMissing when that is impossible."""
    home = servers_folder()
    tree = home / package.name
    if _is_complete(tree):
        return tree
    for tool in ("apt-get", "dpkg"):
        if find_program(tool) is None:
            raise ServerMissing(
                f"{package.name}: not installed, and there is no {tool} here to fetch it with"
            )
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / ".lock"):
            if not _is_complete(tree):  # another worker may have been first
                _fetch(package, tree)
    except OSError as exc:
        raise ServerMissing(f"{package.name}: not installed, and {home} can't be written ({exc})") from exc
    return tree


def library_path(*trees: Path) -> str:
    """LD_LIBRARY_PATH for the trees' own libraries; what the trees lack comes from the machine."""
    folders = [
        folder
        for tree in trees
        for above in (tree / "usr/lib", tree / "lib")
        for folder in (*above.glob("*-linux-*"), above)
        if folder.is_dir() and any(folder.glob("lib*.so*"))
    ]
    return ":".join(str(folder) for folder in folders)


def _distribution() -> str:
    release = platform.freedesktop_os_release()
    return f"{release.get('ID')} {release.get('VERSION_ID', '')} {platform.machine()}"


def _is_complete(tree: Path) -> bool:
    stamp = tree / STAMP
    return stamp.is_file() and stamp.read_text().startswith(_distribution() + "\n")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file; one worker fetches, the others wait. The kernel frees it when the holder dies."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    # Not sys.stderr: pytest captures that, and a fetch of half a minute must not look like a hang.
    print(f"servers: {text}", file=sys.__stderr__, flush=True)


def _fetch(package: Package, tree: Path) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f".{package.name}-", dir=tree.parent) as temporary:
        archives = _download(package, Path(temporary) / "archives")
        root = Path(temporary) / "root"
        root.mkdir(mode=0o755)
        for number, archive in enumerate(archives, 1):
            _say(f"{package.name}: unpacking {number}/{len(archives)} {archive.name.split('_')[0]}")
            _run(["dpkg", "-x", str(archive), str(root)], root)
        # dpkg takes the root folder's mode from the archive; under root another account must get in.
        root.chmod(0o755)
        names = "\n".join(archive.name for archive in archives)
        (root / STAMP).write_text(f"{_distribution()}\n{names}\n")
        if tree.exists():  # of another distribution, or incomplete
            shutil.rmtree(tree)
        root.rename(tree)
    _say(f"{package.name}: ready in {time.monotonic() - started:.1f} s")


def _download(package: Package, folder: Path) -> list[Path]:
    """Fetch with the machine's package lists, otherwise with new lists of our own. Returns the archives, sorted."""
    home = folder.parents[1]
    try:
        return _download_with([], package, folder)
    except _AptFailed as exc:
        _say(f"{package.name}: the machine's package lists do not serve ({exc}); fetching lists of our own")
    try:
        options = _private_state(home / "apt")
        update = subprocess.run(
            ["apt-get", *options, "update"],
            capture_output=True,
            text=True,
            check=False,
            env=_apt_environment(),
            timeout=600,
        )
        # One unreachable third-party source makes the update fail; whether ours is there shows in what follows.
        if update.returncode:
            _say(f"apt-get update: {_last_line(update.stderr)}")
        return _download_with(options, package, folder)
    except (_AptFailed, subprocess.TimeoutExpired) as exc:
        wanted = " ".join(package.packages)
        raise ServerMissing(
            f"{package.name}: not installed, and apt-get can't fetch {wanted} ({exc})"
        ) from exc


def _private_state(folder: Path) -> list[str]:
    """apt options that keep lists and caches in the folder; the machine's sources and dpkg status still hold."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": folder / "cache",
        "Acquire::http::Timeout": 30,
        "Acquire::https::Timeout": 30,
    }
    # Root's apt downloads as the user _apt, which may not be let into our folder.
    settings |= {"APT::Sandbox::User": "root"} if os.geteuid() == 0 else {}
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _download_with(options: list[str], package: Package, folder: Path) -> list[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    wanted = [_concrete(options, name, folder) for name in package.packages]
    simulation = ["apt-get", *options, "--simulate", "--no-install-recommends", "install", *wanted]
    lacking = re.findall(r"^Inst ([^ ]+) ", _run(simulation, folder), re.MULTILINE)
    # A package that is installed already is not in the simulation, yet a forced unpacking needs it.
    names = sorted(set(wanted) | {name for name in lacking if not UNWANTED.match(name)})
    _say(f"{package.name}: fetching {len(names)} packages: {' '.join(names)}")
    _run(["apt-get", *options, "download", *names], folder)
    return sorted(folder.glob("*.deb"))


def _concrete(options: list[str], name: str, folder: Path) -> str:
    """The package behind a name that only points at the current version (postgresql → postgresql-15)."""
    depends = _run(["apt-cache", *options, "depends", name], folder)
    found = re.search(rf"^ +Depends: ({re.escape(name)}-[0-9]+)$", depends, re.MULTILINE)
    return found.group(1) if found else name


def _apt_environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=_apt_environment(), capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise _AptFailed(_last_line(done.stderr))
    return done.stdout


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def main() -> int:
    """Fetch every server that is not installed; 1 when one can't be had and CI=true."""
    missing = []
    for package in (
        DOVECOT,
        PROOT,
        POSTGRESQL,
        COURIER,
        CYRUS,
        MAILUTILS,
        EXIM,
        CHROMIUM,
        STRACE,
        NGINX,
        SYSTEMD,
        COMPOSE,
    ):
        folder = installed_folder(package) if package.program else None
        try:
            _say(
                f"{package.name}: installed in {folder}" if folder else f"{package.name}: {unpacked(package)}"
            )
        except ServerMissing as exc:
            missing.append(package.name)
            _say(f"missing: {exc}")
    return 1 if missing and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
