"""A process that has imported everything and has no thread, and forks one child for each run: starting Python anew
takes a second, forking it a few milliseconds.

Reads a JSON object a line: settings, the kind of work and its subject, the effect to be hit at (null: none), and the signal. Answers with
the number of effects, or null where the child was killed or stands still. `{"go_on": true}` wakes the one that stands
still, and answers the same when it has ended.
"""

import contextlib
import json
import os
import signal
import sys
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.config import Settings
from app.errors import StoreUnavailable
from app.gateway import Gateway
from tests.crash.effects import Effects
from tests.crash.work import WORK


class Child:
    """A forked run."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reading)
            _run(wanted, writing)
            os._exit(0)
        os.close(writing)

    def wait(self) -> bool:
        """Whether it has ended. If not, it is stopped."""
        return not os.WIFSTOPPED(os.waitpid(self._pid, os.WUNTRACED)[1])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self._pid, number)

    def told(self) -> int | None:
        """The number of effects that it counted, when it has ended. None: it was killed."""
        with os.fdopen(self._reading, "rb") as answer:
            count = answer.read()
        return int(count) if count else None


def main() -> None:
    """Serve until standard input ends."""
    logs.configure(level=50)
    standing: Child | None = None
    for line in sys.stdin:
        wanted = json.loads(line)
        if wanted.get("go_on"):
            assert standing is not None
            child, standing = standing, None
            child.signal(signal.SIGCONT)
        else:
            child = Child(wanted)
        if child.wait():
            print(json.dumps(child.told()), flush=True)
        else:
            standing = child
            print("null", flush=True)
    if standing is not None:
        standing.signal(signal.SIGKILL)


def _run(wanted: dict[str, Any], writing: int) -> None:
    effects = Effects(wanted["at"], signal.Signals[wanted["signal"]], with_reading=wanted["work"] == "fetch")
    gateway = Gateway.from_settings(Settings(**wanted["settings"]))
    effects.watch(gateway.db.engine)
    if wanted["signal"] == "SIGSTOP" and not gateway.db.is_sqlite:
        event.listen(gateway.db.engine, "connect", _be_impatient)
    # The database ends the transaction of a stopped process, as happens in production.
    with contextlib.suppress(SQLAlchemyError, StoreUnavailable):
        WORK[wanted["work"]](gateway, wanted["subject_id"])
    os.write(writing, str(effects.count).encode())
    gateway.close()


def _be_impatient(connection: Any, _record: object) -> None:
    """Otherwise PostgreSQL waits a minute before it takes the locks from a stopped process."""
    with connection.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = '2s'")
    connection.commit()


if __name__ == "__main__":
    main()
