"""One page of all entries, as HTML and as Markdown."""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from markupsafe import Markup, escape

from app import errors
from app.error_guide import inside, mail_server, requests
from app.error_guide import quarantine as reasons
from app.error_guide.entry import Entry
from app.problems import status_of
from app.services.fetching import quarantine
from app.web_pages.page import framed

SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Requests": requests.ENTRIES,
    "Mail servers": mail_server.ENTRIES,
    "The gateway": inside.ENTRIES,
}

INTRODUCTION = """\
An error answers `application/problem+json` (RFC 9457). Programs should use `code` and `retryable`, which are stable.
`title` and `detail` are for people and may change. `type` leads to the entry of the code on this page. `retryable` means
that the same request may succeed later without a change. In answers 429 and 503, `Retry-After` says after how many seconds
to try again. `request_id` helps to find the request in the gateway's log.

A connector's `last_error`, the history of its cycles, the report of `POST /connectors/test`, and the `code` of the events
`connector.failing` and `connector.stopped` use the same codes."""

QUARANTINE_INTRODUCTION = """\
These are the reasons in `GET /quarantine` and in the event `message.quarantined`. The mail stays in its folder on the
server. `POST /quarantine/{id}/retry` tries it again."""

QUARANTINE_HEADING = "Reasons of the quarantine"


def entries() -> dict[str, Entry]:
    """All entries by code."""
    return {code: entry for section in SECTIONS.values() for code, entry in section.items()}


def classes() -> dict[str, type[errors.GatewayError]]:
    """The class of each code, including the root."""
    found: dict[str, type[errors.GatewayError]] = {}
    waiting = [errors.GatewayError]
    while waiting:
        error = waiting.pop()
        found[error.code] = error
        waiting += error.__subclasses__()
    return found


def markdown() -> str:
    """The page as docs/errors.md."""
    lines = ["# Errors", "", "Written by `python -m tools.errors`; do not edit.", "", INTRODUCTION, ""]
    for section, found in SECTIONS.items():
        lines += [f"## {section}", ""]
        for code, entry in found.items():
            lines += [f"### {code}", _facts(code), "", entry.happened, f"**What to do:** {entry.to_do}", ""]
    lines += [f"## {QUARANTINE_HEADING}", "", QUARANTINE_INTRODUCTION, ""]
    lines += ["| reason | what happened | what to do |", "|---|---|---|"]
    lines += [f"| `{reason}` | {happened} | {to_do} |" for reason, happened, to_do in _reasons()]
    return "\n".join(lines) + "\n"


def html() -> str:
    """The page as the gateway serves it. Each code is the id of its heading."""
    body = _paragraphs(INTRODUCTION)
    for section, found in SECTIONS.items():
        body += Markup("<h2>{}</h2>").format(section)
        for code, entry in found.items():
            body += Markup('<h3 id="{0}">{0}</h3>').format(code)
            body += _paragraphs(f"{_facts(code)}\n\n{entry.happened}\n\nWhat to do: {entry.to_do}")
    body += Markup("<h2>{}</h2>").format(QUARANTINE_HEADING) + _paragraphs(QUARANTINE_INTRODUCTION)
    for reason, happened, to_do in _reasons():
        body += Markup("<h3>{}</h3>").format(reason) + _paragraphs(f"{happened} {to_do}")
    return framed("en", "Errors", body)


def _facts(code: str) -> str:
    if code == "method_not_allowed":
        status: int | None = HTTPStatus.METHOD_NOT_ALLOWED
        retryable = False
    else:
        error = classes()[code]
        status, retryable = status_of(error) or HTTPStatus.INTERNAL_SERVER_ERROR, error.retryable
    return f"Status {status}; {'retryable' if retryable else 'not retryable'}."


def _reasons() -> Iterator[tuple[str, str, str]]:
    for reason, happened in quarantine.DETAILS.items():
        yield reason, happened, reasons.TO_DO[reason]


def _paragraphs(text: str) -> Markup:
    return Markup("").join(Markup("<p>{}</p>").format(_with_code(part)) for part in text.split("\n\n"))


def _with_code(text: str) -> Markup:
    """Words in backticks become code; everything else is escaped."""
    parts = re.split(r"`([^`]*)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(parts)
    )
