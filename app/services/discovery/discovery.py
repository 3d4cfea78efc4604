"""Finds the mail servers of an address.

    1  a known provider's own domain: its servers, and nothing is asked
    2  at once: the domain's file (`autoconfig`), its SRV records, and who receives its mail (MX)
    3  only if these found nothing: the usual names

The servers that a domain publishes are returned without a check. A test checks them: it counts logins, and whether the gateway may
connect to the servers. Discovery ends after some seconds, even if others answer slowly.
"""

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from app.adapters.autoconfig_client import AutoconfigClient
from app.adapters.dns import Service
from app.gateway import Gateway
from app.services.access import rules
from app.services.access.rules import Principal
from app.services.discovery import autoconfig, guesses, providers
from app.services.discovery.candidates import (
    PASSWORD,
    Candidate,
    FoundServer,
    Protocol,
    Source,
    is_below,
    is_usable,
)
from app.services.discovery.guesses import Guess
from app.states import Security

DEADLINE_S = 10.0
ASKING_S = 5.0
"""The limit for the file and the DNS, so that there is time to try names."""
THREADS = 6
SRV: dict[Protocol, tuple[tuple[str, Security], ...]] = {
    "imap": (("_imaps._tcp", Security.TLS), ("_imap._tcp", Security.STARTTLS)),
    "smtp": (("_submissions._tcp", Security.TLS), ("_submission._tcp", Security.STARTTLS)),
}
"""RFC 6186 §3.1 and §3.2, RFC 8314 §5.1: TLS from the start is preferred."""
GUESSED = "Found by its name alone: check that this is the right server before you enter a password."
FOREIGN = "This server does not belong to the domain of the address: check that it is the right one before you enter a password."

_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
"""What has mail servers: labels of letters, digits and hyphens (RFC 1123 §2.1), and underscores, which some have."""

Result = TypeVar("Result")


def discover(gateway: Gateway, principal: Principal, address: str) -> list[Candidate]:
    """The servers that may be those of an address, the likely ones first. Empty: none was found.

    Raises:
        ScopeMissing, TooManyRequests
    """
    rules.require_scope(principal, "connectors:write")
    gateway.checks.count(principal.name)
    domain = _domain(address)
    preset = providers.of_domain(domain, address)
    if preset is not None:
        return [preset]
    return _Search(gateway, address, domain).run() if _DOMAIN.fullmatch(domain) else []


def _domain(address: str) -> str:
    """The domain in the form of the DNS. A domain that the DNS cannot hold finds nothing."""
    domain = address.rpartition("@")[2].rstrip(".").lower()
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain


class _Search:
    """One search. Its threads end by themselves; nobody waits for those that are late."""

    def __init__(self, gateway: Gateway, address: str, domain: str) -> None:
        self._gateway = gateway
        self._address = address
        self._domain = domain
        self._dns = gateway.dns
        self._web = AutoconfigClient(gateway.autoconfig_network, gateway.tls)
        self._ends_at = time.monotonic() + DEADLINE_S
        self._asked_until = time.monotonic() + ASKING_S

    def run(self) -> list[Candidate]:
        pool = ThreadPoolExecutor(THREADS, "discover")
        try:
            return self._found(pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _found(self, pool: ThreadPoolExecutor) -> list[Candidate]:
        files = [pool.submit(self._load, place) for place in self._web.addresses(self._domain)]
        services = {
            (protocol, name): pool.submit(self._services, f"{name}.{self._domain}")
            for protocol, names in SRV.items()
            for name, _ in names
        }
        receiving = pool.submit(self._exchangers)
        asked: list[Future[Any]] = [*files, *services.values(), receiving]
        wait(asked, timeout=self._asked_until - time.monotonic())
        exchangers = _result(receiving, [])
        by_mx = providers.of_mail_exchangers(exchangers, self._address)
        found = [
            *self._described(files),
            *self._named({key: _result(each, []) for key, each in services.items()}),
            *([by_mx] if by_mx is not None else []),
        ]
        return _distinct(found) if found else self._guessed(pool, exchangers)

    def _load(self, place: str) -> bytes | None:
        return self._web.load(place, self._domain, timeout_s=ASKING_S)

    def _services(self, name: str) -> list[Service]:
        return self._dns.services(name, ends_at=self._asked_until)

    def _exchangers(self) -> list[str]:
        return self._dns.mail_exchangers(self._domain, ends_at=self._asked_until)

    def _described(self, files: Sequence[Future[bytes | None]]) -> Iterator[Candidate]:
        """The servers of the first file that names any."""
        for each in files:
            octets = _result(each, None)
            found = autoconfig.read(octets, self._address) if octets is not None else None
            if found is not None and found["imap"]:
                for imap, smtp in autoconfig.pairs(found):
                    server = smtp.server if smtp is not None else None
                    yield self._candidate(Source.AUTOCONFIG, imap.server, server, imap.auth)
                return

    def _named(self, found: dict[tuple[Protocol, str], list[Service]]) -> Iterator[Candidate]:
        """The servers that the DNS names."""
        named: dict[Protocol, list[FoundServer]] = {protocol: [] for protocol in SRV}
        for protocol, names in SRV.items():
            for name, security in names:
                for service in found[protocol, name]:
                    server = FoundServer(service.host, service.port, security, self._address)
                    if is_usable(server):
                        named[protocol].append(server)
        smtp = next(iter(named["smtp"]), None)
        for imap in named["imap"]:
            yield self._candidate(Source.SRV, imap, smtp, [PASSWORD])

    def _guessed(self, pool: ThreadPoolExecutor, exchangers: Sequence[str]) -> list[Candidate]:
        """The first of the usual places that answers, for each protocol."""
        tried = {
            guess: pool.submit(guesses.takes_passwords, self._gateway, guess, ends_at=self._ends_at)
            for guess in guesses.of(self._domain, exchangers)
        }
        wait(tried.values(), timeout=self._ends_at - time.monotonic())
        answering = [guess for guess, each in tried.items() if _result(each, False)]
        imap, smtp = (self._first(answering, protocol) for protocol in SRV)
        if imap is None:
            return []
        source = Source.MX if imap.host in exchangers else Source.GUESS
        return [self._candidate(source, imap, smtp, [PASSWORD], hint=GUESSED)]

    def _first(self, answering: Sequence[Guess], protocol: Protocol) -> FoundServer | None:
        found = (each for each in answering if each.protocol == protocol)
        guess = next(found, None)
        if guess is None:
            return None
        return FoundServer(guess.host, guess.port, guess.security, self._address)

    def _candidate(
        self,
        source: Source,
        imap: FoundServer,
        smtp: FoundServer | None,
        auth: Sequence[str],
        *,
        hint: str | None = None,
    ) -> Candidate:
        used = [imap.host, *([smtp.host] if smtp is not None else [])]
        foreign = not all(is_below(host, self._domain) or host in providers.hosts() for host in used)
        return Candidate(source, imap, smtp, tuple(auth), FOREIGN if foreign else hint, foreign)


def _result(future: Future[Result], otherwise: Result) -> Result:
    """The result of a call that has ended by now."""
    return future.result() if future.done() and not future.cancelled() else otherwise


def _distinct(found: Sequence[Candidate]) -> list[Candidate]:
    """One candidate for each IMAP server: the first one counts."""
    by_server: dict[tuple[str, int], Candidate] = {}
    for each in found:
        by_server.setdefault((each.imap.host, each.imap.port), each)
    return list(by_server.values())
