"""The page on which the owner of a mailbox enters its password. It is for people: it is not part of the documented
interface, and errors are pages too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.deps import GatewayDep, OriginDep
from app.errors import (
    CERTIFICATE_CODES,
    REFUSED_LOGIN_CODES,
    FolderMissing,
    Forbidden,
    GatewayError,
    NotFound,
    Overloaded,
    ProcessedFolderMissing,
    SameFolder,
    SecretUnreadable,
    SettingsChanged,
    TooManyRequests,
)
from app.gateway import Gateway
from app.schemas.connectors import FirstFetch, FirstFetchSince
from app.services.connectors import credential_links
from app.services.connectors.checks import Check
from app.services.connectors.credential_links import Checked, Viewed
from app.states import ConnectorStatus, Security
from app.web_pages import credential_page
from app.web_pages.credential_page import Findings, Mailbox
from app.web_pages.page import HEADERS, language_of

MAX_FORM_OCTETS = 64 * 1024
MAX_PASSWORD_CHARS = 1024
USUAL_PORTS = {"imap": 993, "smtp": 465}

SHOWN_AGAIN: dict[type[GatewayError], tuple[int, str | None]] = {
    NotFound: (404, None),  # for example, a second click has just used it; otherwise there is nothing to show
    SettingsChanged: (409, "changed"),
    TooManyRequests: (429, "busy"),
    Overloaded: (429, "busy"),
    SecretUnreadable: (422, "again"),  # a confirmation that the gateway did not make, or of another link
    Forbidden: (403, "again"),
}
"""After these errors the first page is shown again, with this status and this text."""
REFUSALS = {
    **dict.fromkeys(REFUSED_LOGIN_CODES, "refused"),
    **dict.fromkeys(CERTIFICATE_CODES, "certificate"),
}
"""The reasons why a mail server did not accept a password; any other error means that it could not be asked."""

router = APIRouter(prefix=credential_links.PATH, include_in_schema=False)


@dataclass(frozen=True)
class _Visit:
    """A person who has opened a link."""

    gateway: Gateway
    token: str
    language: str
    origin: str | None


def _visit(
    token: str,
    gateway: GatewayDep,
    origin: OriginDep,
    accept_language: Annotated[str | None, Header()] = None,
) -> _Visit:
    return _Visit(gateway, token, language_of(accept_language), origin)


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a form, the first of each name. Empty if the body is not a form of ours, or does not come to its end."""
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM_OCTETS:
                return {}
    except ClientDisconnect:
        return {}
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


VisitDep = Annotated[_Visit, Depends(_visit)]
FormDep = Annotated[Mapping[str, str], Depends(_form)]


@router.get("/{token}")
def show_credential_page(visit: VisitDep) -> Response:
    """Show what will be connected, and a field for the password. To open the page does not use the link up, because mail
    filters open links too."""
    return _first_page(visit, 200)


@router.post("/{token}")
async def use_credential_page(
    visit: VisitDep, form: FormDep, sec_fetch_site: Annotated[str | None, Header()] = None
) -> Response:
    """Check a password, or connect with one that was checked.

    Nobody else can send this form: it needs the token, which is only in the link, and no cookie replaces it. If a browser
    reports another origin, the request is refused in any case.
    """
    try:
        if sec_fetch_site not in {None, "same-origin"}:
            raise Forbidden
        if form.get("step") == "connect":
            return await run_in_threadpool(_connected, visit, form)
        # A request without a valid link must not use a thread that waits for mail servers.
        viewed = await run_in_threadpool(credential_links.view, visit.gateway, visit.token)
        return await visit.gateway.server_requests.run(
            f"link:{viewed.connector.id}", lambda: _checked(visit, form)
        )
    except tuple(SHOWN_AGAIN) as error:
        status, problem = next(shown for kind, shown in SHOWN_AGAIN.items() if isinstance(error, kind))
        page = await run_in_threadpool(_first_page, visit, status, problem)
        if isinstance(error, TooManyRequests | Overloaded):
            page.headers["Retry-After"] = str(error.retry_after_s)
        return page


def _first_page(visit: _Visit, status: int, problem: str | None = None) -> Response:
    """The page that asks for the password, or says that the link is invalid, or that everything is done."""
    try:
        viewed = credential_links.view(visit.gateway, visit.token)
    except NotFound:
        return _page(404, credential_page.gone(visit.language))
    if viewed.is_used:
        return _last_page(visit, viewed)
    if viewed.is_for_owner:
        return _page(status, credential_page.for_owner(visit.language))
    return _page(status, credential_page.ask(visit.language, _mailbox(viewed), problem=problem))


