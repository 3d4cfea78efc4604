"""How `tests/data/reader_1.sql` was made: the service as of commit ec42bc1, over HTTP, from a real Dovecot.

Not run by the tests. In a checkout of that commit, with this folder laid beside its tests (its helpers were in `tests` itself):
`PYTHONPATH=. python -m tests.integration.rereading.fill reader_1.sql`
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx

from tests.integration.rereading.database import SECRET_KEY
from tests.integration.rereading.mails import MAILS
from tests.support.callers import Callers
from tools.servers.dovecot import Dovecot
from tools.servers.process import end, free_port, wait_until


def main(target: Path) -> None:
    """Fill a database and dump it as SQL; beside it, as JSON, what the API gave of each mail."""
    with tempfile.TemporaryDirectory() as folder, Dovecot() as server:
        database = Path(folder, "gateway.db")
        port = free_port()
        environment = {
            **os.environ,
            "GATEWAY_DATABASE_URL": f"sqlite:///{database}",
            "GATEWAY_SECRET_KEYS": SECRET_KEY,
            "GATEWAY_JWT_SECRET": "the tests' own JWT secret of 32 bytes or more",
            "GATEWAY_ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
            "GATEWAY_MAIL_PORTS": str(server.port),
        }
        command = [sys.executable, "-m", "app.cli", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env=environment)
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", headers=Callers.user("admin", admin=True), timeout=60
            ) as client:
                wait_until(lambda: _answers(client), 60, "the gateway")
                seen = _fill(client, server)
        finally:
            end(process, grace_s=10)
        with sqlite3.connect(database) as connection:
            target.write_text("\n".join(connection.iterdump()) + "\n")
        target.with_suffix(".json").write_text(json.dumps(seen, ensure_ascii=False, indent=1) + "\n")


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def _fill(client: httpx.Client, server: Dovecot) -> dict[str, Any]:
    user = server.new_user()
    server.deliver_all(user, list(MAILS.values()))
    body = {
        "name": "Orders",
        "kind": "shared",
        "email_address": "info@firma.test",
        "imap": {"host": server.host, "port": server.port, "security": "none", "username": user},
        "credentials": {"type": "password", "password": server.password},
        "first_fetch": "all",
        "poll_interval_s": 86_400,
    }
    made = client.post("/connectors", json=body)
    assert made.status_code == 201, made.text
    connector = f"/connectors/{made.json()['id']}"
    client.post("/group-bindings", json={"connector_id": made.json()["id"], "group": "orders"})
    client.post(f"{connector}/fetch")
    jana = Callers.user("jana", groups=["orders"])
    ids = [row["id"] for row in client.get("/messages", headers=jana).json()["data"]]
    by_name = dict(zip(MAILS, ids, strict=True))
    client.patch(f"/messages/{by_name['processed']}", json={"state": "processed"}, headers=jana)
    client.delete(f"/messages/{by_name['deleted']}", headers=jana)
    client.post(f"{connector}/pause")
    return {name: _seen(client, by_name[name], jana) for name in MAILS if name != "deleted"}


def _seen(client: httpx.Client, message_id: str, headers: dict[str, str]) -> dict[str, Any]:
    detail = client.get(f"/messages/{message_id}", headers=headers).json()
    contents = {
        str(each["n"]): client.get(f"/messages/{message_id}/attachments/{each['n']}", headers=headers).content
        for each in detail["attachments"]
    }
    return {"detail": detail, "contents": {n: b64encode(each).decode() for n, each in contents.items()}}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
