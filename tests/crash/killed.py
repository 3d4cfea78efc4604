"""Running cycles in processes that are killed at a chosen effect."""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from tests.conftest import ROOT


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
        self, settings: dict[str, Any], connector_id: str, *, die_at: int | None = None, cycles: int = 1
    ) -> int | None:
        """Run cycles in a process of their own; its effects, None where it was killed."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        wanted = {
            "settings": settings,
            "connector_id": connector_id,
            "die_at": die_at,
            "cycles": cycles,
        }
        self._zygote.stdin.write(json.dumps(wanted) + "\n")
        self._zygote.stdin.flush()
        answer: int | None = json.loads(self._zygote.stdout.readline())
        return answer
