"""Logs: one JSON object a line, or in a terminal a line for people, with the request's id. No secret and nothing of a mail's content gets in,
because only named, chosen values are logged; what is logged is cut and escaped. Of an exception the log has its
type and place and never its text, which libraries fill with what they were working on."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog

MAX_VALUE_CHARS = 500
MAX_CAUSES = 5
MAX_PLACES = 15


def configure(*, level: int | str = logging.INFO, form: str = "json") -> None:
    """Send structlog and the standard library's loggers to standard error.

    `form` is `json`, `text`, or `auto`: text where standard error is a terminal.
    """
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _cut_values,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _describe_exception,
                *(_text_renderers() if as_text else [structlog.processors.JSONRenderer()]),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper() if isinstance(level, str) else level)
    logging.captureWarnings(True)  # else a library's warning is a line that is no JSON
    # imaplib's and imapclient's protocol traces show logins and mail; httpx shows webhook URLs.
    for name in ("imapclient", "httpx", "httpcore", "alembic", "apscheduler"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Every request is logged once, by our own middleware.
    logging.getLogger("uvicorn.access").disabled = True


def _text_renderers() -> list[structlog.typing.Processor]:
    return [_put_exception_into_words, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _put_exception_into_words(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Under another key: the renderer would take `exception` for a traceback's text."""
    if "exception" in event:
        event["raised"] = " from ".join(event.pop("exception"))
        event["at"] = " ".join(event["at"])
    return event


def _cut_values(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) and len(value) > MAX_VALUE_CHARS:
            event[key] = value[:MAX_VALUE_CHARS] + "…"
    return event


def _describe_exception(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    chain: list[str] = []
    places: list[str] = []
    while isinstance(error, BaseException) and len(chain) < MAX_CAUSES:
        chain.append(f"{type(error).__module__}.{type(error).__qualname__}")
        places = places or [
            f"{frame.f_globals.get('__name__')}:{line}"
            for frame, line in traceback.walk_tb(error.__traceback__)
        ]
        error = error.__cause__ or error.__context__
    if chain:
        event["exception"] = chain
        event["at"] = places[-MAX_PLACES:]
    return event
