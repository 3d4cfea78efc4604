"""The layers around every request: its id and log line, the headers of every answer, CORS, the limit of the body.

They also surround the framework's own handling of errors. So an answer to a bug is logged, carries the id, and the
frontend can read it like any other answer. Plain ASGI: nothing here holds a body or delays a stream.
"""

import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.adapters.metrics import Metrics
from app.gateway import Gateway
from app.ids import new_id
from app.request_bodies import BodyGuard

log = structlog.get_logger(__name__)

# An answer gets these headers unless it sets them itself (downloads and the documentation do).
DEFAULT_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID")
ANSWER_HEADERS = ("X-Request-Id", "Retry-After", "ETag", "Content-Disposition")
PREFLIGHT_MAX_AGE_S = 600


def around(application: ASGIApp, gateway: Gateway) -> ASGIApp:
    """The application inside all layers of this module."""
    guarded: ASGIApp = BodyGuard(application, gateway)
    if gateway.settings.cors_origins:
        guarded = CORSMiddleware(
            guarded,
            allow_origins=gateway.settings.cors_origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
            max_age=PREFLIGHT_MAX_AGE_S,
        )
    return RequestLog(AnswerHeaders(guarded), gateway.metrics)


class RequestLog:
    """Gives the request an id. Logs and counts the request when its answer begins, without the query: a search term
    may be content of a mail."""

    def __init__(self, application: ASGIApp, metrics: Metrics) -> None:
        self._application, self._metrics = application, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request_id = new_id()
        started = time.perf_counter()

        async def send_and_log(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
                self._log(scope, message["status"], started)
            await send(message)

        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._application(scope, receive, send_and_log)
        finally:
            structlog.contextvars.unbind_contextvars("request_id")

    def _log(self, scope: Scope, status: int, started: float) -> None:
        route = getattr(scope.get("route"), "path", None)
        log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            duration_ms=round((time.perf_counter() - started) * 1000, 1),
        )
        self._metrics.count_request(method=scope["method"], route=route, status=status)


class AnswerHeaders:
    """Adds the default headers that an answer lacks."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in DEFAULT_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._application(scope, receive, send_with_headers)
