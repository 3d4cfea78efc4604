"""A mailbox of a real server behind the served gateway: mail goes out over SMTP, what comes back is fetched, all over HTTP."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.callers import Callers
from tools.servers.dovecot import Dovecot
from tools.servers.process import wait_until
from tools.servers.smtp import SmtpServer

ADMIN = Callers.user("root", admin=True)
PATIENCE_S = 60.0
ENDED = frozenset({"sent", "partly_sent", "failed", "uncertain", "cancelled"})


@dataclass
class ServedMailbox:
    """One connector with the group `group`, and `reader`, a member of the group."""

    client: httpx.Client
    dovecot: Dovecot
    smtp: SmtpServer
    user: str
    id: str
    reader: dict[str, str]

    @classmethod
    def made(
        cls,
        client: httpx.Client,
        dovecot: Dovecot,
        smtp: SmtpServer,
        *,
        group: str,
        user: str | None = None,
        sends_by: dict[str, Any] | None = None,
        **settings: Any,
    ) -> "ServedMailbox":
        """A new mailbox on the server, or that of the user, with its connector. It sends by the SMTP server, or by `sends_by`."""
        user = user or dovecot.new_user()
        login = {"host": dovecot.host, "port": dovecot.port, "security": "none", "username": user}
        body = {
            "name": "Orders",
            "kind": "shared",
            "email_address": "info@firma.cz",
            "imap": login,
            "smtp": sends_by
            or {"host": smtp.host, "port": smtp.port, "security": "none", "username": "info@firma.cz"},
            "credentials": {"type": "password", "password": dovecot.password},
            "first_fetch": "all",
            "poll_interval_s": 3600,
            **settings,
        }
        made = cls(client, dovecot, smtp, user, "", Callers.user("jana", groups=[group]))
        made.id = made.call("POST", "/connectors", body, caller=ADMIN)["id"]
        made.call("POST", "/group-bindings", {"connector_id": made.id, "group": group}, caller=ADMIN)
        return made

    def call(
        self, method: str, path: str, body: Any = None, *, caller: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """The answer, which must not be a refusal."""
        answer = self.asked(method, path, body, caller=caller)
        assert answer.is_success, answer.text
        values: dict[str, Any] = answer.json() if answer.content else {}
        return values

    def asked(
        self, method: str, path: str, body: Any = None, *, caller: dict[str, str] | None = None
    ) -> httpx.Response:
        return self.client.request(method, path, json=body, headers=caller or self.reader)

    def send(self, *to: str, **fields: Any) -> dict[str, Any]:
        """Send a mail, and wait for its outcome."""
        body = {"connector_id": self.id, "to": list(to), "subject": "Order", "text": "Hello", **fields}
        submission_id = self.call("POST", "/submissions", body)["id"]
        wait_until(lambda: self.submission(submission_id)["status"] in ENDED, PATIENCE_S, "the outcome")
        return self.submission(submission_id)

    def submission(self, submission_id: str) -> dict[str, Any]:
        return self.call("GET", f"/submissions/{submission_id}")

    def receive(self, *raws: bytes) -> list[dict[str, Any]]:
        """Deliver mails, fetch them, and give the messages that were made of them."""
        self.dovecot.deliver_all(self.user, list(raws))
        return self.fetched()

    def fetched(self) -> list[dict[str, Any]]:
        """Fetch what is there, and give the messages that were made of it."""
        before = {each["id"] for each in self._messages()}
        self.call("POST", f"/connectors/{self.id}/fetch", caller=ADMIN)
        return [each for each in self._messages() if each["id"] not in before]

    def fetched_when_there(self) -> dict[str, Any]:
        """Wait until one mail has come, fetch it, and give its message."""
        wait_until(lambda: bool(self.dovecot.messages(self.user)), PATIENCE_S, "the mail")
        [message] = self.fetched()
        return message

    def events(self, kind: str, subject: str) -> list[dict[str, Any]]:
        """The data of the events of a type about something."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.call("GET", f"/events?limit=200{after}", caller=ADMIN)
            found += page["data"]
            if not page["has_more"]:
                break
            after = f"&after={page['next_cursor']}"
        return [
            each["data"]
            for each in found
            if each["type"] == f"com.aymine.imap.{kind}.v1" and each["subject"] == subject
        ]

    def _messages(self) -> list[dict[str, Any]]:
        page = self.call("GET", f"/messages?connector_id={self.id}&limit=200")
        listed: list[dict[str, Any]] = page["data"]
        return listed
