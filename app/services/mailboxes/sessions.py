"""The rules for sessions with mail servers."""

import math

from app.adapters import imap
from app.gateway import Gateway


def connection_policy(gateway: Gateway, *, ends_at: float = math.inf) -> imap.ConnectionPolicy:
    """The rules of this installation for connections to mail servers, from its settings. `ends_at` is the time, by
    `time.monotonic`, by which the session must have ended."""
    return imap.ConnectionPolicy(
        network=gateway.mail_network,
        tls=gateway.tls,
        connect_timeout_s=gateway.settings.connect_timeout_s,
        command_timeout_s=gateway.settings.command_timeout_s,
        max_literal_octets=gateway.settings.max_message_octets,
        ends_at=ends_at,
        silent_at_id=gateway.silent_at_id,
    )
