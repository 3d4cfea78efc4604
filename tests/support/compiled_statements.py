"""SQL statements that are compiled once for all tests of a process.

SQLAlchemy keeps compiled statements by the dialect object, and each engine makes one of its own. Each test has a database, so
an engine, of its own: it would compile the statements of the test before once more, which took a third of its time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.util import LRUCache

from app import db

STATEMENTS_KEPT = 1000


class _Shared:
    """Makes engines that share what the first one of their kind that connected has learned of the database."""

    def __init__(self) -> None:
        self._dialects: dict[str, Dialect] = {}
        self._compiled: LRUCache[Any, Any] = LRUCache(STATEMENTS_KEPT)

    def create_engine(self, url: str, **options: Any) -> Engine:
        """Like SQLAlchemy's, with the shared dialect, if there is one."""
        engine = create_engine(url, **options)
        engine.update_execution_options(compiled_cache=self._compiled)
        shared = self._dialects.get(engine.name)
        if shared is not None:
            engine.dialect = shared
        else:  # the dialect has asked the server for its version before this listener is called
            event.listen(engine, "connect", lambda *_: self._dialects.setdefault(engine.name, engine.dialect))
        return engine


@contextmanager
def compiled_once() -> Iterator[None]:
    """Within the block, all engines of the gateway share their compiled statements."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "create_engine", _Shared().create_engine)
        yield
