"""What the codes of the databases mean."""

import sqlite3

import psycopg
import pytest

from app.errors import GatewayError, StoreUnavailable, ValueRefused
from app.store_errors import meaning_of


def postgresql(state: str) -> psycopg.Error:
    """The error that psycopg raises for this SQLSTATE, of the class that it has for it."""
    return psycopg.errors.lookup(state)("told by the server")


def sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("told by SQLite")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "state",
    [
        "08006",
        "53100",
        "53200",
        "53300",
        "57P01",
        "57P02",
        "57P03",
        "57014",
        "58030",
        "25006",
        "25P03",
        "40001",
        "40P01",
        "55P03",
    ],
)
def test_postgresql_in_trouble_is_unavailable(state: str) -> None:
    assert meaning_of(postgresql(state)) is StoreUnavailable


@pytest.mark.parametrize("state", ["54000", "54001", "22001", "22003", "22021", "22P05", "XX000"])
def test_an_error_of_postgresql_about_a_value_is_about_the_value_whatever_its_class(state: str) -> None:
    assert meaning_of(postgresql(state)) is ValueRefused


@pytest.mark.parametrize("state", ["42P01", "42601", "23505", "23503", "XX001", "0A000"])
def test_mistakes_and_broken_constraints_are_not_translated(state: str) -> None:
    assert meaning_of(postgresql(state)) is None


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (psycopg.OperationalError("connection refused"), StoreUnavailable),
        (psycopg.InterfaceError("the connection is closed"), StoreUnavailable),
        (psycopg.DataError("a NUL"), ValueRefused),
        (psycopg.ProgrammingError("wrong number of parameters"), None),
    ],
)
def test_without_a_word_from_postgresql_the_client_tells(
    error: psycopg.Error, meaning: type[GatewayError] | None
) -> None:
    assert meaning_of(error) is meaning


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (sqlite3.SQLITE_BUSY, StoreUnavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailable),
        (sqlite3.SQLITE_LOCKED, StoreUnavailable),
        (sqlite3.SQLITE_FULL, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailable),
        (sqlite3.SQLITE_CANTOPEN, StoreUnavailable),
        (sqlite3.SQLITE_READONLY, StoreUnavailable),
        (sqlite3.SQLITE_TOOBIG, ValueRefused),
        (sqlite3.SQLITE_ERROR, None),
        (sqlite3.SQLITE_CORRUPT, None),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, None),
    ],
)
def test_the_primary_result_code_of_sqlite_decides(code: int, meaning: type[GatewayError] | None) -> None:
    assert meaning_of(sqlite(code)) is meaning


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), ValueRefused),
        (OverflowError("more than 64 bits"), ValueRefused),
        (KeyError("a mistake"), None),
    ],
)
def test_a_value_that_no_driver_can_encode_is_about_the_value(
    error: Exception, meaning: type[GatewayError] | None
) -> None:
    assert meaning_of(error) is meaning
