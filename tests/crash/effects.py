"""The effects of a process on the world outside it: commands to the mail server and its answers, statements and
commits. Each has a moment before and one after it, at which the process can be killed or stopped."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from app.adapters.imap.connection import WiredIMAP4


class Effects:
    """Counts effects from now on, in all threads, and sends this process a signal at one of them. For a child of the
    test."""

    def __init__(self, at: int | None, number: signal.Signals) -> None:
        self._at = at
        self._signal = number
        self._lock = threading.Lock()
        self.count = 0

    def watch(self, engine: Engine) -> None:
        """Count what goes to mail servers and to this database."""
        self._wrap(WiredIMAP4, "send")
        self._wrap(WiredIMAP4, "_command_complete")
        self._wrap(engine.dialect, "do_commit")
        event.listen(engine, "before_cursor_execute", lambda *_: self._record())
        event.listen(engine, "after_cursor_execute", lambda *_: self._record())

    def _wrap(self, owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._record()
            done = original(*args, **kwargs)
            self._record()
            return done

        setattr(owner, name, counted)

    def _record(self) -> None:
        with self._lock:
            self.count += 1
            is_reached = self.count == self._at
        if is_reached:
            os.kill(os.getpid(), self._signal)
