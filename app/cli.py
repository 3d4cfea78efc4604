"""The command `imap-gateway`. Each command makes one call. An error becomes one sentence on standard error."""

import json
import os
import secrets
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from app import (
    __version__,
    clock,
    database_files,
    database_reach,
    http_protocol,
    logs,
    migrations,
    openapi_page,
    serve_lock,
)
from app.adapters.identity import development_token
from app.adapters.parser import ParserPool, ParserUnavailable
from app.config import ENV_FILE, Settings, unknown_names
from app.db import Database
from app.errors import GatewayError, InvalidInput, NotFound, SettingsIncomplete, StoreInUse, StoreUnavailable
from app.gateway import Gateway
from app.main import create_app
from app.models import ApiKey
from app.remote import commands
from app.remote.gateway_client import RemoteProblem
from app.routers.waiting import watch_of
from app.schemas.api_keys import ApiKeyCreate
from app.services import secret_rotation
from app.services.access import api_keys, audit
from app.services.messages import rereading

GRACE_S = 10
"""How long a server that stops waits for requests to end."""
EXIT_STALE = 1
EXIT_FAILED = 1
EXIT_SETTINGS = 2
PROGRESS_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
)
PAGE = Path(__file__).resolve().parents[1] / "openapi.md"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
log = structlog.get_logger(__name__)
keys = typer.Typer(no_args_is_help=True, help="API keys of integrators and services.")
app.add_typer(keys, name="keys")
app.command()(commands.apply)
app.add_typer(commands.connectors, name="connectors")


def main() -> None:
    """The entry point of the console script."""
    try:
        app()
    except SettingsIncomplete as error:
        _exit(error.detail, EXIT_SETTINGS)
    except InvalidInput as error:
        _exit("; ".join(f"{fault.pointer} {fault.detail}" for fault in error.faults), EXIT_FAILED)
    except StoreInUse as error:
        _exit(error.detail, EXIT_FAILED)
    except StoreUnavailable:
        _exit(database_reach.why_unusable(_settings().database_url), EXIT_FAILED)
    except (GatewayError, RemoteProblem) as error:
        _exit(error.detail, EXIT_FAILED)
    except OperationalError:  # for example, an old schema
        _exit(database_reach.why_unusable(_settings().database_url), EXIT_FAILED)


def _settings() -> Settings:
    return Settings.from_environment(env_file=ENV_FILE)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imap-gateway {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself. Settings come from the environment, then from a file `.env` in this folder."""


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
    migrate: Annotated[bool, typer.Option(help="Run pending migrations first.")] = True,
) -> None:
    """Serve the HTTP interface, and run the jobs that fetch, send and deliver."""
    settings = _settings()
    settings.require_serving()
    logs.configure(level=settings.log_level, form=settings.log_format)
    url = make_url(settings.database_url)
    where = f"{url.host or 'localhost'}/{url.database}" if url.host else url.database
    log.info(
        "starting", version=__version__, database=f"{url.get_backend_name()} {where}", jobs=settings.run_jobs
    )
    for name in unknown_names(ENV_FILE):
        log.warning("setting_unknown", name=name)
    if os.geteuid() == 0:
        log.warning("runs_as_root", advice="run the service as a separate user: docs/installing.md")
    database_files.make_private(settings.database_url)
    http_protocol.raise_descriptor_limit()
    with _right_to_serve(settings):
        if migrate:
            migrations.upgrade(settings.database_url)
        application = create_app(settings)
        uvicorn.run(
            application,
            http=http_protocol.protocol_class(
                fetch_threads=settings.fetch_threads,
                database_sessions=2 * settings.database_sessions,
                # Streams and long polls end at once. Otherwise the server would wait for them, and then cut them off.
                stopping=lambda: watch_of(application).close(),
            ),
            ws="none",
            backlog=http_protocol.BACKLOG,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )


@app.command()
def migrate() -> None:
    """Bring the database's schema up to this version."""
    database_url = _settings().database_url
    database_files.make_private(database_url)
    migrations.upgrade(database_url)
    typer.echo("The schema is up to date.")


@app.command()
def demo(once: Annotated[bool, typer.Option(help="Do one round, check it, and end.")] = False) -> None:
    """Run the gateway with a mail server and sample mailboxes of its own."""
    from app.demo import run  # noqa: PLC0415 - its mail servers are an optional dependency

    run(once=once)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="A scope; may be repeated.")],
    connector: Annotated[
        list[str] | None, typer.Option(help="Id of a connector that the key may use; may be repeated.")
    ] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, help="Without it, the key never expires.")
    ] = None,
) -> None:
    """Create an API key and print it. It is shown only now."""
    request = _validated(name=name, scopes=scope, connector_ids=connector or [])
    expires_at = clock.utc_now() + timedelta(days=expires_in_days) if expires_in_days else None
    with _database().unit_of_work() as session:
        issued = api_keys.issue(
            session,
            name=request.name,
            scopes=request.scopes,
            connector_ids=request.connector_ids,
            expires_at=expires_at,
            by=audit.OPERATOR,
        )
    typer.echo(issued.key)


