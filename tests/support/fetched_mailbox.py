"""A connector of a mailbox on a real server, and what the gateway made of it; for the tests of fetching."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from app.adapters import compression
from app.adapters.secretbox import credential_place
from app.gateway import Gateway
from app.models import Connector, Credential, Cycle, Event, Message, MessageBody, ServerMessage
from app.services.fetching import fetch_cycle
from app.services.mailboxes.credentials import servers_of
from tests.support.stored_mail import connector
from tools.servers.dovecot import Dovecot
from tools.servers.inetd import InetdImapServer


@dataclass(frozen=True)
class Mailbox:
    """One user's mailbox, its connector, and the gateway that fetches from it."""

    gateway: Gateway
    server: Dovecot | InetdImapServer
    user: str
    connector_id: str

    def fetch(self, *, patience_s: float = 0.0) -> Cycle:
        """Run a cycle; its figures add up. Waits so long for the mailbox to be free: a database notices a little
        later than the kernel that a process is dead."""
        until = time.monotonic() + patience_s
        cycle = fetch_cycle.run(self.gateway, self.connector_id)
        while cycle is None and time.monotonic() < until:
            cycle = fetch_cycle.run(self.gateway, self.connector_id)
        assert cycle is not None, "the mailbox was being fetched from, or was not to be"
        accounted = cycle.stored + cycle.known + cycle.returned + cycle.quarantined + cycle.left
        assert (cycle.found, cycle.left >= 0) == (accounted, True)
        return cycle

    def fetch_well(self, *, patience_s: float = 0.0) -> Cycle:
        """Run a cycle that must not fail."""
        cycle = self.fetch(patience_s=patience_s)
        assert (cycle.outcome, cycle.error_code) == ("ok", None)
        return cycle

    def raws(self, folder: str) -> list[bytes]:
        """The mails of a folder, by UID, as an independent client receives them."""
        return [message.raw for message in self.server.messages(self.user, folder)]

    def uidvalidity(self, folder: str = "INBOX") -> int:
        """The folder's, by another client."""
        with self.server.client(self.user) as client:
            return int(client.folder_status(folder, ["UIDVALIDITY"])[b"UIDVALIDITY"])

    def set(self, **values: Any) -> None:
        """Change columns of the connector, as a change of settings does."""
        with self.gateway.db.unit_of_work() as session:
            row = session.get(Connector, self.connector_id)
            assert row is not None
            for name, value in values.items():
                setattr(row, name, value)

    @property
    def connector(self) -> Connector:
        with self.gateway.db.reading() as session:
            row = session.get(Connector, self.connector_id)
        assert row is not None
        return row

    def messages(self) -> list[Message]:
        """The stored messages, in the order in which they became visible."""
        statement = (
            select(Message)
            .where(col(Message.connector_id) == self.connector_id)
            .order_by(col(Message.position))
        )
        with self.gateway.db.reading() as session:
            return list(session.execute(statement).scalars())

    def sources(self) -> list[bytes]:
        """The bytes of the stored messages, in the same order."""
        statement = (
            select(col(MessageBody.source_zstd))
            .join(Message, col(Message.id) == col(MessageBody.message_id))
            .where(col(Message.connector_id) == self.connector_id)
            .order_by(col(Message.position))
        )
        with self.gateway.db.reading() as session:
            return [compression.decompress(source) for source in session.execute(statement).scalars()]

    def ledger(self) -> list[ServerMessage]:
        """The ledger's rows, by id."""
        statement = (
            select(ServerMessage)
            .where(col(ServerMessage.connector_id) == self.connector_id)
            .order_by(col(ServerMessage.id))
        )
        with self.gateway.db.reading() as session:
            return list(session.execute(statement).scalars())

    def events(self, short_type: str | None = None) -> list[Event]:
        """The events of the connector, of one type or all, in commit order."""
        statement = (
            select(Event).where(col(Event.connector_id) == self.connector_id).order_by(col(Event.position))
        )
        with self.gateway.db.reading() as session:
            found = list(session.execute(statement).scalars())
        return [event for event in found if short_type is None or f".{short_type}." in event.type]


def mailbox(
    gateway: Gateway,
    server: Dovecot | InetdImapServer,
    *,
    user: str | None = None,
    password: str | None = None,
    groups: Sequence[str] = ("orders",),
    **settings: Any,
) -> Mailbox:
    """A connector, ready to fetch, of an empty mailbox of its own or of the user's."""
    user = user or server.new_user()
    values: dict[str, Any] = {
        "imap_host": server.host,
        "imap_port": server.port,
        "imap_security": "none",
        "imap_username": user,
        "groups": () if settings.get("owner") else groups,
        **settings,
    }
    row = connector(gateway, **values)
    secret = json.dumps({"type": "password", "password": password or server.password})
    with gateway.db.unit_of_work() as session:
        session.add(
            Credential(
                connector_id=row.id,
                type="password",
                ciphertext=gateway.secrets.encrypt(
                    secret, place=credential_place(row.id), use=servers_of(row)
                ),
            )
        )
    return Mailbox(gateway, server, user, row.id)


def hashes(raws: Sequence[bytes]) -> list[str]:
    """The sha256 of each, in hex, sorted: a multiset to compare."""
    return sorted(hashlib.sha256(raw).hexdigest() for raw in raws)
