"""Logging in to the mailbox of a connector."""

import contextlib
import math
from collections.abc import Iterator

from app.adapters import imap
from app.adapters.imap import ImapSession
from app.errors import LoginRefused, MailServerError, SettingsChanged
from app.gateway import Gateway
from app.models import Connector
from app.server_cooldown import server_name
from app.services.mailboxes import credentials


def mailbox_name(connector: Connector) -> str:
    """The name under which tries of a mailbox's password are counted, whether a connector or a link makes them."""
    return f"mailbox:{connector.imap_host}/{connector.imap_username}"


def connection_policy(gateway: Gateway, *, ends_at: float = math.inf) -> imap.ConnectionPolicy:
    """The rules of this installation for connections to mail servers, from its settings. `ends_at` is the moment, by
    `time.monotonic`, at which the session must have ended."""
    return imap.ConnectionPolicy(
        network=gateway.mail_network,
        tls=gateway.tls,
        connect_timeout_s=gateway.settings.connect_timeout_s,
        command_timeout_s=gateway.settings.command_timeout_s,
        max_literal_octets=gateway.settings.max_message_octets,
        ends_at=ends_at,
    )


@contextlib.contextmanager
def opened(gateway: Gateway, connector: Connector) -> Iterator[ImapSession]:
    """A session that is logged in with the stored credentials. It ends with the block.

    Raises:
        SecretUnreadable
        SettingsChanged: settings or credentials are not those of this connector as it was read.
        MailServerError
    """
    present, password = _present(gateway, connector)
    server = imap.ServerAddress(
        present.imap_host, present.imap_port, present.imap_security, present.imap_username
    )
    name = server_name(present.imap_host, present.imap_port, present.imap_security)
    try:
        with imap.connect(server, password, connection_policy(gateway)) as mailbox:
            gateway.server_cooldown.note_let_in(name)
            yield mailbox
    except LoginRefused:
        gateway.server_cooldown.note_let_in(name)  # the server looked at the password
        raise
    except MailServerError as exc:
        if exc.turned_away:
            gateway.server_cooldown.note_turned_away(name, present.imap_username)
        raise


def _present(gateway: Gateway, connector: Connector) -> tuple[Connector, str]:
    """The settings as they are, and the password for them."""
    with gateway.db.reading() as session:
        found = credentials.with_settings(session, connector.id)
        if found is None or found[1] is None or found[0].updated_at != connector.updated_at:
            raise SettingsChanged
        present, secret = found[0], credentials.stored(session, found[0], found[1])
    return present, credentials.decrypted(gateway, secret)
