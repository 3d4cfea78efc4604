"""The identity of this process, so that another process on the same machine can know for certain that it has died.

This works on Linux only (proc(5)). Elsewhere no process ever counts as dead, and a lease ends by time.
"""

import os
import secrets
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_START_TIME_FIELD = 19
"""Index among the fields after the command's name in /proc/<pid>/stat: `starttime`, the 22nd field of all."""


def identity() -> str:
    """A unique name of this process: machine, boot and pid namespace; pid; start time. If they cannot be known, a random name,
    which never counts as dead. Do not keep the name: a forked child is another process."""
    machine = _machine()
    start = _start_time(os.getpid())
    if machine is None or start is None:
        return f"?/{secrets.token_hex(8)}"
    return f"{machine}/{os.getpid()}/{start}"


def is_dead(other: str) -> bool:
    """Whether the other process has certainly ended. False if this process cannot know."""
    machine, _, rest = other.partition("/")
    pid, _, start = rest.partition("/")
    if machine == "?" or machine != _machine() or not pid.isdigit():
        return False
    return _start_time(int(pid)) != start


def _machine() -> str | None:
    try:
        return f"{_BOOT_ID.read_text().strip()}:{_PID_NAMESPACE.readlink()}"
    except OSError:
        return None


def _start_time(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name is in parentheses and may contain any characters, also parentheses.
    return stat.rpartition(")")[2].split()[_START_TIME_FIELD]
