"""The gateway's command, without the seconds that Python needs to import it: forked from a process that has imported it.

This process has no thread and runs nothing of the gateway; the child gets the arguments, environment, folder, umask and output
files of the command, and runs its entry point to the end. `test_cli.py` starts it as an operator does, by exec, and so do the
tests of the wheel.

A request is a JSON object, with three files: standard output and error, and a pipe for the answers, which are two lines: the
process id, and the status of its end.
"""

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
REQUEST_MAX_OCTETS = 200_000


class ForkedCommand:
    """A running `imap-gateway`, in a session of its own. It has what the tests need of `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        output: IO[bytes],
        errors: IO[bytes] | None = None,
    ) -> None:
        """Start it. Without `errors`, they go to the output."""
        umask = os.umask(0)
        os.umask(umask)
        asked = {
            "arguments": list(arguments), "folder": str(folder), "environment": dict(environment), "umask": umask
        }  # fmt: skip
        reading, writing = os.pipe()
        self._answers = os.fdopen(reading)
        files = [output.fileno(), (output if errors is None else errors).fileno(), writing]
        request = json.dumps(asked).encode()
        assert len(request) < REQUEST_MAX_OCTETS
        socket.send_fds(_forker(), [request], files)
        os.close(writing)
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal. None: it runs."""
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self._take_exit_code()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired
        """
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("imap-gateway", timeout or 0.0)
            self._take_exit_code()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _take_exit_code(self) -> None:
        self.returncode = os.waitstatus_to_exitcode(int(self._answers.readline()))
        self._answers.close()


class HeardCommand(ForkedCommand):
    """One whose output and errors are kept, each as text."""

    def __init__(self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - `ended` closes both
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        super().__init__(
            arguments, folder=folder, environment=environment, output=self._output, errors=self._errors
        )

    def errors(self) -> str:
        """What it has written so far. The file's position belongs to the command, too: it stays."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode()

    def ended(self, timeout: float) -> tuple[str, str]:
        """Wait for its end; its output and its errors."""
        self.wait(timeout)
        errors = self.errors()
        self._output.seek(0)
        output = self._output.read().decode()
        self._output.close()
        self._errors.close()
        return output, errors


@functools.cache
def _forker() -> socket.socket:
    """The process that forks, one for each worker of the tests. It ends when this process does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    subprocess.Popen(
        [sys.executable, "-m", "tests.support.forked_command", str(theirs.fileno())],
        cwd=ROOT,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    theirs.close()
    return ours


def main() -> None:
    """Fork for each request, until the other end is closed."""
    from app import cli  # here, because who asks for a command need not import it

    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a process with threads must not fork"
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel takes away what has ended
    while True:
        request, files, _, _ = socket.recv_fds(requests, REQUEST_MAX_OCTETS, 3)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if _is_watched(*files):
                return
            _become(**json.loads(request))
            cli.main()
            return
        for each in files:
            os.close(each)


def _is_watched(output: int, errors: int, answers: int) -> bool:
    """Fork once more: in the child False, with its output in place. The parent answers until the child has ended."""
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        for number, file in ((1, output), (2, errors)):
            os.dup2(file, number)
        os.close(output)
        if errors != output:
            os.close(errors)
        return False
    os.close(output)
    os.close(errors)
    os.write(answers, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(answers, f"{status}\n".encode())
    os._exit(0)


def _become(*, arguments: list[str], folder: str, environment: dict[str, str], umask: int) -> None:
    """What exec would have made of this process."""
    os.setsid()
    os.umask(umask)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["imap-gateway", *arguments]


if __name__ == "__main__":
    main()
