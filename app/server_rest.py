"""Which mail servers rest because they turn everybody away. In this process: each instance counts for itself.

A server that has banned our address refuses or drops its connections, one that is overloaded greets with BYE, or
answers each login `[UNAVAILABLE]` or `[LIMIT]`. Every connector backs off for itself, but two hundred of them would
go on knocking, and knocking is what keeps a ban alive. So a server that has turned several mailboxes away, and let
none in since, rests: nobody connects for a growing while, then one mailbox at a time, until one is let in.

A single mailbox never makes its server rest.
"""

import random
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from app import clock

log = structlog.get_logger(__name__)

MAILBOXES_TURNED_AWAY = 3
FIRST_PAUSE_S = 60.0
MAX_PAUSE_S = 1800.0


@dataclass(slots=True)
class _Refusals:
    """What has happened since a server last let somebody in."""

    mailboxes: set[str] = field(default_factory=set)
    pauses: int = 0
    until: datetime | None = None


class ServerRest:
    """Servers by `server_name`, mailboxes by their user names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refusals: dict[str, _Refusals] = {}

    def note_turned_away(self, server: str, mailbox: str) -> None:
        """The server did not let this mailbox in, and it would hardly have let another in."""
        now = clock.utc_now()
        with self._lock:
            refusals = self._refusals.setdefault(server, _Refusals())
            refusals.mailboxes.add(mailbox)
            is_resting = refusals.until is not None and now < refusals.until
            # What was on its way when the pause began does not make it longer.
            if len(refusals.mailboxes) < MAILBOXES_TURNED_AWAY or is_resting:
                return
            pause_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(refusals.pauses, 16))
            pause_s *= random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
            refusals.pauses += 1
            refusals.until = now + timedelta(seconds=pause_s)
        log.warning("server_rests", server=server, pause_s=round(pause_s))

    def note_let_in(self, server: str) -> None:
        """The server is well: whatever it did before is forgotten."""
        with self._lock:
            known = self._refusals.pop(server, None)
        if known is not None and known.until is not None:
            log.info("server_rests_no_more", server=server)

    def may_connect(self, server: str, *, connected: int) -> bool:
        """Whether a further mailbox may try, where so many are at it."""
        with self._lock:
            refusals = self._refusals.get(server)
            if refusals is None or refusals.until is None:
                return True
            return connected == 0 and refusals.until <= clock.utc_now()

    def was_turned_away(self, server: str, mailbox: str) -> bool:
        """Whether this mailbox has tried in vain: it is another's turn then."""
        with self._lock:
            refusals = self._refusals.get(server)
            return refusals is not None and mailbox in refusals.mailboxes


def server_name(host: str, port: int, security: str) -> str:
    """How a server is called here. Connectors that speak TLS where it is not spoken are another's, as it were."""
    return f"{host.lower()}:{port} {security}"
