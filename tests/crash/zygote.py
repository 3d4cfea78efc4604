"""A process that has imported everything and has no thread, and forks one child for each run: starting Python anew
takes a second, forking it a few milliseconds.

Reads a JSON object a line: settings, connector, and the effect to die at (null: none). Answers with the number of
effects, or null where the child was killed.
"""

import json
import os
import sys
from typing import Any

from app import logs
from app.config import Settings
from app.gateway import Gateway
from app.services import fetch_cycle
from tests.crash.effects import Effects


def main() -> None:
    """Serve until standard input ends."""
    logs.configure(level=50)
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), flush=True)


def _forked(wanted: dict[str, Any]) -> int | None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(wanted, writing)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return int(told) if told else None


def _run(wanted: dict[str, Any], writing: int) -> None:
    effects = Effects(wanted["die_at"])
    gateway = Gateway.from_settings(Settings(**wanted["settings"]))
    effects.watch(gateway.db.engine)
    for _ in range(wanted["cycles"]):
        fetch_cycle.run(gateway, wanted["connector_id"])
    os.write(writing, str(effects.count).encode())
    gateway.close()


if __name__ == "__main__":
    main()
