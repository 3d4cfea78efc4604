"""The story of the demo: it connects mailboxes over the API; mail arrives, is fetched and moved, and causes events; an
answer is sent. Each step is checked. With `once` the demo ends after that."""

import logging
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import typer
import uvicorn
from rich.console import Console
from rich.table import Table

from app import logs, migrations
from app.adapters.identity import development_token
from app.config import Settings
from app.demo import mails
from app.demo.mails import FOR_AYMINE, INFO, JANA, MAREK, PRIVATE, TO_INFO, TO_MAREK
from app.demo.servers import HOST, MailServers, free_port, mail_servers
from app.main import create_app

PORT = 8000
WAIT_S = 30.0
TOKEN_S = 3600
NEXT_MAIL_AFTER_S = 20.0
GROUP = "obchod"
PASSWORDS = {INFO: "demo-heslo-info", JANA: "demo-heslo-jana", MAREK: "demo-heslo-marek"}
AYMINE, DONE = "AyMINE", "AyMINE-hotovo"


class DemoFailed(Exception):
    """A step did not do what it should. The text says which step."""


def run(*, once: bool) -> None:
    """Run the demo until Ctrl-C, or for one round. It leaves nothing behind.

    Raises:
        typer.Exit: with 1 if a step failed.
    """
    console = Console()
    # A shell that starts us in the background makes us ignore Ctrl-C. The end by a signal must leave nothing behind either.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="imap-gateway-demo-") as folder:
            _play(console, Path(folder), once=once)
    except KeyboardInterrupt:
        console.print("\nThe demo has ended and left nothing behind.")
    except DemoFailed as exc:
        console.print(f"[red]failed:[/red] {exc}")
        raise typer.Exit(1) from exc


def _play(console: Console, folder: Path, *, once: bool) -> None:
    settings = Settings(
        database_url=f"sqlite:///{folder}/gateway.db",
        secret_keys=(secrets.token_urlsafe(32),),
        jwt_secret=secrets.token_urlsafe(32),
        allowed_private_networks=f"{HOST}/32",
        poll_interval_s=2,
        run_jobs=True,
    )
    logs.configure(level=logging.ERROR)
    migrations.upgrade(settings.database_url)
    console.rule("The IMAP gateway")
    with mail_servers(PASSWORDS) as servers, _served(settings) as url:
        console.print(f"mail servers: IMAP {HOST}:{servers.imap_port}, SMTP {HOST}:{servers.smtp_port}")
        console.print(f"gateway:      {url}   API docs: [link]{url}/docs[/link]\n")
        story = _Story(console, servers, settings, url)
        story.connect()
        story.receive()
        story.answer()
        if once:
            console.print("\n[green]Everything happened as it should.[/green]")
            return
        story.invite()
        _show_calls(console, url, settings)
        _keep_coming(story)


