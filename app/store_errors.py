"""What an error of the database means. Only its code decides: SQLSTATE of PostgreSQL, result code of SQLite.

The drivers' classes are not enough: psycopg raises `OperationalError` both for a server that is restarting and for a
value that is too large for an index.

    unavailable    locked, full, unreachable, restarting: the same statement may succeed later
    value refused  the database works and does not accept a value: the mail or request with the value is at fault
    neither        a mistake of ours, or a broken constraint (23…), which services handle themselves
"""

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from app.errors import GatewayError, StoreUnavailable, ValueRefused

# https://www.postgresql.org/docs/current/errcodes-appendix.html
UNAVAILABLE_CLASSES = frozenset(
    {
        "08",  # connection exception
        "53",  # insufficient resources: disk full, out of memory, too many connections
        "57",  # operator intervention: shutdown, starting up, cancelled
        "58",  # system error: I/O
    }
)
UNAVAILABLE_STATES = frozenset(
    {
        "25006",  # read-only transaction: a standby, or a primary that has become one
        "25P03",  # idle-in-transaction timeout: this process stood still
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available
    }
)
VALUE_CLASSES = frozenset(
    {
        "22",  # data exception: out of range, not valid in the encoding
        "54",  # program limit exceeded: too large for an index, too complex
    }
)
VALUE_STATES = frozenset(
    {
        "XX000",  # "invalid memory alloc request size": a value beyond what the server can hold at all
    }
)
# https://www.sqlite.org/rescode.html, the primary codes
SQLITE_UNAVAILABLE = frozenset(
    {
        5,  # BUSY
        6,  # LOCKED
        7,  # NOMEM
        8,  # READONLY: a disk that was mounted anew after a fault
        9,  # INTERRUPT
        10,  # IOERR
        13,  # FULL
        14,  # CANTOPEN
        15,  # PROTOCOL: the lock of the write-ahead log
    }
)
SQLITE_VALUE = frozenset(
    {
        18,  # TOOBIG
        20,  # MISMATCH
    }
)


def meaning_of(error: BaseException) -> type[GatewayError] | None:
    """StoreUnavailable, ValueRefused, or None for an error that is neither. `error` is the driver's own."""
    if isinstance(error, psycopg.Error):
        return _of_postgresql(error)
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        primary = int(code) & 0xFF
        if primary in SQLITE_UNAVAILABLE:
            return StoreUnavailable
        return ValueRefused if primary in SQLITE_VALUE else None
    # The driver could not encode the value: a lone surrogate, an integer of more than 64 bits.
    return ValueRefused if isinstance(error, ValueError | OverflowError) else None


def _of_postgresql(error: psycopg.Error) -> type[GatewayError] | None:
    state = error.sqlstate
    if state is None:
        # An error of the client library, not of the server: there is no connection, or a value cannot be sent.
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return StoreUnavailable
        return ValueRefused if isinstance(error, psycopg.DataError) else None
    if state[:2] in UNAVAILABLE_CLASSES or state in UNAVAILABLE_STATES:
        return StoreUnavailable
    return ValueRefused if state[:2] in VALUE_CLASSES or state in VALUE_STATES else None


def translate(engine: Engine) -> None:
    """Make the engine raise our errors instead of the driver's, if the driver's error has a meaning here."""
    event.listen(engine.dialect, "handle_error", _ours)


def _ours(context: ExceptionContext) -> BaseException | None:
    if context.is_pre_ping:  # the pool makes a new connection
        return None
    meaning = meaning_of(context.original_exception)
    return meaning() if meaning is not None else None
