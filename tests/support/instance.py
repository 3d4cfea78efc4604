"""Instances of the gateway in processes of their own, which fetch from one mailbox when they are told to.

An instance reads a word a line: `once` runs a cycle, `on` runs cycles until the next word comes. After each cycle it
prints a JSON object a line: the error's code, and how many mails were found and stored; null where it did not run.
"""

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import event

from app import logs
from app.config import Settings
from app.gateway import Gateway
from app.services.fetching import fetch_cycle

PACE_S = 0.02
ROOT = Path(__file__).resolve().parents[2]


class Instance:
    """One instance; what it prints goes to the file. Ended with the block, and waited for.

    `pragmas` are set on each SQLite connection after the gateway's own; `under` is the command that starts it.
    """

    def __init__(
        self,
        output: Path,
        settings: Settings,
        connector_id: str,
        *,
        pragmas: Sequence[str] = (),
        under: Sequence[str] = (),
    ) -> None:
        values = {
            "database_url": settings.database_url,
            "secret_keys": ",".join(key.get_secret_value() for key in settings.secret_keys),
            "allowed_private_networks": "127.0.0.0/8",
            "lease_s": settings.lease_s,
            "command_timeout_s": settings.command_timeout_s,
            "fetch_threads": 1,
        }
        wanted = {"settings": values, "connector_id": connector_id, "pragmas": list(pragmas)}
        self._command = [*under, sys.executable, "-m", "tests.support.instance", json.dumps(wanted)]
        self._output = output

    def __enter__(self) -> Self:
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=output, text=True
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()

    def tell(self, word: str) -> None:
        """Send a word."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def cycles(self) -> list[dict[str, Any] | None]:
        """What became of the cycles that have ended."""
        lines = self._output.read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]

    @property
    def octets_told(self) -> int:
        """Grows with each cycle, run or not."""
        return self._output.stat().st_size

    @property
    def stored(self) -> int:
        """How many mails it has stored."""
        return sum(cycle["stored"] for cycle in self.cycles() if cycle is not None)


def main() -> None:
    """Serve until standard input ends."""
    logs.configure(level=50)
    wanted = json.loads(sys.argv[1])
    with contextlib.closing(Gateway.from_settings(Settings(**wanted["settings"]))) as gateway:

        @event.listens_for(gateway.db.engine, "connect")
        def _on_connect(connection: Any, _record: object) -> None:
            for pragma in wanted["pragmas"]:
                connection.execute(f"PRAGMA {pragma}")

        for word in sys.stdin:
            _run(gateway, wanted["connector_id"])
            while word.strip() == "on" and not select.select([sys.stdin], [], [], PACE_S)[0]:
                _run(gateway, wanted["connector_id"])


def _run(gateway: Gateway, connector_id: str) -> None:
    cycle = fetch_cycle.run(gateway, connector_id)
    told = None
    if cycle is not None:
        told = {"error": cycle.error_code, "found": cycle.found, "stored": cycle.stored}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
