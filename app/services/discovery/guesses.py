"""Tries the usual names of mail servers. A server counts if it greets, uses TLS with a certificate for its name, and lists its
capabilities. There is no login."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.adapters import imap, smtp
from app.errors import MailServerError
from app.gateway import Gateway
from app.services.discovery.candidates import Protocol
from app.services.mailboxes import sessions
from app.states import Security

PREFIXES: dict[Protocol, tuple[str, ...]] = {"imap": ("imap.", "mail.", ""), "smtp": ("smtp.", "mail.", "")}
PORTS: dict[Protocol, tuple[tuple[int, Security], ...]] = {
    "imap": ((993, Security.TLS), (143, Security.STARTTLS)),
    "smtp": ((465, Security.TLS), (587, Security.STARTTLS)),
}


@dataclass(frozen=True, slots=True)
class Guess:
    """A server that may be there."""

    protocol: Protocol
    host: str
    port: int
    security: Security


def of(domain: str, exchangers: Sequence[str]) -> Iterator[Guess]:
    """The usual places of a domain's servers, the likely ones first. `exchangers`: the hosts that receive its mail; small
    servers do all themselves."""
    for protocol, prefixes in PREFIXES.items():
        names = dict.fromkeys([*(prefix + domain for prefix in prefixes), *exchangers[:1]])
        for host in names:
            for port, security in PORTS[protocol]:
                yield Guess(protocol, host, port, security)


def takes_passwords(gateway: Gateway, guess: Guess, *, ends_at: float) -> bool:
    """Whether a mail server answers there that takes a password. There is an answer by `ends_at` (`time.monotonic`), unless
    the name takes longer to resolve."""
    try:
        if guess.protocol == "imap":
            server = imap.ServerAddress(guess.host, guess.port, guess.security, "")
            offered = imap.capabilities(server, sessions.connection_policy(gateway, ends_at=ends_at))
            return "LOGINDISABLED" not in offered or "AUTH=PLAIN" in offered
        return "auth" in _extensions(gateway, guess, max(0.1, ends_at - time.monotonic()))
    except MailServerError:
        return False


def _extensions(gateway: Gateway, guess: Guess, left_s: float) -> dict[str, str]:
    return smtp.extensions(
        smtp.Server(guess.host, guess.port, guess.security),
        gateway.mail_network,
        gateway.tls,
        smtp.Limits(connect_s=left_s, command_s=left_s, attempt_s=left_s),
        ehlo_name=gateway.settings.ehlo_name,
    )
