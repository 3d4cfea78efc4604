"""The page on which the owner of a mailbox enters its password. For people: no part of the documented interface, and
what goes wrong is a page too."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.responses import HTMLResponse

from app.deps import GatewayDep, OriginDep
from app.errors import (
    CertificateRefused,
    FieldFault,
    FolderMissing,
    Forbidden,
    GatewayError,
    InvalidInput,
    LoginRefused,
    NotFound,
    ProcessedFolderMissing,
    SameFolder,
    SecretUnreadable,
    SettingsChanged,
    TooManyRequests,
)
from app.gateway import Gateway
from app.models import Connector
from app.services import credential_links
from app.services.connector_checks import Check
from app.services.credential_links import Checked, FirstFetch
from app.web_pages import credential_page
from app.web_pages.credential_page import Findings, Mailbox
from app.web_pages.page import HEADERS, language_of

PREFIX = "/credential-links"
MAX_FORM_OCTETS = 16 * 1024
MAX_PASSWORD_CHARS = 1024

SHOWN_AGAIN: dict[type[GatewayError], tuple[int, str | None]] = {
    SettingsChanged: (409, "changed"),
    TooManyRequests: (429, "busy"),
    # A confirmation that is none of ours, or of another link.
    SecretUnreadable: (422, None),
    Forbidden: (403, None),
}
"""After these the first page is shown again: with which status, and which text."""
REFUSALS: dict[str, tuple[int, str]] = {
    LoginRefused.code: (422, "refused"),
    CertificateRefused.code: (502, "certificate"),
}
"""Why a mail server took no password; anything else is that it could not be asked."""

router = APIRouter(prefix=PREFIX, include_in_schema=False)


@dataclass(frozen=True)
class _Visit:
    """Somebody with a link."""

    gateway: Gateway
    token: str
    language: str
    origin: str | None


def _visit(
    token: Annotated[str, Path(max_length=100)],
    gateway: GatewayDep,
    origin: OriginDep,
    accept_language: Annotated[str | None, Header()] = None,
) -> _Visit:
    return _Visit(gateway, token, language_of(accept_language), origin)


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a form, the first of each name."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_OCTETS:
            raise InvalidInput(FieldFault("", "is too large for this form"))
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError as exc:
        raise InvalidInput(FieldFault("", "is not a form")) from exc
    return {name: values[0] for name, values in fields.items()}


VisitDep = Annotated[_Visit, Depends(_visit)]
FormDep = Annotated[Mapping[str, str], Depends(_form)]


@router.get("/{token}")
def show_credential_page(visit: VisitDep) -> Response:
    """What is going to be connected, and a field for the password. Looking uses nothing up: mail filters look."""
    return _asked(visit, 200)


@router.post("/{token}")
def use_credential_page(
    visit: VisitDep, form: FormDep, sec_fetch_site: Annotated[str | None, Header()] = None
) -> Response:
    """Check a password, or connect with one that was checked.

    Nobody else can send this form: it needs the token, which is nowhere but in the link, and no cookie stands in for
    it. What a browser tells of another origin is refused all the same.
    """
    step = _connected if form.get("step") == "connect" else _checked
    try:
        if sec_fetch_site not in {None, "same-origin"}:
            raise Forbidden
        return step(visit, form)
    except NotFound:
        return _page(404, credential_page.gone(visit.language))
    except tuple(SHOWN_AGAIN) as error:
        status, problem = SHOWN_AGAIN[type(error)]
        return _asked(visit, status, problem)


def _asked(visit: _Visit, status: int, problem: str | None = None) -> Response:
    try:
        connector = credential_links.view(visit.gateway, visit.token)
    except NotFound:
        return _page(404, credential_page.gone(visit.language))
    return _page(status, credential_page.ask(visit.language, _mailbox(connector), problem=problem))


def _checked(visit: _Visit, form: Mapping[str, str]) -> Response:
    password = form.get("password", "")
    if not 1 <= len(password) <= MAX_PASSWORD_CHARS:
        return _asked(visit, 422, "empty")
    checked = _check(visit, password, form)
    if checked.sealed is not None:
        return _page(200, _confirmation(visit, checked, checked.sealed))
    if checked.tries_left <= 0:
        return _page(403, credential_page.gone(visit.language, is_spent=True))
    status, problem = REFUSALS.get(checked.report.imap.code or "", (503, "unreachable"))
    mailbox = _mailbox(checked.connector)
    return _page(
        status,
        credential_page.ask(visit.language, mailbox, problem=problem, tries_left=checked.tries_left),
    )


def _connected(visit: _Visit, form: Mapping[str, str]) -> Response:
    sealed = form.get("sealed", "")
    first_fetch = _first_fetch(form)
    if first_fetch is None and "first_fetch" in form:
        password = credential_links.password_in(visit.gateway, visit.token, sealed)
        checked = _check(visit, password, form)
        return _page(422, _confirmation(visit, checked, sealed, problem="date_missing"))
    connector = credential_links.connect(
        visit.gateway,
        visit.token,
        sealed,
        seen=form.get("seen", ""),
        first_fetch=first_fetch,
        origin=visit.origin,
    )
    return _page(200, credential_page.done(visit.language, _mailbox(connector)))


def _check(visit: _Visit, password: str, form: Mapping[str, str]) -> Checked:
    return credential_links.check(
        visit.gateway, visit.token, password, seen=form.get("seen", ""), origin=visit.origin
    )


def _first_fetch(form: Mapping[str, str]) -> FirstFetch | None:
    """What was chosen; None: nothing, or no day."""
    match form.get("first_fetch"):
        case "all":
            return FirstFetch("all")
        case "none":
            return FirstFetch("none")
        case "since":
            try:
                return FirstFetch("since", date.fromisoformat(form.get("since", "")))
            except ValueError:
                return None
        case _:
            return None


def _confirmation(visit: _Visit, checked: Checked, sealed: str, *, problem: str | None = None) -> str:
    report = checked.report
    found = Findings(
        sealed=sealed,
        waiting=report.waiting_messages,
        target=report.resolved_processed_folder,
        is_source_missing=_has(report.source_folder, FolderMissing),
        is_target_missing=_has(report.processed_folder, ProcessedFolderMissing),
        is_same_folder=_has(report.processed_folder, SameFolder),
        is_sending_refused=report.smtp is not None and not report.smtp.ok,
        must_choose=checked.must_choose,
    )
    return credential_page.confirm(visit.language, _mailbox(checked.connector), found, problem=problem)


def _has(check: Check | None, error: type[GatewayError]) -> bool:
    return check is not None and check.code == error.code


def _mailbox(connector: Connector) -> Mailbox:
    return Mailbox(
        email_address=connector.email_address,
        server=connector.imap_host,
        username=connector.imap_username,
        source_folder=connector.source_folder,
        processed_folder=connector.processed_folder,
        seen=credential_links.seen_of(connector),
    )


def _page(status: int, html: str) -> Response:
    return HTMLResponse(html, status, headers=HEADERS)
