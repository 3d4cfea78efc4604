"""What a real Dovecot shows and refuses, told by a test and by a fetch: its certificate, and rights that it does not tell."""

import itertools
import re
import shutil
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.servers.fixtures import started_or_skipped
from tests.support.callers import Callers
from tests.support.served_gateway import served_gateway
from tests.support.stored_mail import mail
from tools.servers.bad_certificates import LONG_AGO, NEXT_CENTURY
from tools.servers.certificates import Certificates
from tools.servers.dovecot import Dovecot
from tools.servers.process import server_account, work_folder

NUMBERS = itertools.count()
TRUSTED, UNKNOWN = trustme.CA(), trustme.CA()
DAY = timedelta(days=1)

CERTIFICATES = {
    "certificate_expired": lambda: TRUSTED.issue_cert(
        "localhost", not_before=LONG_AGO - DAY, not_after=LONG_AGO
    ),
    "certificate_not_yet_valid": lambda: TRUSTED.issue_cert(
        "localhost", not_before=NEXT_CENTURY, not_after=NEXT_CENTURY + DAY
    ),
    "certificate_for_other_name": lambda: TRUSTED.issue_cert("imap.firma.cz"),
    "certificate_issuer_unknown": lambda: UNKNOWN.issue_cert("localhost"),
    "certificate_self_signed": None,
    None: lambda: TRUSTED.issue_cert("localhost"),
}
"""What shows it, by the code that tells it. None: all is well."""

WITHOUT_E = {
    (2, 3): "mail_plugins = acl {asking}\nplugin {{\n  acl = vfile:{file}\n}}\n",
    (2, 4): "mail_plugins {{\n  acl = yes\n}}\nacl_driver = vfile\nacl_global_path = {file}\n{asking}\n",
}
ASKING = {(2, 3): "imap_acl", (2, 4): "protocol imap {\n  mail_plugins {\n    imap_acl = yes\n  }\n}"}
"""Without imap_acl rights hold, and nobody can ask for them."""


def without_e(file: Path, *, can_be_asked: bool) -> Dovecot:
    """A server with these rights, in the language of the version that runs."""
    probe = Dovecot()
    try:
        version = probe.start().version
    finally:
        probe.stop()
    version = min(version, (2, 4))
    asking = ASKING[version] if can_be_asked else ""
    return Dovecot(extra=WITHOUT_E[version].format(file=file, asking=asking))


@pytest.fixture(scope="module")
def client(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("dovecot-told")
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    authority = folder / "authority.pem"
    TRUSTED.cert_pem.write_to_path(str(authority))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority))
        url = f"sqlite:///{folder / 'gateway.db'}"
        with served_gateway(url, folder, RUN_JOBS="false", COMMAND_TIMEOUT_S="20") as made:
            yield made


def connected(client: httpx.Client, server: Dovecot, user: str, security: str) -> str:
    body = {
        "name": "told",
        "kind": "shared",
        "email_address": user,
        "imap": {
            "host": "localhost",
            "port": server.tls_port if security == "tls" else server.port,
            "security": security,
            "username": user,
        },
        "credentials": {"type": "password", "password": server.password},
        "first_fetch": "all",
    }
    answer = client.post("/connectors", json=body, headers=administrator())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def administrator() -> dict[str, str]:
    return Callers.user(f"administrator-{next(NUMBERS)}", admin=True)


def ask(client: httpx.Client, connector_id: str, what: str) -> dict[str, Any]:
    answer = client.post(f"/connectors/{connector_id}/{what}", headers=administrator())
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("code", CERTIFICATES)
def test_its_certificate(client: httpx.Client, tmp_path: Path, code: str | None) -> None:
    shown, file = CERTIFICATES[code], tmp_path / "server.pem"
    if shown is not None:
        shown().private_key_and_cert_chain_pem.write_to_path(str(file))
    else:
        UNKNOWN.cert_pem.write_to_path(str(file))
        UNKNOWN.private_key_pem.write_to_path(str(file), append=True)
    certificates = Certificates(file, file)
    server = started_or_skipped(lambda: Dovecot(certificates=certificates).start())
    try:
        user = server.new_user()
        for security in ("tls", "starttls"):
            connector_id = connected(client, server, user, security)
            assert ask(client, connector_id, "test")["imap"]["code"] == code
            error = ask(client, connector_id, "fetch")["error"]
            assert (error and error["code"]) == code
            client.delete(f"/connectors/{connector_id}?messages=delete", headers=administrator())
    finally:
        server.stop()