class _Story:
    """The steps, as several people see them."""

    def __init__(self, console: Console, servers: MailServers, settings: Settings, url: str) -> None:
        self._console = console
        self._servers = servers
        self._admin = _client(url, settings, "spravce", admin=True)
        self._petr = _client(url, settings, "petr", groups=(GROUP,))
        self._jana = _client(url, settings, "jana")
        self._cursor: str | None = None

    def connect(self) -> None:
        """The administrator connects a shared mailbox and prepares Jana's; Jana enters her password."""
        self._say("An administrator connects the shared mailbox and binds it to a group.")
        shared = _ok(self._admin.post("/connectors", json=self._body(INFO, kind="shared")))
        _ok(self._admin.post("/group-bindings", json={"connector_id": shared["id"], "group": GROUP}))
        self._show(f"{INFO} → group {GROUP!r}: {shared['status']}")
        self._say("They prepare Jana's private mailbox without knowing her password.")
        self._servers.create_folders(JANA, PASSWORDS[JANA], [AYMINE, DONE])
        body = self._body(JANA, kind="personal", owner="jana", source_folder=AYMINE, processed_folder=DONE)
        del body["credentials"]
        personal = _ok(self._admin.post("/connectors", json=body))
        self._show(f"{JANA}, folder {AYMINE!r} only: {personal['status']}")
        credentials = {"type": "password", "password": PASSWORDS[JANA]}
        path = f"/connectors/{personal['id']}"
        entered = _ok(self._jana.put(f"{path}/credentials", json=credentials))
        self._show(f"Jana enters it herself: {entered['status']}")

    def receive(self) -> None:
        """Mail arrives, is fetched and moved, and causes events."""
        self._say("Mail arrives: three to the company, one in Jana's AyMINE folder, one that is private.")
        for mail in TO_INFO:
            self._servers.deliver(INFO, PASSWORDS[INFO], mail.raw())
        self._servers.deliver(JANA, PASSWORDS[JANA], FOR_AYMINE.raw(), AYMINE)
        self._servers.deliver(JANA, PASSWORDS[JANA], PRIVATE.raw())
        expected = len(TO_INFO) + 1
        stored = self._events("message.stored", expected)
        self._show(f"{expected} message.stored events; they hold ids, nothing of the content")
        _until(
            lambda: all(row["moved_at"] for row in [*self._read(self._petr), *self._read(self._jana)]),
            "the mails were not moved",
        )
        self._table("What Petr of the group sees", self._read(self._petr))
        self._table("What Jana sees", self._read(self._jana))
        _require(self._read(self._admin) == [], "an administrator sees messages")
        self._show("The administrator, a member of no group, sees none.")
        subjects = {row["subject"] for row in [*self._read(self._petr), *self._read(self._jana)]}
        _require(subjects == {*(mail.subject for mail in TO_INFO), FOR_AYMINE.subject}, "subjects differ")
        _require(len(stored) == expected, "an event is missing")
        info = self._servers.counts(INFO, PASSWORDS[INFO], ["INBOX", "Trash"])
        jana = self._servers.counts(JANA, PASSWORDS[JANA], ["INBOX", AYMINE, DONE])
        self._show(f"On the server, {INFO}: {info}; {JANA}: {jana}")
        _require(info == {"INBOX": 0, "Trash": len(TO_INFO)}, "the company's mails are not in the trash")
        _require(jana == {"INBOX": 1, AYMINE: 0, DONE: 1}, "Jana's folders are not as they should be")

    def answer(self) -> None:
        """Petr answers one mail, and marks it processed."""
        question = next(row for row in self._read(self._petr) if "Dotaz" in row["subject"])
        self._say(f"Petr answers “{question['subject']}”.")
        body = {
            "connector_id": question["connector_id"],
            "to": [question["from"]["address"]],
            "subject": f"Re: {question['subject']}",
            "text": "Dobrý den,\n\nv sobotu máme otevřeno do 12 hodin.\n",
            "in_reply_to": question["id"],
        }
        key = {"Idempotency-Key": secrets.token_hex(8)}
        _ok(self._petr.post("/submissions", json=body, headers=key))
        self._events("submission.sent", 1)
        _ok(self._petr.patch(f"/messages/{question['id']}", json={"state": "processed"}))
        _require(len(self._servers.sent) == 1, "the answer did not arrive")
        reference = question["message_id_header"].encode()
        _require(reference in self._servers.sent[0], "the answer does not refer to the question")
        self._show("submission.sent: the SMTP server has it, with In-Reply-To; the message is processed")
        _until(
            lambda: self._servers.counts(INFO, PASSWORDS[INFO], ["Sent"]) == {"Sent": 1},
            "there is no copy in the Sent folder",
        )
        self._show("there is a copy in the Sent folder")

    def invite(self) -> None:
        """A third mailbox waits for its owner, who enters the password by a link in a browser."""
        self._say("A link for Marek, who enters his password in a browser: open it, the password is")
        self._show(f"[bold]{PASSWORDS[MAREK]}[/bold]")
        self._servers.create_folders(MAREK, PASSWORDS[MAREK], [AYMINE])
        self._servers.deliver(MAREK, PASSWORDS[MAREK], TO_MAREK.raw(), AYMINE)
        body = self._body(MAREK, kind="personal", owner="marek", source_folder=AYMINE)
        del body["credentials"]
        prepared = _ok(self._admin.post("/connectors", json=body))
        link = _ok(self._admin.post(f"/connectors/{prepared['id']}/credential-links"))
        self._console.print(f"  {link['url']}", soft_wrap=True, highlight=False)

    def next_mail(self, number: int) -> None:
        """Send one more mail to the company, and show what happens to it."""
        mail = mails.later(number)
        self._servers.deliver(INFO, PASSWORDS[INFO], mail.raw())
        [event] = self._events("message.stored", 1)
        self._show(f"“{mail.subject}” arrived, is stored as {event['data']['message_id']}")

    def _body(self, address: str, **settings: Any) -> dict[str, Any]:
        server = {"host": HOST, "security": "none", "username": address}
        return {
            "name": address.partition("@")[0],
            "email_address": address,
            "imap": {**server, "port": self._servers.imap_port},
            "smtp": {**server, "port": self._servers.smtp_port},
            "credentials": {"type": "password", "password": PASSWORDS[address]},
            **settings,
        }

    def _events(self, short_type: str, count: int) -> list[dict[str, Any]]:
        """Wait for this number of events of a type, by polling the feed as other services do."""
        found: list[dict[str, Any]] = []
        end = time.monotonic() + WAIT_S
        while len(found) < count:
            if time.monotonic() > end:
                raise DemoFailed(f"{len(found)} instead of {count} {short_type} events")
            params = {"wait_s": "2", **({"after": self._cursor} if self._cursor else {})}
            page = _ok(self._admin.get("/events", params=params))
            self._cursor = page["next_cursor"]
            found += [event for event in page["data"] if f".{short_type}." in event["type"]]
        return found

    @staticmethod
    def _read(client: httpx.Client) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = _ok(client.get("/messages"))["data"]
        return rows

    def _say(self, text: str) -> None:
        self._console.print(f"[bold]{text}[/bold]")

    def _show(self, text: str) -> None:
        self._console.print(f"  {text}")

    def _table(self, title: str, rows: list[dict[str, Any]]) -> None:
        table = Table(title=title, title_justify="left")
        for name in ("from", "subject", "attachments", "state", "moved"):
            table.add_column(name)
        for row in rows:
            table.add_row(
                row["from"]["name"] or row["from"]["address"],
                row["subject"],
                "yes" if row["has_attachments"] else "",
                row["state"],
                "yes" if row["moved_at"] else "not yet",
            )
        self._console.print(table)