def _last_page(visit: _Visit, viewed: Viewed) -> Response:
    is_paused = viewed.connector.status == ConnectorStatus.PAUSED
    return _page(200, credential_page.done(visit.language, _mailbox(viewed), is_paused=is_paused))


def _checked(visit: _Visit, form: Mapping[str, str]) -> Response:
    password = form.get("password", "")
    if not 1 <= len(password) <= MAX_PASSWORD_CHARS:
        return _first_page(visit, 422, "empty")
    checked = credential_links.check(
        visit.gateway, visit.token, password, seen=form.get("seen", ""), origin=visit.origin
    )
    if checked.encrypted is not None:
        return _second_page(visit, checked, 200)
    if checked.tries_left <= 0:
        return _page(403, credential_page.gone(visit.language, is_spent=True))
    problem = REFUSALS.get(checked.report.imap.code or "", "unreachable")
    mailbox = _mailbox(checked.viewed)
    # Never 502 or 503, whatever the mail server does: proxies replace such answers with pages of their own.
    return _page(
        422, credential_page.ask(visit.language, mailbox, problem=problem, tries_left=checked.tries_left)
    )


def _connected(visit: _Visit, form: Mapping[str, str]) -> Response:
    encrypted = form.get("sealed", "")
    first_fetch = _first_fetch(form)
    if first_fetch is None and "first_fetch" in form:
        checked = credential_links.reopened(visit.gateway, visit.token, encrypted)
        return _second_page(visit, checked, 422, problem="date_missing")
    viewed = credential_links.connect(
        visit.gateway,
        visit.token,
        encrypted,
        seen=form.get("seen", ""),
        first_fetch=first_fetch,
        origin=visit.origin,
    )
    return _last_page(visit, viewed)


def _first_fetch(form: Mapping[str, str]) -> FirstFetch | None:
    """The choice on the page. None: no choice, or no valid day."""
    match form.get("first_fetch"):
        case "all":
            return "all"
        case "none":
            return "none"
        case "since":
            try:
                return FirstFetchSince.model_validate({"since": form.get("since", "")})
            except ValidationError:
                return None
        case _:
            return None


def _second_page(visit: _Visit, checked: Checked, status: int, problem: str | None = None) -> Response:
    report, first_fetch = checked.report, checked.viewed.connector.first_fetch
    found = Findings(
        encrypted=checked.encrypted or "",
        waiting=report.waiting_messages,
        target=report.resolved_processed_folder,
        is_source_missing=_has(report.source_folder, FolderMissing),
        is_target_missing=_has(report.processed_folder, ProcessedFolderMissing),
        is_same_folder=_has(report.processed_folder, SameFolder),
        is_sending_refused=report.smtp is not None and not report.smtp.ok,
        must_choose=checked.must_choose,
        takes_all=first_fetch in {None, "all"} and not checked.must_choose,
    )
    mailbox = _mailbox(checked.viewed)
    return _page(status, credential_page.confirm(visit.language, mailbox, found, problem=problem))


def _has(check: Check | None, error: type[GatewayError]) -> bool:
    return check is not None and check.code == error.code


def _mailbox(viewed: Viewed) -> Mailbox:
    connector = viewed.connector
    sending = None
    if connector.smtp_host is not None:
        sending = _address(connector.smtp_host, connector.smtp_port, USUAL_PORTS["smtp"])
    return Mailbox(
        email_address=connector.email_address,
        server=_address(connector.imap_host, connector.imap_port, USUAL_PORTS["imap"]),
        username=connector.imap_username,
        sending_server=sending,
        sending_username=connector.smtp_username,
        is_plain=Security.NONE in {connector.imap_security, connector.smtp_security},
        source_folder=connector.source_folder,
        processed_folder=connector.processed_folder,
        owner=connector.owner,
        groups=viewed.recipients.groups,
        seen=viewed.seen,
    )


def _address(host: str, port: int | None, usual_port: int) -> str:
    return host if port == usual_port else f"{host}:{port}"


def _page(status: int, html: str) -> Response:
    return HTMLResponse(html, status, headers=HEADERS)
