"""Errors as HTTP answers: the table of statuses, and the handlers that write problem bodies (RFC 9457).

Only this file knows both errors and HTTP.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app import errors
from app.schemas.faults import faults_in
from app.schemas.problems import Fault, FeedCursors, Problem

log = structlog.get_logger(__name__)

STATUSES: dict[type[errors.GatewayError], int] = {
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.RequestTooSlow: 408,
    errors.CursorGone: 410,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.InvalidInput: 422,
    errors.TooManyRequests: 429,
    errors.Overloaded: 503,
    errors.ParserBusy: 503,
    errors.MailServerRejected: 502,
    errors.MailServerUnavailable: 503,
    errors.MailServerTimeout: 504,
    errors.MailServerError: 502,
    errors.StoreUnavailable: 503,
    errors.ValueRefused: 422,
    errors.NoRoom: 503,
    errors.LeaseLost: 503,
    errors.SettingsChanged: 503,
    errors.SecretUnreadable: 500,
    errors.SettingsIncomplete: 500,
}

RETRY_AFTER_S = 30
ERRORS_PAGE = "/docs/errors"


def status_of(error: type[errors.GatewayError]) -> int | None:
    """The status of an error class: its own row, or the row of the nearest branch above it."""
    for ancestor in error.__mro__:
        if ancestor in STATUSES:
            return STATUSES[ancestor]
    return None


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route, for the OpenAPI document."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(errors.GatewayError, _on_gateway_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected)


def answer_to(request: Request, error: errors.GatewayError) -> JSONResponse:
    """The answer to an error of the gateway."""
    status = status_of(type(error)) or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.TooManyRequests) or status == HTTPStatus.SERVICE_UNAVAILABLE:
        asked_for: float | None = getattr(error, "retry_after_s", None)
        headers["Retry-After"] = str(max(1, ceil(RETRY_AFTER_S if asked_for is None else asked_for)))
    faults = None
    if isinstance(error, errors.InvalidInput):
        faults = [Fault(pointer=fault.pointer, detail=fault.detail) for fault in error.faults]
    cursors = None
    if isinstance(error, errors.CursorGone):
        cursors = FeedCursors(oldest=error.oldest, latest=error.latest)
    if isinstance(error, errors.MailServerError):
        log.info(
            "mail_server_error",
            code=error.code,
            command=error.command,
            response_code=error.response_code,
            server_line=error.server_line,
        )
    return problem(
        request,
        status,
        code=error.code,
        detail=error.detail,
        retryable=error.retryable,
        faults=faults,
        cursors=cursors,
        headers=headers,
    )


def _on_gateway_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, errors.GatewayError)
    return answer_to(request, exc)


def _on_validation_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    # Pydantic's `input` and `ctx` may hold a password: callers get only the place and the sentence.
    faults = [Fault(pointer=fault.pointer, detail=fault.detail) for fault in faults_in(exc.errors())]
    return problem(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        code=errors.InvalidInput.code,
        detail=errors.InvalidInput.default_detail,
        retryable=False,
        faults=faults,
    )


def _on_http_exception(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    if exc.status_code == HTTPStatus.BAD_REQUEST:  # from the framework, for a body that is not UTF-8
        return answer_to(request, errors.InvalidInput(errors.FieldFault("", "is not JSON")))
    phrase = HTTPStatus(exc.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    return problem(
        request, exc.status_code, code=code, detail=f"{phrase}.", retryable=False, headers=exc.headers
    )


def _on_unexpected(request: Request, exc: Exception) -> JSONResponse:
    # The frames of the traceback may show values, so the log has only the type and the place.
    frame = exc.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}" if frame is not None else None
    log.error("unexpected_error", error=type(exc).__name__, where=where)
    return problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        code=errors.GatewayError.code,
        detail=errors.GatewayError.default_detail,
        retryable=False,
    )


def problem(
    request: Request,
    status: int,
    *,
    code: str,
    detail: str,
    retryable: bool,
    faults: Sequence[Fault] | None = None,
    cursors: FeedCursors | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One problem answer. Its `type` is absolute if the gateway knows its own address."""
    public_url = request.app.state.gateway.settings.public_url or ""
    body = Problem(
        type=f"{public_url}{ERRORS_PAGE}#{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        retryable=retryable,
        request_id=getattr(request.state, "request_id", ""),
        errors=list(faults) if faults is not None else None,
        cursors=cursors,
    )
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )
