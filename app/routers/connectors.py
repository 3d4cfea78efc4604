"""Connectors: settings, credentials, checks, cycles."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Response

from app.deps import CursorsDep, ExpectedVersion, GatewayDep, PrincipalDep, ReadSession
from app.gateway import Gateway
from app.models import Connector, Cycle
from app.problems import problem_responses
from app.routers import resolving
from app.routers.callers_first import CallerFirst
from app.schemas.connectors import (
    Alert,
    ConnectorCreate,
    ConnectorPatch,
    ConnectorPut,
    ConnectorPutRead,
    ConnectorRead,
    ConnectorShort,
    ConnectorTest,
    ConnectorTestRead,
    Credentials,
    CycleError,
    CycleRead,
    FolderList,
    FolderRead,
    LastError,
    RetentionRead,
    Sending,
    ServerRead,
    SmtpRead,
)
from app.schemas.discovery import DiscoverRead, DiscoverRequest
from app.schemas.fields import Id, Line, ListQuery, Page
from app.services.access.rules import Principal
from app.services.connectors import addresses, by_external_id, checks, connectors, passwords
from app.services.connectors.detailed import Detailed
from app.services.connectors.settings import first_fetch_of, retention_of, server_of, smtp_of
from app.services.discovery import discovery
from app.services.events.recipients import notifies_users
from app.services.fetching import history

Result = TypeVar("Result")

router = APIRouter(
    route_class=CallerFirst, prefix="/connectors", tags=["connectors"], responses=problem_responses(403)
)


@router.post("", status_code=201, responses=problem_responses(409, 429, 503))
async def create_connector(
    body: ConnectorCreate, response: Response, gateway: GatewayDep, principal: PrincipalDep
) -> ConnectorRead | ConnectorShort:
    """Connect a mailbox. Every user may connect a personal mailbox of their own. Administrators may also connect shared
    mailboxes, and personal ones for their owners. Without credentials the connector waits for them."""
    made = await _resolving(gateway, principal, body, lambda: connectors.create(gateway, principal, body))
    return _answer(response, made)


@router.get("")
def list_connectors(
    principal: PrincipalDep,
    session: ReadSession,
    cursors_of: CursorsDep,
    query: Annotated[ListQuery, Query()],
) -> Page[ConnectorRead | ConnectorShort]:
    """List connectors, oldest first. Members of a bound group see only a few fields."""
    cursors = cursors_of("connectors")
    page = connectors.list_connectors(session, principal, query, after=cursors.opened(query.after))
    return Page[ConnectorRead | ConnectorShort].model_validate(cursors.with_cursor(page.map(_read)))


@router.post("/test", responses=problem_responses(429, 503))
async def check_new_connector(
    body: ConnectorTest, gateway: GatewayDep, principal: PrincipalDep
) -> ConnectorTestRead:
    """Try settings and credentials without storing them. The answer is a report, with status 200 even if the test
    fails. It comes after 20 s at the latest."""
    report = await gateway.server_requests.run(
        principal.name, lambda: checks.check_new(gateway, principal, body)
    )
    return ConnectorTestRead.model_validate(report)


@router.post("/discover", responses=problem_responses(429, 503))
async def discover_servers(
    body: DiscoverRequest, gateway: GatewayDep, principal: PrincipalDep
) -> DiscoverRead:
    """Find the mail servers of an address. Nobody logs in, and the address is sent to nobody: only its domain. Empty if none
    was found. The answer comes after 10 s at the latest. Try a candidate with `POST /connectors/test` before you save it."""
    found = await gateway.server_requests.run(
        principal.name, lambda: discovery.discover(gateway, principal, body.email_address)
    )
    return DiscoverRead.model_validate({"candidates": found})


@router.get("/by-external-id/{external_id}", responses=problem_responses(404))
def get_connector_by_external_id(
    external_id: Line, response: Response, principal: PrincipalDep, session: ReadSession
) -> ConnectorRead | ConnectorShort:
    """The connector with this external id: of those that you see, one that you named comes first."""
    return _answer(response, by_external_id.get(session, principal, external_id))


@router.put(
    "/by-external-id/{external_id}",
    responses={
        **problem_responses(404, 409, 412, 429, 503),
        201: {"model": ConnectorPutRead, "description": "Created"},
    },
)
async def put_connector(
    external_id: Line,
    body: ConnectorPut,
    *,
    response: Response,
    gateway: GatewayDep,
    principal: PrincipalDep,
    version: ExpectedVersion,
    dry_run: Annotated[bool, Query(description="Store nothing, and say what would change.")] = False,
) -> ConnectorPutRead | ConnectorShort:
    """Create the connector with this external id (201), or replace all its settings (200). The answer says what changed. A field
    that you leave out gets its default, but `groups`, `aliases` and `credentials` stay; credentials stay only if the server
    does. With `dry_run=true` nothing is stored, and the answer (200) says what would change."""
    found = await _resolving(
        gateway,
        principal,
        body,
        lambda: by_external_id.put(gateway, principal, external_id, body, version=version, dry_run=dry_run),
    )
    if found.is_new and not dry_run:
        response.status_code = 201
    answer = _answer(response, found.detailed)
    if isinstance(answer, ConnectorShort):
        return answer
    is_made = not (found.is_new and dry_run)
    return ConnectorPutRead.model_validate(
        {
            **answer.model_dump(),
            "id": answer.id if is_made else None,
            "changed": bool(found.changes),
            "changes": found.changes,
        }
    )


@router.delete("/by-external-id/{external_id}", status_code=204, responses=problem_responses(404, 409, 412))
def delete_connector_by_external_id(
    *,
    external_id: Line,
    gateway: GatewayDep,
    principal: PrincipalDep,
    version: ExpectedVersion,
    messages: Annotated[str | None, Query(pattern="^delete$")] = None,
    submissions: Annotated[str | None, Query(pattern="^cancel$")] = None,
) -> None:
    """Delete the connector with this external id, as `DELETE /connectors/{id}`."""
    by_external_id.delete(
        gateway,
        principal,
        external_id,
        with_messages=messages == "delete",
        cancel_submissions=submissions == "cancel",
        version=version,
    )


@router.get("/{connector_id}", responses=problem_responses(404))
def get_connector(
    connector_id: Id, response: Response, principal: PrincipalDep, session: ReadSession
) -> ConnectorRead | ConnectorShort:
    """A connector. Its `ETag` is the version of settings and credentials; writes accept it as `If-Match`."""
    return _answer(response, connectors.get(session, principal, connector_id))


@router.patch("/{connector_id}", responses=problem_responses(404, 409, 412, 429, 503))
async def change_connector(
    connector_id: Id,
    body: ConnectorPatch,
    *,
    response: Response,
    gateway: GatewayDep,
    principal: PrincipalDep,
    version: ExpectedVersion,
) -> ConnectorRead | ConnectorShort:
    """Change settings by a JSON merge patch. Another host, port, security or user name discards the stored
    credentials, unless you send new ones with the change."""
    changed = await _resolving(
        gateway,
        principal,
        body,
        lambda: connectors.patch(gateway, principal, connector_id, body, version=version),
    )
    return _answer(response, changed)


@router.delete("/{connector_id}", status_code=204, responses=problem_responses(404, 409, 412))
def delete_connector(
    *,
    connector_id: Id,
    gateway: GatewayDep,
    principal: PrincipalDep,
    version: ExpectedVersion,
    messages: Annotated[str | None, Query(pattern="^delete$")] = None,
    submissions: Annotated[str | None, Query(pattern="^cancel$")] = None,
) -> None:
    """Delete a connector; with `messages=delete` also its messages. If mail waits to be sent, the answer is 409, unless
    `submissions=cancel` cancels it. Mail on the server does not move."""
    connectors.delete_connector(
        gateway,
        principal,
        connector_id,
        with_messages=messages == "delete",
        cancel_submissions=submissions == "cancel",
        version=version,
    )


@router.post("/{connector_id}/test", responses=problem_responses(404, 409, 429, 503))
async def check_connector(
    connector_id: Id, gateway: GatewayDep, principal: PrincipalDep
) -> ConnectorTestRead:
    """Try a connector with its stored credentials. This changes nothing in the gateway or on the server. The report
    comes after 20 s at the latest."""
    report = await gateway.server_requests.run(
        principal.name, lambda: checks.check_stored(gateway, principal, connector_id)
    )
    return ConnectorTestRead.model_validate(report)


@router.get("/{connector_id}/folders", responses=problem_responses(404, 409, 429, 502, 503, 504))
async def list_folders(connector_id: Id, gateway: GatewayDep, principal: PrincipalDep) -> FolderList:
    """The folders that the server has now. For a personal mailbox only the owner may ask."""
    found = await gateway.server_requests.run(
        principal.name, lambda: checks.list_folders(gateway, principal, connector_id)
    )
    return FolderList(
        data=[
            FolderRead(
                name=folder.name,
                delimiter=folder.delimiter,
                special_use=sorted(folder.special_use),
                selectable=folder.selectable,
            )
            for folder in found
        ]
    )


@router.put("/{connector_id}/credentials", responses=problem_responses(404, 412))
def enter_credentials(
    connector_id: Id,
    body: Credentials,
    *,
    response: Response,
    gateway: GatewayDep,
    principal: PrincipalDep,
    version: ExpectedVersion,
) -> ConnectorRead | ConnectorShort:
    """Enter the password. Once the owner of a personal mailbox has, nobody else can. With `If-Match` it is stored only
    if settings and credentials have not changed since you read them; otherwise the answer is 412."""
    detailed = passwords.enter_credentials(gateway, principal, connector_id, body.password, version=version)
    return _answer(response, detailed)


@router.delete("/{connector_id}/credentials", status_code=204, responses=problem_responses(404, 412))
def discard_credentials(
    connector_id: Id, gateway: GatewayDep, principal: PrincipalDep, version: ExpectedVersion
) -> None:
    """Delete the stored password: nothing is fetched or sent until somebody enters one again."""
    passwords.discard_credentials(gateway, principal, connector_id, version=version)


@router.post("/{connector_id}/pause", responses=problem_responses(404))
def pause_connector(
    connector_id: Id, gateway: GatewayDep, principal: PrincipalDep
) -> ConnectorRead | ConnectorShort:
    """Stop fetching until `resume`."""
    return _read(connectors.pause(gateway, principal, connector_id))


@router.post("/{connector_id}/resume", responses=problem_responses(404))
def resume_connector(
    connector_id: Id, gateway: GatewayDep, principal: PrincipalDep
) -> ConnectorRead | ConnectorShort:
    """Start fetching again, at once, after a pause or after the connector was stopped."""
    return _read(connectors.resume(gateway, principal, connector_id))


@router.post("/{connector_id}/fetch", responses=problem_responses(404, 409, 429, 503))
async def fetch_connector(connector_id: Id, gateway: GatewayDep, principal: PrincipalDep) -> CycleRead:
    """Run a fetch cycle now. The answer comes when the cycle has ended and its messages are readable. If a cycle is already
    running, the request waits for it for up to 60 s."""
    cycle = await gateway.server_requests.run(
        principal.name, lambda: history.fetch_now(gateway, principal, connector_id)
    )
    return _cycle(cycle)


@router.get("/{connector_id}/cycles", responses=problem_responses(404))
def list_cycles(
    connector_id: Id,
    principal: PrincipalDep,
    session: ReadSession,
    cursors_of: CursorsDep,
    query: Annotated[ListQuery, Query()],
) -> Page[CycleRead]:
    """List the last 200 fetch cycles, the latest first."""
    cursors = cursors_of(f"connectors/{connector_id}/cycles")
    after = cursors.opened(query.after)
    page = history.list_cycles(session, principal, connector_id, query, after=after)
    return Page[CycleRead].model_validate(cursors.with_cursor(page.map(_cycle)))


async def _resolving(
    gateway: Gateway,
    principal: Principal,
    settings: ConnectorCreate | ConnectorPut | ConnectorPatch,
    call: Callable[[], Result],
) -> Result:
    """Run a call that checks the servers of these settings. If it must resolve a name, it runs among the requests that wait for other
    servers."""
    may_ask = addresses.may_resolve(settings.imap, settings.smtp)
    return await resolving.run(gateway, principal, call, may_ask=may_ask)


def _answer(response: Response, detailed: Detailed) -> ConnectorRead | ConnectorShort:
    response.headers["ETag"] = f'"{detailed.version}"'
    return _read(detailed)


def _read(detailed: Detailed) -> ConnectorRead | ConnectorShort:
    connector = detailed.connector
    if not detailed.in_full:
        return ConnectorShort.model_validate(
            {
                "id": connector.id,
                "name": connector.name,
                "kind": connector.kind,
                "email_address": connector.email_address,
                "status": connector.status,
                "notifies_users": notifies_users(connector),
            }
        )
    return ConnectorRead.model_validate(
        {
            "id": connector.id,
            "external_id": connector.external_id,
            "name": connector.name,
            "kind": connector.kind,
            "owner": connector.owner,
            "email_address": connector.email_address,
            "imap": ServerRead.model_validate(server_of(connector, "imap")),
            "smtp": SmtpRead.model_validate(smtp_of(connector)) if connector.smtp_host else None,
            "aliases": connector.aliases,
            "from_name": connector.from_name,
            "source_folder": connector.source_folder,
            "processed_folder": connector.processed_folder,
            "poll_interval_s": connector.poll_interval_s,
            "retention": RetentionRead(**retention_of(connector)),
            "first_fetch": first_fetch_of(connector),
            "status": connector.status,
            "last_error": _last_error(connector),
            "sending": _sending(connector),
            "alert": _alert(connector),
            "last_success_at": connector.last_success_at,
            "has_credentials": detailed.has_credentials,
            "notifies_users": notifies_users(connector),
            "created_at": connector.created_at,
            "updated_at": connector.updated_at,
        }
    )


def _last_error(connector: Connector) -> LastError | None:
    if connector.last_error_code is None or connector.last_error_at is None:
        return None
    return LastError(
        code=connector.last_error_code,
        detail=connector.last_error_detail or "",
        server_text=connector.last_error_server_text,
        at=connector.last_error_at,
        attempts=connector.failed_attempts,
        next_attempt_at=connector.next_fetch_at,
    )


def _sending(connector: Connector) -> Sending | None:
    if connector.smtp_host is None:
        return None
    last_error = None
    if connector.sending_error_code is not None and connector.sending_error_at is not None:
        last_error = LastError(
            code=connector.sending_error_code,
            detail=connector.sending_error_detail or "",
            server_text=connector.sending_error_server_text,
            at=connector.sending_error_at,
            attempts=connector.sending_failed_attempts,
            next_attempt_at=connector.sending_next_attempt_at,
        )
    return Sending.model_validate(
        {
            "status": connector.sending_status,
            "last_error": last_error,
            "next_attempt_at": connector.sending_next_attempt_at,
        }
    )


def _alert(connector: Connector) -> Alert | None:
    if connector.alert_text is None or connector.alert_at is None:
        return None
    return Alert(text=connector.alert_text, at=connector.alert_at)


def _cycle(cycle: Cycle) -> CycleRead:
    error = None
    if cycle.error_code is not None:
        error = CycleError(code=cycle.error_code, detail=cycle.error_detail or "")
    names = ("found", "stored", "known", "returned", "moved", "quarantined", "left")
    return CycleRead.model_validate(
        {
            "id": cycle.id,
            "connector_id": cycle.connector_id,
            "started_at": cycle.started_at,
            "finished_at": cycle.finished_at,
            "outcome": cycle.outcome,
            "error": error,
            **{name: getattr(cycle, name) for name in names},
        }
    )
