"""The effects of a process on the world outside it: commands to mail servers and their answers, requests to receivers
and theirs, statements and commits. Each has a moment before and one after it, at which the process can be killed or
stopped."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from app.adapters.checked_http import TimedStream
from app.adapters.imap.connection import WiredIMAP4
from app.adapters.smtp.connection import Client


class Effects:
    """Counts effects from now on, in all threads, and sends this process a signal at one of them. For a child of the
    test. Statements that only read count if they are asked for: a process that is killed there has changed nothing since
    the effect before."""

    def __init__(self, at: int | None, number: signal.Signals, *, with_reading: bool) -> None:
        self._at = at
        self._signal = number
        self._with_reading = with_reading
        self._lock = threading.Lock()
        self.count = 0

    def watch(self, engine: Engine) -> None:
        """Count what goes to mail servers, to receivers of events, and to this database, and what comes back."""
        self._wrap(WiredIMAP4, "send")
        self._wrap(WiredIMAP4, "_command_complete")
        for name in ("get_greeting", "send", "getreply"):
            self._wrap(Client, name)
        for name in ("write", "read"):
            self._wrap(TimedStream, name)
        self._wrap(engine.dialect, "do_commit")
        event.listen(engine, "before_cursor_execute", self._record_statement)
        event.listen(engine, "after_cursor_execute", self._record_statement)

    def _wrap(self, owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._record()
            done = original(*args, **kwargs)
            self._record()
            return done

        setattr(owner, name, counted)

    def _record_statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if self._with_reading or not statement.startswith("SELECT"):
            self._record()

    def _record(self) -> None:
        with self._lock:
            self.count += 1
            is_reached = self.count == self._at
        if is_reached:
            os.kill(os.getpid(), self._signal)
