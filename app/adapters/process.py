"""Who this process is, so that another one on the same machine can tell for certain that it has died.

Linux only (proc(5)); elsewhere nobody is ever told to be dead, and a lease runs out by time.
"""

import os
import secrets
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_START_TIME_FIELD = 19
"""Of what follows the command's name in /proc/<pid>/stat: `starttime`, the 22nd field of all."""


def identity() -> str:
    """This process, unmistakable: machine, boot and pid namespace; pid; start time. Where they can't be known,
    something random: it is never taken for dead. Not to be kept: a forked child is another process."""
    machine = _machine()
    start = _start_time(os.getpid())
    if machine is None or start is None:
        return f"?/{secrets.token_hex(8)}"
    return f"{machine}/{os.getpid()}/{start}"


def is_dead(other: str) -> bool:
    """Whether that process certainly runs no more. False where it cannot be known from here."""
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
    # The command's name stands in parentheses and may hold anything, parentheses too.
    return stat.rpartition(")")[2].split()[_START_TIME_FIELD]
