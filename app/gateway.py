"""The parts of the running gateway that services need. They are made once from the settings and passed down."""

import ssl
from dataclasses import dataclass, field
from datetime import datetime

from app import clock
from app.adapters.cursorbox import CursorKeeper
from app.adapters.dns import DnsClient
from app.adapters.handshake import verifying_context
from app.adapters.identity import TokenVerifier, verifier_from
from app.adapters.imap import SilentServers
from app.adapters.metrics import Metrics, ShortMemory
from app.adapters.network import NetworkPolicy
from app.adapters.parser import ParserPool
from app.adapters.secretbox import SecretBox
from app.config import Settings
from app.db import Database
from app.login_budget import LoginBudget
from app.login_places import LoginPlaces
from app.octet_budget import OctetBudget
from app.places import Places
from app.rate_limit import RateLimit
from app.server_cooldown import ServerCooldown
from app.server_requests import ServerRequests
from app.turns import Turns

FIGURES_KEPT_S = 5.0
CHECKS_A_MINUTE = 10
FAILED_FETCHES_A_MINUTE = 60


@dataclass(frozen=True)
class Gateway:
    """Settings and the adapters that live as long as the process."""

    settings: Settings
    db: Database
    secrets: SecretBox
    identity: TokenVerifier
    mail_network: NetworkPolicy
    webhook_network: NetworkPolicy
    autoconfig_network: NetworkPolicy
    dns: DnsClient
    tls: ssl.SSLContext
    """Verifies mail servers."""
    parsers: ParserPool
    metrics: Metrics
    figures: ShortMemory
    checks: RateLimit
    """Limits the trial logins of callers, so that nobody uses the gateway as a port scanner."""
    failed_fetches: RateLimit
    """Limits, for each caller, `POST …/fetch` with settings that have never worked."""
    links: RateLimit
    """Limits the links for entering a password that a caller makes."""
    login_places: LoginPlaces
    """The logins that are running."""
    login_budget: LoginBudget
    """Limits refused logins, so that nobody can guess passwords through the gateway."""
    silent_at_id: SilentServers
    """The mail servers that never answer ID."""
    server_cooldown: ServerCooldown
    """The mail servers to which the sweep does not connect for a while."""
    waiting: Places
    """The event streams and long polls that callers have open."""
    searches: Places
    """The searches that are running."""
    server_requests: ServerRequests
    """The threads for requests that wait for a mail server or a receiver of webhooks."""
    bodies: OctetBudget
    """What the bodies of requests hold in memory."""
    attachments: Turns
    """The threads that wait for the parser to take an attachment out of a mail. Fetching keeps half of the parsers."""
    cursors: CursorKeeper = field(default_factory=CursorKeeper)
    """Encrypts the cursors of lists."""
    last_runs: dict[str, datetime] = field(default_factory=dict)
    """When each job of this process last succeeded."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "Gateway":
        private = settings.allowed_private_networks
        dns = DnsClient(settings.dns_servers)
        lookup = dns.addresses if settings.dns_servers else None
        db = Database(settings.database_url, pool_size=settings.database_sessions)
        return cls(
            settings=settings,
            db=db,
            secrets=SecretBox(settings.secret_keys),
            identity=verifier_from(settings),
            mail_network=NetworkPolicy(private, settings.mail_ports, lookup),
            webhook_network=NetworkPolicy(private, (80, 443, 8080, 8443), lookup),
            autoconfig_network=NetworkPolicy(private, (443,), lookup),
            dns=dns,
            tls=verifying_context(ssl.get_default_verify_paths()),
            parsers=ParserPool(settings.fetch_threads),
            metrics=Metrics(),
            figures=ShortMemory(FIGURES_KEPT_S, lambda: clock.utc_now().timestamp()),
            checks=RateLimit(CHECKS_A_MINUTE, 60.0),
            failed_fetches=RateLimit(FAILED_FETCHES_A_MINUTE, 60.0),
            links=RateLimit(settings.links_per_minute, 60.0),
            login_places=LoginPlaces(db),
            login_budget=LoginBudget(),
            silent_at_id=SilentServers(),
            server_cooldown=ServerCooldown(),
            waiting=Places(settings.waiting_per_caller),
            searches=Places(settings.searches_per_caller, total=settings.searches),
            server_requests=ServerRequests(
                threads=settings.server_requests,
                per_caller=settings.server_requests_per_caller,
                per_server=settings.server_requests_per_server,
            ),
            bodies=OctetBudget(
                max(settings.bodies_octets_per_caller, settings.max_request_octets),
                max(settings.bodies_octets, settings.max_request_octets),
            ),
            attachments=Turns(
                threads=max(1, settings.fetch_threads // 2), per_caller=max(1, settings.fetch_threads // 4)
            ),
        )

    def close(self) -> None:
        """End the parser processes and the database's connections."""
        self.server_requests.close()
        self.attachments.close()
        self.parsers.close()
        self.login_places.close()
        self.db.close()
