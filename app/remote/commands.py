"""`imap-gateway apply` and `imap-gateway connectors …`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from app.config import environment
from app.remote.gateway_client import GatewayClient, RemoteProblem

KEY = "GATEWAY_API_KEY"
EXIT_FAILED = 1
EXIT_USAGE = 2

Url = Annotated[str, typer.Option("--url", help="Where the gateway is.")]
LOCAL = "http://127.0.0.1:8000"
Name = Annotated[str, typer.Argument(help="The external id of the connector, or its id.")]

connectors = typer.Typer(
    no_args_is_help=True, help=f"Connectors of a gateway that runs. Over HTTP, with the API key in {KEY}."
)


def apply(
    file: Annotated[Path, typer.Argument(help="Connectors in YAML or JSON.")],
    url: Url = LOCAL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would change.")] = False,
) -> None:
    """Create and change connectors as a file says. Over HTTP, with the API key in GATEWAY_API_KEY.

    It may run twice: the second time it changes nothing. It deletes nothing that the file lacks. An entry that is refused is
    named with its line, and the others are applied; the exit code is then 1.
    """
    from app.remote import connector_file  # noqa: PLC0415 - takes time to load, and only this command needs it

    try:
        entries = connector_file.read(file.read_text(encoding="utf-8"), environment())
    except (OSError, UnicodeDecodeError) as exc:
        _exit(f"{file} cannot be read: {exc.strerror if isinstance(exc, OSError) else 'it is not UTF-8'}")
    except connector_file.NotAFile as exc:
        _exit(f"{file}: {exc}")
    failed = 0
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with _client(url) as gateway, Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("Connectors", total=len(entries))
        for entry in entries:
            where = f"line {entry.line}: {entry.external_id}".rstrip(": ")
            try:
                if entry.fault is not None:
                    raise RemoteProblem(entry.fault)
                answer, is_new = gateway.put_connector(entry.external_id, entry.body, dry_run=dry_run)
                typer.echo(f"{where}: {_told(answer, is_new=is_new, dry_run=dry_run)}")
            except RemoteProblem as problem:
                failed += 1
                typer.echo(f"{where}: failed: {problem.detail}", err=True)
            bar.advance(task)
    if failed:
        raise typer.Exit(EXIT_FAILED)


@connectors.command("list")
def list_them(url: Url = LOCAL) -> None:
    """List the connectors that the key sees: external id or id, status, address, what is wrong."""
    with _client(url) as gateway:
        for each in gateway.connectors():
            error = each.get("last_error")
            name = each.get("external_id") or each["id"]
            columns = [name, each["status"], each["email_address"], *([error["code"]] if error else [])]
            typer.echo("  ".join(columns))


@connectors.command("test")
def try_connector(name: Name, url: Url = LOCAL) -> None:
    """Try a connector with its stored credentials. The exit code is 1 if something is wrong."""
    with _client(url) as gateway:
        report = gateway.run(gateway.connector_id(name), "test")
    for step in ("imap", "source_folder", "processed_folder", "smtp"):
        found = report[step]
        if found is not None:
            said = f"{found['code']}: {found['detail']}" if found["code"] else found["detail"] or "ok"
            typer.echo(f"{step}: {said}")
    if report["waiting_messages"] is not None:
        typer.echo(f"waiting messages: {report['waiting_messages']}")
    if not report["ok"]:
        raise typer.Exit(EXIT_FAILED)


@connectors.command("fetch")
def fetch_mail(name: Name, url: Url = LOCAL) -> None:
    """Fetch the mail of a connector now. The exit code is 1 if that failed."""
    with _client(url) as gateway:
        cycle = gateway.run(gateway.connector_id(name), "fetch")
    counts = ", ".join(
        f"{cycle[each]} {each}" for each in ("found", "stored", "moved", "quarantined", "left")
    )
    typer.echo(f"{cycle['outcome']}: {counts}")
    if cycle["error"] is not None:
        raise RemoteProblem(f"{cycle['error']['detail']} ({cycle['error']['code']})")


def _told(answer: dict[str, Any], *, is_new: bool, dry_run: bool) -> str:
    """What became of an entry, or would."""
    if not answer["changed"]:
        return "unchanged"
    if is_new:
        return "would be created" if dry_run else "created"
    changes = [f"{name}: {before} → {after}" for name, (before, after) in answer["changes"].items()]
    return f"{'would change' if dry_run else 'changed'}: {'; '.join(changes)}"


def _client(url: str) -> GatewayClient:
    key = environment().get(KEY, "")
    if not key:
        _exit(f"set {KEY} to an API key with the scope connectors:write")
    return GatewayClient(url, key)


def _exit(sentence: str) -> None:
    typer.echo(f"imap-gateway: {sentence}", err=True)
    sys.exit(EXIT_USAGE)
