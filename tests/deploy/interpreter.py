"""A Python of our version that the account of the servers may start."""

import subprocess
import sys
from pathlib import Path

from tools.servers.process import Account, command_as, within_reach


def interpreter_for(account: Account, folder: Path) -> Path:
    """A Python of our version that the account may start, also from a program of its own: ours, the machine's, or a copy of ours.

    Ours may lie below root's home. The probe goes through a shell: what setpriv starts itself, it starts with root's
    rights to look into folders.
    """
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    version = f"({sys.version_info.major}, {sys.version_info.minor})"
    question = f"import sys, ssl, sqlite3, venv; sys.exit(sys.version_info[:2] != {version})"
    for python in (base, Path("/usr/bin/python3")):
        command = command_as(account, ["sh", "-c", f"{python} -c '{question}'; exit $?"])
        if subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0:
            return python
    return within_reach(Path(sys.base_prefix), account, folder) / "bin" / base.name
