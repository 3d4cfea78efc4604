"""Cooldowns of mail servers that turn mailboxes away. Each process counts for itself.

A server that has banned our address refuses or drops the connection. An overloaded server greets with BYE, or answers
each login with `[UNAVAILABLE]` or `[LIMIT]`. Each connector backs off by itself, but two hundred connectors together
would go on connecting, and that keeps a ban alive. So a server that has turned several mailboxes away, and let none in
since, gets a cooldown: no mailbox connects for a time that grows, then one at a time, until the server lets one in.

One mailbox alone never starts a cooldown.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from app import clock
from app.backoff import Growing

log = structlog.get_logger(__name__)

MAILBOXES_TURNED_AWAY = 3
PAUSE = Growing(first_s=60, longest_s=1800, spread=(0.5, 1.0))


@dataclass(slots=True)
class _Refusals:
    """What has happened since a server last let a mailbox in."""

    mailboxes: set[str] = field(default_factory=set)
    pauses: int = 0
    until: datetime | None = None


class ServerCooldown:
    """Servers by `server_name`, mailboxes by their user names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refusals: dict[str, _Refusals] = {}

    def record_turned_away(self, server: str, mailbox: str) -> None:
        """The server turned this mailbox away, for a reason that holds for other mailboxes too."""
        now = clock.utc_now()
        with self._lock:
            refusals = self._refusals.setdefault(server, _Refusals())
            refusals.mailboxes.add(mailbox)
            is_cooling = refusals.until is not None and now < refusals.until
            # Logins that had begun before the pause do not make it longer.
            if len(refusals.mailboxes) < MAILBOXES_TURNED_AWAY or is_cooling:
                return
            refusals.pauses += 1
            pause = PAUSE.after(refusals.pauses)
            refusals.until = now + pause
        log.warning("server_cooldown_started", server=server, pause_s=round(pause.total_seconds()))

    def record_let_in(self, server: str) -> None:
        """The server let a mailbox in: forget what it did before."""
        with self._lock:
            known = self._refusals.pop(server, None)
        if known is not None and known.until is not None:
            log.info("server_cooldown_ended", server=server)

    def may_connect(self, server: str, *, connected: int) -> bool:
        """Whether one more mailbox may connect. `connected`: how many are connected now."""
        with self._lock:
            refusals = self._refusals.get(server)
            if refusals is None or refusals.until is None:
                return True
            return connected == 0 and refusals.until <= clock.utc_now()

    def was_turned_away(self, server: str, mailbox: str) -> bool:
        """Whether this mailbox was turned away: then another one is tried first."""
        with self._lock:
            refusals = self._refusals.get(server)
            return refusals is not None and mailbox in refusals.mailboxes


def server_name(host: str, port: int, security: str) -> str:
    """The key of a server. The security is part of it: a connector with the wrong one must not stop the others."""
    return f"{host.lower()}:{port} {security}"