@keys.command("list")
def list_keys() -> None:
    """List API keys, including revoked ones, without the keys themselves."""
    with _database().reading() as session:
        for row in api_keys.all_keys(session):
            typer.echo(_line(row))


@keys.command("revoke")
def revoke_key(key: Annotated[str, typer.Argument(help="The id of the key, or its prefix (gwk_…).")]) -> None:
    """Revoke an API key: it stops working at once."""
    with _database().unit_of_work() as session:
        row = api_keys.find_by_id_or_prefix(session, key)
        if row is None:
            raise NotFound("There is no such key.")
        api_keys.end(session, row, by=audit.OPERATOR)
    typer.echo(f"{row.prefix} is revoked.")


@app.command()
def token(
    sub: Annotated[str, typer.Option(help="User id.")],
    group: Annotated[list[str] | None, typer.Option(help="A group; may be repeated.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role, as `admin`; may be repeated.")] = None,
    ttl: Annotated[int, typer.Option(min=1, help="Seconds until it expires.")] = 3600,
) -> None:
    """Print a token for development; only with GATEWAY_JWT_SECRET."""
    settings = _settings()
    claims = {
        "sub": sub,
        settings.jwt_groups_claim: group or [],
        settings.jwt_roles_claim: role or [],
    }
    typer.echo(development_token(settings, claims=claims, ttl_s=ttl))


@app.command("rotate-secrets")
def rotate_secrets() -> None:
    """Encrypt stored secrets anew with the first of GATEWAY_SECRET_KEYS, while the service runs.

    First put the new key before the old one and restart the service. Remove the old key after this command has
    succeeded. You may stop the command and run it again.
    """
    settings = _settings()
    settings.require_secret_keys()
    gateway = Gateway.from_settings(settings)
    done = secret_rotation.Progress()
    try:
        for done in secret_rotation.rotate(gateway):
            typer.echo(f"{done.rotated} encrypted anew …", err=True)
    finally:
        gateway.close()
    typer.echo(f"{done.rotated} encrypted anew, {done.unreadable} that no key decrypts.")
    if done.unreadable:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def reread() -> None:
    """Read stored mails again, while the service runs: those that an older version read, or that could not be read.

    Ids, places in the feed, states, bytes and the numbers of attachments do not change. You may stop the command and
    run it again.
    """
    settings = _settings()
    logs.configure(level=settings.log_level, form=settings.log_format)
    done = rereading.Progress()
    database = _database()
    try:
        with database.reading() as session:
            if not migrations.is_current(session.connection()):
                raise GatewayError("The schema is not that of this version; run: imap-gateway migrate")
            total = rereading.count_readable(session)
        with (
            ParserPool(1) as parsers,
            Progress(*PROGRESS_COLUMNS, console=Console(stderr=True)) as bar,
        ):
            task = bar.add_task("Reading again", total=total)
            for done in rereading.reread(database, parsers):
                bar.update(task, completed=done.done)
    except ParserUnavailable as exc:
        raise GatewayError(f"Stopped: {exc}.") from exc
    finally:
        database.close()
    typer.echo(
        f"{done.read} read again, {done.failed} that still cannot be read and stay as they were,"
        f" {done.passed} deleted or read by another run meanwhile."
    )


@app.command("generate-secret")
def generate_secret() -> None:
    """Print a random secret, for GATEWAY_SECRET_KEYS or GATEWAY_JWT_SECRET."""
    typer.echo(secrets.token_urlsafe(48))


@app.command()
def openapi(
    check: Annotated[
        bool, typer.Option("--check", help="Only check whether openapi.md is up to date.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the OpenAPI document instead.")] = False,
) -> None:
    """Print the HTTP interface as the page openapi.md."""
    if as_json:
        typer.echo(json.dumps(openapi_page.openapi_document(), indent=2, ensure_ascii=False))
        return
    page = openapi_page.openapi_page()
    if not check:
        typer.echo(page, nl=False)
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        _exit("openapi.md is stale; run: imap-gateway openapi > openapi.md", EXIT_STALE)


def _right_to_serve(settings: Settings) -> AbstractContextManager[None]:
    return serve_lock.only_server(settings.database_url) if settings.run_jobs else nullcontext()


def _database() -> Database:
    return Database(_settings().database_url)


def _validated(**values: Any) -> ApiKeyCreate:
    try:
        return ApiKeyCreate.model_validate(values)
    except ValidationError as exc:
        raise GatewayError(
            "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        ) from None


def _line(row: ApiKey) -> str:
    state = "revoked" if row.revoked_at else "active"
    used = row.last_used_at.isoformat(timespec="minutes") if row.last_used_at else "never"
    limit = ",".join(row.connector_ids) or "all"
    return f"{row.prefix}  {state}  used {used}  {','.join(row.scopes)}  connectors {limit}  {row.name}"


def _exit(sentence: str, code: int) -> None:
    typer.echo(f"imap-gateway: {sentence}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