@contextmanager
def _served(settings: Settings) -> Iterator[str]:
    port = free_port(PORT)
    config = uvicorn.Config(
        create_app(settings), host=HOST, port=port, log_config=None, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="demo-gateway", daemon=True)
    thread.start()
    try:
        _until(lambda: server.started or not thread.is_alive(), "the gateway does not start")
        _require(server.started, "the gateway does not start")
        yield f"http://{HOST}:{port}"
    finally:
        server.should_exit = True
        thread.join(WAIT_S)


def _client(
    url: str, settings: Settings, user: str, *, groups: tuple[str, ...] = (), admin: bool = False
) -> httpx.Client:
    token = _token(settings, user, groups=groups, admin=admin)
    return httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=WAIT_S, trust_env=False
    )


def _token(settings: Settings, user: str, *, groups: tuple[str, ...] = (), admin: bool = False) -> str:
    claims = {"sub": user, "groups": list(groups), "roles": ["admin"] if admin else []}
    return development_token(settings, claims=claims, ttl_s=TOKEN_S)


def _show_calls(console: Console, url: str, settings: Settings) -> None:
    token = _token(settings, "petr", groups=(GROUP,))
    console.print("\n[bold]Try it (as Petr of the group; the token is good for an hour):[/bold]")
    console.print(f"TOKEN={token}", soft_wrap=True, highlight=False)
    for path in ("/messages", "/messages?q=objednavka", "/events", "/connectors"):
        console.print(
            f'curl -H "Authorization: Bearer $TOKEN" "{url}{path}"', soft_wrap=True, highlight=False
        )
    console.print(f"\nA new mail arrives every {NEXT_MAIL_AFTER_S:.0f} s. Ctrl-C ends the demo.")


def _keep_coming(story: _Story) -> None:
    number = 0
    while True:
        time.sleep(NEXT_MAIL_AFTER_S)
        number += 1
        story.next_mail(number)


def _ok(answer: httpx.Response) -> Any:
    if not answer.is_success:
        raise DemoFailed(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}"
        )
    return answer.json()


def _require(condition: bool, failure: str) -> None:
    if not condition:
        raise DemoFailed(failure)


def _until(condition: Callable[[], bool], failure: str) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        _require(time.monotonic() < end, failure)
        time.sleep(0.1)
