"""Logs: one JSON object a line, or readable text in a terminal, with the id of the request.

No secret and no content of a mail gets into the log, because code logs only named, chosen values. Values are cut to a
length and escaped. For an exception the log has the type and the place, never the text: libraries put the data into it
that they were working on.
"""

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

    `form` is `json`, `text`, or `auto`: text if standard error is a terminal.
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
    logging.captureWarnings(True)  # otherwise a library's warning is a line that is not JSON
    # The protocol traces of imaplib and imapclient show logins and mail; httpx shows the URLs of webhooks.
    for name in ("imapclient", "httpx", "httpcore", "alembic", "apscheduler"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Our own middleware logs every request once.
    logging.getLogger("uvicorn.access").disabled = True


def _text_renderers() -> list[structlog.typing.Processor]:
    return [_put_exception_into_words, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _put_exception_into_words(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Move the exception to other keys: the renderer would treat `exception` as the text of a traceback."""
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
