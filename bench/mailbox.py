"""A mailbox on a real server, and the connector that fetches from it: made as a caller makes it, by the service."""

from dataclasses import dataclass

from app.gateway import Gateway
from app.models import Cycle
from app.schemas.connectors import ConnectorCreate
from app.services.access.rules import Principal, PrincipalKind
from app.services.connectors import connectors
from app.services.fetching import fetch_cycle
from tools.servers.dovecot import Dovecot

ADMINISTRATOR = Principal(PrincipalKind.USER, "administrator", is_admin=True)


@dataclass(frozen=True)
class Mailbox:
    """An empty mailbox of `user` and its connector."""

    gateway: Gateway
    user: str
    connector_id: str

    def fetch(self) -> Cycle:
        """Run a fetch cycle that must not fail."""
        cycle = fetch_cycle.run(self.gateway, self.connector_id)
        assert cycle is not None, "something else fetches from this mailbox"
        assert cycle.outcome == "ok", cycle.error_code
        return cycle


def mailbox(gateway: Gateway, server: Dovecot) -> Mailbox:
    """A new user's mailbox; all mail that waits there is fetched."""
    user = server.new_user()
    body = ConnectorCreate.model_validate(
        {
            "name": user,
            "kind": "shared",
            "email_address": user,
            "imap": {"host": server.host, "port": server.port, "security": "none", "username": user},
            "first_fetch": "all",
            "credentials": {"type": "password", "password": server.password},
        }
    )
    return Mailbox(gateway, user, connectors.create(gateway, ADMINISTRATOR, body).connector.id)
