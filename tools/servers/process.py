"""Processes of the test servers: started as nobody in particular, waited for by condition, ended by pid.

Dovecot and PostgreSQL both make trouble when run by root (PostgreSQL refuses, Dovecot refuses mail of uid 0),
so under root every server runs as `nobody`, and there is one way of running them, not two.
Only what was started here is ever signalled: each server leads a session of its own.
"""

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class ServerMissing(Exception):
    """A server can't be had on this machine; the text names what is missing."""


class ServerFailed(Exception):
    """An existing server did not start, or did not obey a command. The text holds its last output."""


class Started(Protocol):
    """A process that was started, as `subprocess.Popen` has it."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; subprocess.TimeoutExpired if it does not end in time."""


@dataclass(frozen=True)
class Account:
    """The account a server runs as."""

    name: str
    group: str
    uid: int
    gid: int


def server_account() -> Account:
    """The account for servers: our own, or `nobody` when we are root."""
    try:
        entry = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(entry.pw_gid).gr_name
    except KeyError as exc:
        raise ServerMissing(f"an account with a name for the servers to run as ({exc})") from exc
    return Account(entry.pw_name, group, entry.pw_uid, entry.pw_gid)


def command_as(account: Account, command: Sequence[str | Path], die_with: str = "TERM") -> list[str]:
    """The command, run as the account, and sent the signal `die_with` when the starting thread dies.

    setpriv and not `preexec_fn`: the test process has threads, and code between fork and exec may deadlock.
    """
    setpriv = shutil.which("setpriv", path=_search_path())
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        if setpriv is None:
            raise ServerMissing("setpriv (package util-linux), needed to run servers without root")
        drop = ["--reuid", str(account.uid), "--regid", str(account.gid), "--clear-groups"]
        return [setpriv, *drop, "--pdeathsig", die_with, "--", *words]
    return words if setpriv is None else [setpriv, "--pdeathsig", die_with, "--", *words]


def find_program(name: str) -> Path | None:
    """The program on the machine's path; the sbin folders count, which an ordinary user's PATH lacks."""
    found = shutil.which(name, path=_search_path())
    return Path(found) if found else None


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def work_folder(prefix: str, account: Account) -> Path:
    """A new folder of the account's own, with a path short enough for unix sockets (107 octets)."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    if len(str(folder)) > 60:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(folder, account.uid, account.gid)
    return folder


def within_reach(tree: Path, account: Account, folder: Path) -> Path:
    """The tree itself if the account may read it, otherwise a copy in `folder` (for a checkout below root's home)."""
    probe = subprocess.run(command_as(account, ["test", "-x", tree]), check=False, cwd="/")
    if probe.returncode == 0:
        return tree
    copy = folder / tree.name
    if not copy.exists():
        shutil.copytree(tree, copy, symlinks=True)
    return copy


def start(
    command: Sequence[str | Path],
    account: Account,
    folder: Path,
    *,
    die_with: str,
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own; what it prints goes to `output.log` in the folder."""
    with (folder / "output.log").open("ab") as output:
        return subprocess.Popen(
            command_as(account, command, die_with),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **environment},
            start_new_session=True,
        )


def end(
    process: Started,
    *,
    pid: int | None = None,
    with_signal: signal.Signals = signal.SIGTERM,
    grace_s: float = 3.0,
) -> None:
    """End a started process and all of its session's process group.

    `pid` is the process to ask first where that is not the started one (a server below a tracer).
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid if pid is not None else process.pid, with_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with contextlib.suppress(ServerFailed):
        wait_until(lambda: not _group_is_alive(process.pid), 5, "killed processes to go")


def is_alive(pid: int) -> bool:
    """Whether the process still holds its memory; a zombie nobody reaps (a container's pid 1) does not."""
    return _state_and_group(str(pid))[0] not in "ZX"


def _group_is_alive(group: int) -> bool:
    pids = (entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return any(state not in "ZX" and owner == group for state, owner in map(_state_and_group, pids))


def _state_and_group(pid: str) -> tuple[str, int]:
    """The letter of the process's state and its process group; "X" for one that is gone."""
    with contextlib.suppress(OSError):
        # "pid (name) state parent group …": the name may hold spaces and brackets.
        fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[2])
    return "X", 0


def free_port() -> int:
    """A loopback port that is free now; another process may take it first, so callers try again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def greets(port: int) -> bool:
    """Whether the server on the loopback port says something of its own accord, as IMAP does."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
        return bool(connection.recv(1))
    return False


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait for the condition; ServerFailed naming `what` when it does not come about in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ServerFailed(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.01)
