"""Clients that others' programs make of the OpenAPI document work with the served gateway."""

import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.callers import user_token
from tools.clients.install import NODE
from tools.servers.dovecot import Dovecot
from tools.servers.smtp import SmtpServer

HERE = Path(__file__).parent
ADMINISTRATOR = user_token("root", admin=True)
MAIL = b"From: Eva <eva@firma.cz>\r\nTo: info@firma.cz\r\nSubject: An order\r\n\r\nTen, please.\r\n"


@pytest.fixture
def mailbox(dovecot: Dovecot, smtp_server: SmtpServer) -> dict[str, Any]:
    """The servers of a new mailbox with one mail, as `POST /connectors` takes them, and its password."""
    user = dovecot.new_user()
    dovecot.deliver_all(user, [MAIL])
    imap = {"host": dovecot.host, "port": dovecot.port, "security": "none", "username": user}
    smtp = {"host": smtp_server.host, "port": smtp_server.port, "security": "none", "username": user}
    return {"imap": imap, "smtp": smtp, "password": dovecot.password}


@pytest.fixture(scope="module")
def served_document(served: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_bytes(served.get("/openapi.json").raise_for_status().content)
    return path


def run(*command: str | Path, folder: Path) -> str:
    """What a program prints; it must end well."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_client_in_typescript_has_right_types_and_works(
    served: httpx.Client,
    served_document: Path,
    node_packages: Path,
    mailbox: dict[str, Any],
    tmp_path: Path,
) -> None:
    programs = node_packages / "node_modules"
    (tmp_path / "node_modules").symlink_to(programs)
    for name in ("client.ts", "tsconfig.json"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    run(
        NODE,
        programs / ".bin" / "openapi-typescript",
        served_document,
        "--output",
        "schema.d.ts",
        # Otherwise a caller would have to send each field that has a default.
        "--default-non-nullable=false",
        folder=tmp_path,
    )
    run(NODE, programs / ".bin" / "tsc", "--project", ".", folder=tmp_path)
    member = user_token("jana", groups=["typescript"])
    words = [str(served.base_url), ADMINISTRATOR, member, json.dumps(mailbox)]
    told = json.loads(run(NODE, "client.ts", *words, folder=tmp_path))
    assert told == {
        "cycle": "ok",
        "subject": "An order",
        "text": "Ten, please.\n",
        "is_time": True,
        "submission": "Re: An order",
        "event": "com.aymine.imap.message.stored.v1",
        "missing": "not_found",
    }


CONFIGURATION = """\
content_type_overrides:
  message/rfc822: application/octet-stream
post_hooks: []
"""
"""The generator does not know that a mail is a file. Its own hooks would only format the code."""


@pytest.fixture
def generated(
    served_document: Path, client_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The name of the package with the generated client."""
    (tmp_path / "configuration.yaml").write_text(CONFIGURATION)
    run(
        client_generator,
        "generate",
        *("--path", served_document, "--config", "configuration.yaml"),
        *("--meta", "none", "--output-path", "imap_gateway_client", "--fail-on-warning"),
        folder=tmp_path,
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "imap_gateway_client"


def test_a_client_in_python_works(served: httpx.Client, generated: str, mailbox: dict[str, Any]) -> None:
    package = import_module(generated)
    models = import_module(f"{generated}.models")

    def call(token: str, tag: str, operation: str, *arguments: Any, **more: Any) -> Any:
        client = package.AuthenticatedClient(str(served.base_url), token, timeout=httpx.Timeout(60))
        return import_module(f"{generated}.api.{tag}.{operation}").sync(*arguments, client=client, **more)

    member = user_token("jana", groups=["python"])
    body = models.ConnectorCreate.from_dict(
        {
            "name": "Orders",
            "kind": "shared",
            "email_address": "info@firma.cz",
            "first_fetch": "all",
            "imap": mailbox["imap"],
            "smtp": mailbox["smtp"],
            "credentials": {"type": "password", "password": mailbox["password"]},
        }
    )
    connector = call(ADMINISTRATOR, "connectors", "create_connector", body=body)
    binding = models.GroupBindingCreate(connector_id=connector.id, group="python")
    assert call(ADMINISTRATOR, "group_bindings", "create_group_binding", body=binding).group == "python"
    assert call(ADMINISTRATOR, "connectors", "fetch_connector", connector.id).outcome == "ok"
    page = call(member, "messages", "list_messages", connector_id=connector.id)
    assert [each.subject for each in page.data] == ["An order"]
    message = call(member, "messages", "get_message", page.data[0].id)
    assert message.text == "Ten, please.\n"
    assert message.stored_at.tzinfo is not None
    source = call(member, "messages", "get_message_source", message.id)
    assert source.payload.read() == MAIL
    answer = models.SubmissionCreate(
        connector_id=connector.id, to=["eva@firma.cz"], text="Thank you.", in_reply_to=message.id
    )
    submission = call(member, "submissions", "create_submission", body=answer)
    assert submission.subject == "Re: An order"
    assert call(member, "submissions", "get_submission", submission.id).to == ["eva@firma.cz"]
    events = call(ADMINISTRATOR, "events", "list_events", limit=200).data
    about = [each for each in events if each.data.to_dict().get("connector_id") == connector.id]
    assert about[0].type_ == "com.aymine.imap.message.stored.v1"
    problem = call(member, "messages", "get_message", "nothing")
    assert (problem.status, problem.code) == (404, "not_found")
    for name in [name for name in sys.modules if name.partition(".")[0] == generated]:
        del sys.modules[name]
