"""Running work in processes that are killed, or stopped, at a chosen effect."""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from tests.support.settings import ROOT


class Killer:
    """Starts the zygote and has it fork runs. Use as a context manager."""

    def __enter__(self) -> Self:
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait(30)
        assert self._zygote.stdout is not None
        self._zygote.stdout.close()

    def run(
        self, settings: dict[str, Any], work: str, subject_id: str, *, die_at: int | None = None
    ) -> int | None:
        """Do a kind of work (`work.WORK`) for a subject in a process of its own. Returns the number of its effects; None: it
        was killed."""
        return self._ask(self._run_of(settings, work, subject_id, at=die_at, signal="SIGKILL"))

    def stop(self, settings: dict[str, Any], work: str, subject_id: str, *, at: int) -> bool:
        """Do work in a process of its own that stops at an effect. False: it ended before."""
        return self._ask(self._run_of(settings, work, subject_id, at=at, signal="SIGSTOP")) is None

    def go_on(self) -> None:
        """Let the stopped process run to its end."""
        assert self._ask({"go_on": True}) is not None, "it was killed"

    @staticmethod
    def _run_of(settings: dict[str, Any], work: str, subject_id: str, **others: Any) -> dict[str, Any]:
        return {"settings": settings, "work": work, "subject_id": subject_id, **others}

    def _ask(self, wanted: dict[str, Any]) -> int | None:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps(wanted) + "\n")
        self._zygote.stdin.flush()
        answer: int | None = json.loads(self._zygote.stdout.readline())
        return answer