VARYING = re.compile(rb"\(\d+\.\d+ .*secs\)|HIGHESTMODSEQ \d+|MODSEQ \(\d+\)|session=\S+")
NO_SUCH_UID = "4294967295"
CHANGE_NOTHING = [
    ("CAPABILITY",),
    ("NAMESPACE",),
    ("LIST", '""', '"*"', "RETURN (SPECIAL-USE SUBSCRIBED CHILDREN STATUS (MESSAGES UNSEEN))"),
    ("LIST", '""', '"*"', "RETURN (MYRIGHTS)"),
    ("MYRIGHTS", "INBOX"),
    ("GETACL", "INBOX"),
    ("STATUS", "INBOX", "(MESSAGES UNSEEN)"),
    ("EXAMINE", "INBOX"),
    ("SELECT", "INBOX"),
    ("UID", "SEARCH", "ALL"),
    ("UID", "FETCH", "1:*", "(FLAGS)"),
    ("UID", "STORE", NO_SUCH_UID, "+FLAGS", "(\\Deleted)"),
    ("UID", "STORE", "1:*", "(UNCHANGEDSINCE 0)", "+FLAGS", "(\\Deleted)"),
    ("UID", "COPY", NO_SUCH_UID, "Trash"),
    ("UID", "MOVE", NO_SUCH_UID, "Trash"),
    ("UID", "MOVE", "1:*", '"no such folder"'),
    ("UID", "EXPUNGE", NO_SUCH_UID),
    ("EXPUNGE",),
    ("UNSELECT",),
]


def answers_that_change_nothing(server: Dovecot, user: str) -> list[bytes]:
    """All that a server says to whatever could tell rights and leaves the mailbox as it is, without times; sorted, because
    Dovecot lists folders in the order of the disk."""
    with socket.create_connection((server.host, server.port), 60) as connection:
        lines = connection.makefile("rb")
        lines.readline()
        told: list[bytes] = []
        for number, command in enumerate([("LOGIN", user, server.password), *CHANGE_NOTHING]):
            tag = f"a{number} "
            connection.sendall((tag + " ".join(command) + "\r\n").encode())
            while not (line := lines.readline()).startswith(tag.encode()):
                assert line, command
                told.append(line)
            told.append(line)
        return sorted(VARYING.sub(b"", line) for line in told)


@pytest.mark.parametrize("can_be_asked", [True, False])
def test_a_right_to_move_that_is_missing(client: httpx.Client, can_be_asked: bool) -> None:
    """Dovecot answers OK to a move of nothing: where it does not tell rights, only a real move finds out. All else that it
    says is the same with and without the right."""
    folder = work_folder("acl-", server_account())
    file = folder / "acl"
    file.write_text("INBOX owner lrswitp\n")
    file.chmod(0o644)
    server = started_or_skipped(lambda: without_e(file, can_be_asked=can_be_asked).start())
    try:
        user = server.new_user()
        server.deliver_all(user, [mail("one"), mail("two")])
        connector_id = connected(client, server, user, "none")
        report = ask(client, connector_id, "test")
        assert report["source_folder"]["code"] == ("no_right_to_move" if can_be_asked else None)
        cycle = ask(client, connector_id, "fetch")
        assert (cycle["error"]["code"], cycle["stored"]) == ("no_right_to_move", 2)
        server.deliver(user, mail("three"))
        cycle = ask(client, connector_id, "fetch")
        assert (cycle["error"]["code"], cycle["stored"]) == ("no_right_to_move", 0)
        assert (len(server.messages(user)), len(server.messages(user, "Trash"))) == (3, 0)
        # From now on a test knows it as well, and says so until a fetch has found it otherwise.
        assert ask(client, connector_id, "test")["source_folder"]["code"] == "no_right_to_move"
        answers_that_change_nothing(server, user)  # after that, no mail is recent
        without = answers_that_change_nothing(server, user)
        file.write_text("INBOX owner lrswitep\n")
        assert (answers_that_change_nothing(server, user) == without) is not can_be_asked
        assert ask(client, connector_id, "fetch")["error"] is None
        assert ask(client, connector_id, "test")["source_folder"]["code"] is None
        assert (len(server.messages(user)), len(server.messages(user, "Trash"))) == (0, 3)
    finally:
        server.stop()
        shutil.rmtree(folder)
