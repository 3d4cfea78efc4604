"""The log: one JSON object a line, no text of an exception, nothing that breaks a line."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import pytest
import structlog

from app import logs

SECRET = "the password hunter2"


@pytest.fixture
def lines() -> "Iterator[Lines]":
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure()
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    yield Lines(handler)
    root.handlers, root.level = handlers, level
    logging.getLogger("uvicorn.access").disabled = False
    structlog.reset_defaults()


class Lines:
    """What the log's handler writes."""

    def __init__(self, handler: "logging.StreamHandler[TextIO]") -> None:
        self._written = io.StringIO()
        handler.setStream(self._written)

    def taken(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._written.getvalue().splitlines()]


def fail() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as exc:
        raise RuntimeError(f"while working on {SECRET}") from exc


def test_a_line_is_an_object_with_level_time_and_context(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("app.x").info("stored", count=3)
    (line,) = lines.taken()
    assert (line["event"], line["count"], line["level"], line["request_id"]) == ("stored", 3, "info", "r1")
    assert line["timestamp"].endswith("Z")


def test_only_type_and_place_of_an_exception_are_logged(lines: Lines) -> None:
    for name in ("app.x", "apscheduler.executors.default", "uvicorn.error"):
        try:
            fail()
        except RuntimeError:
            logging.getLogger(name).exception("it failed")
    try:
        fail()
    except RuntimeError:
        structlog.get_logger("app.y").exception("it failed")
    taken = lines.taken()
    assert len(taken) == 4
    for line in taken:
        assert SECRET not in json.dumps(line)
        assert line["exception"] == ["builtins.RuntimeError", "builtins.ValueError"]
        assert line["at"][-1].startswith(f"{__name__}:")


def test_a_value_is_cut_and_cannot_break_the_line(lines: Lines) -> None:
    structlog.get_logger("app.x").info("x", value='a\n{"event": "forged"}\x1b[2J\ud800' + "y" * 2000)
    (line,) = lines.taken()
    assert line["event"] == "x"
    assert len(line["value"]) == logs.MAX_VALUE_CHARS + 1


def test_traces_of_protocols_are_not_logged(lines: Lines) -> None:
    for name in ("imapclient.imaplib", "httpx", "httpcore.connection", "uvicorn.access"):
        logging.getLogger(name).info("LOGIN jana %s", SECRET)
        logging.getLogger(name).debug("LOGIN jana %s", SECRET)
    assert lines.taken() == []


@pytest.mark.usefixtures("lines")
def test_lines_for_people_hold_the_same_and_no_text_of_an_exception(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(level="warning", form="text")
    structlog.get_logger("app.x").info("not_shown")
    try:
        fail()
    except RuntimeError:
        structlog.get_logger("app.x").error("broke", connector_id="c1", exc_info=True)
    written = capsys.readouterr().err
    assert "not_shown" not in written
    (line,) = written.splitlines()
    assert "broke" in line
    assert "connector_id=c1" in line
    assert "raised='builtins.RuntimeError from builtins.ValueError'" in line
    assert SECRET not in written


@pytest.mark.usefixtures("lines")
def test_lines_are_text_in_a_terminal_and_json_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure(form="auto")
    structlog.get_logger("app.x").info("shown")
    assert json.loads(capsys.readouterr().err)["event"] == "shown"
    structlog.reset_defaults()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logs.configure(form="auto")
    structlog.get_logger("app.x").info("shown")
    written = capsys.readouterr().err
    assert "shown" in written
    assert not written.startswith("{")
