"""Settings, read once from the environment (prefix `GATEWAY_`). No other module reads the environment."""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from app.errors import SettingsIncomplete

ENV_PREFIX = "GATEWAY_"
ENV_FILE = Path(".env")
FILE_SUFFIX = "_FILE"
SECRET_SETTINGS = frozenset({"DATABASE_URL", "SECRET_KEYS", "JWT_SECRET", "METRICS_TOKEN"})
"""Each of these may also be in a file of its own, which `GATEWAY_<NAME>_FILE` names."""
SECRET_FILE_MAX_OCTETS = 64 * 1024
MISSPELT_FROM = 0.8
"""From this similarity on (difflib's ratio), a name counts as a misspelt setting.

`PORT`, which Kubernetes sets for a service with the name `gateway`, has 0.57 with `MAIL_PORTS`. `POLL_INTERVAL` has 0.93
with `POLL_INTERVAL_S`.
"""
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

DNS_PORT = 53
NAMES_OF_COMMANDS = frozenset({"API_KEY"})
"""What `imap-gateway apply` reads: no settings of the service."""
MIN_SECRET_KEY_CHARS = 32
NO_KEYS = "GATEWAY_SECRET_KEYS (print one with: imap-gateway generate-secret)"
MIN_JWT_SECRET_OCTETS = 32
# RFC 6454 §6.2; a name with other letters is sent in its ASCII form (xn--…).
ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class Settings(BaseModel):
    """Everything an operator can set. Lists are comma-separated; an empty text is an empty list.

    Only `from_environment` reads the environment: settings made otherwise depend on nothing but their arguments.
    """

    # A refused value may be a secret: errors name the setting, not its value.
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: str = Field(default="sqlite:///./gateway.db", repr=False)
    secret_keys: tuple[SecretStr, ...] = ()
    """The first encrypts, all decrypt; each 32 characters or more."""

    jwt_secret: SecretStr | None = None
    jwt_jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_groups_claim: str = Field(default="groups", min_length=1)
    jwt_roles_claim: str = Field(default="roles", min_length=1)

    allowed_private_networks: tuple[IPNetwork, ...] = ()
    """Private or loopback ranges in which the gateway may contact mail and webhook hosts; none by default."""
    mail_ports: tuple[int, ...] = (143, 993, 25, 465, 587)
    """The ports that a connector may name outside the allowed private networks."""

    dns_servers: tuple[tuple[str, int], ...] = ()
    """The DNS servers to ask for the names of mail servers and webhook receivers, as `192.0.2.1` or `192.0.2.1:53`. None: those
    of the machine, with its own list of names (`/etc/hosts`)."""

    poll_interval_s: int = Field(default=60, ge=1)
    lease_s: int = Field(default=30, ge=1)
    command_timeout_s: float = Field(default=60, gt=0)
    connect_timeout_s: float = Field(default=10, gt=0)
    ehlo_name: str | None = Field(
        default=None,
        max_length=255,
        pattern=r"^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.|$))+$|^\[[0-9A-Za-z:.]{3,60}\]$",
    )
    """The name of this machine in EHLO; None: the address of the connection (RFC 5321 §4.1.3)."""
    fetch_threads: int = Field(default=8, ge=1, le=256)
    connector_quota_octets: int | None = Field(default=None, ge=1)
    """The largest number of octets of mail that the gateway keeps for one connector. None: no limit."""
    free_disk_octets: int = Field(default=64 * 1024 * 1024, ge=0)
    """If the disk of an SQLite database has less free space than this, nothing is fetched. 0: no limit."""
    waiting_per_caller: int = Field(default=30, ge=1)
    """The largest number of event streams and long polls that one caller may have open."""
    connectors_per_owner: int = Field(default=200, ge=1)
    """The largest number of personal mailboxes that a user who is no administrator may connect."""
    links_per_caller: int = Field(default=1000, ge=1)
    """The largest number of valid, unused links for entering a password that one caller may have."""
    links_per_minute: int = Field(default=60, ge=1)
    """The largest number of such links that one caller may make in a minute. It is enough for a script that sets up the
    mailboxes of a company."""
    searches: int = Field(default=6, ge=1, le=30)
    """The largest number of searches that run at once."""
    searches_per_caller: int = Field(default=2, ge=1)
    server_requests: int = Field(default=32, ge=1, le=256)
    """How many requests may wait for mail servers and webhook receivers at once."""
    server_requests_per_caller: int = Field(default=8, ge=1)
    server_requests_per_server: int = Field(default=16, ge=1)
    max_message_octets: int = Field(default=50 * 1024 * 1024, ge=1024)
    max_request_octets: int = Field(default=40 * 1024 * 1024, ge=1024)
    bodies_octets_per_caller: int = Field(default=96 * 1024 * 1024, ge=1)
    """How much the bodies of one caller's requests may hold in memory at once; one body as large as may be always fits."""
    bodies_octets: int = Field(default=384 * 1024 * 1024, ge=1)
    """The same of all callers together."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the API from a browser, spelled as the browser spells them; none by default."""
    public_url: str | None = None
    events_retention_days: int = Field(default=30, ge=1)
    audit_retention_days: int = Field(default=365, ge=1)
    audit_reads: Literal["all", "sources"] = "all"
    """Which readings of mails the audit trail records: `all`, or only those of the mail as received (`sources`)."""
    run_jobs: bool = True
    """False: this process answers HTTP only; another one fetches, sends and delivers."""
    metrics_token: SecretStr | None = Field(default=None, min_length=16)
    """A client sends it as a bearer token to read `/metrics`. None: only connections from this machine may read it."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    """`auto`: readable text if standard error is a terminal, otherwise JSON."""

    @property
    def database_sessions(self) -> int:
        """How many database sessions are kept. As many more are opened under load."""
        return self.fetch_threads + 20

    @field_validator("secret_keys", "allowed_private_networks", "mail_ports", "cors_origins", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return [item.strip() for item in value.split(",") if item.strip()]
        return value

    @field_validator(
        "jwt_secret",
        "jwt_jwks_url",
        "jwt_issuer",
        "jwt_audience",
        "public_url",
        "ehlo_name",
        "metrics_token",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("database_url")
    @classmethod
    def _driver_is_named(cls, value: str) -> str:
        # For a URL without a driver SQLAlchemy uses psycopg2, which is not installed.
        for scheme in ("postgresql://", "postgres://"):
            if value.startswith(scheme):
                return "postgresql+psycopg://" + value.removeprefix(scheme)
        if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must begin with sqlite:/// or postgresql+psycopg://")
        if value == "sqlite:///" or ":memory:" in value:
            raise ValueError(
                "must name a file: after a mail is moved, its only lasting copy is in this database"
            )
        return value

    @field_validator("jwt_jwks_url", "public_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// or http://")
        return value

    @field_validator("public_url")
    @classmethod
    def _ends_without_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value is not None else None

    @field_validator("mail_ports")
    @classmethod
    def _are_ports(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= port <= 65535 for port in value):
            raise ValueError("each must be a port from 1 to 65535")
        return value

    @field_validator("dns_servers", mode="before")
    @classmethod
    def _split_servers(cls, value: object) -> object:
        if isinstance(value, str):
            return [_address_and_port(item.strip()) for item in value.split(",") if item.strip()]
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # Not "*": otherwise a thief with a leaked token could use it from any page that somebody opens.
        origins = [origin.lower() for origin in value]
        if not all(ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError("each must be scheme://host or scheme://host:port, as https://mail.example.com")
        return tuple(_as_browsers_say(origin) for origin in origins)

    @field_validator("secret_keys")
    @classmethod
    def _keys_are_long(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < MIN_SECRET_KEY_CHARS for key in value):
            raise ValueError(f"each key needs {MIN_SECRET_KEY_CHARS} characters or more")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _jwt_secret_is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MIN_JWT_SECRET_OCTETS:
            raise ValueError(f"needs {MIN_JWT_SECRET_OCTETS} bytes or more")
        return value

    @model_validator(mode="after")
    def _jwks_is_bound(self) -> Self:
        if self.jwt_secret is not None and self.jwt_jwks_url is not None:
            raise ValueError("set JWT_SECRET or JWT_JWKS_URL, not both")
        if self.jwt_jwks_url is not None and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("JWT_JWKS_URL needs JWT_ISSUER and JWT_AUDIENCE")
        return self

    def require_secret_keys(self) -> None:
        """Raise SettingsIncomplete if there is no key to encrypt with."""
        if not self.secret_keys:
            raise SettingsIncomplete(f"not set: {NO_KEYS}")

    @classmethod
    def from_environment(cls, *, env_file: Path | None = None) -> Self:
        """The settings of this process. The environment takes precedence over `env_file`.

        Raises:
            SettingsIncomplete: with the name of each wrong setting, as spelled in the environment.
        """
        values = _read_environment(env_file)
        faults = [*_misspelt(values), *_put_secrets_from_files(values)]
        if faults:
            raise SettingsIncomplete("; ".join(faults))
        known: dict[str, Any] = {
            name.lower(): value for name, value in values.items() if name in _known_names()
        }
        try:
            return cls(**known)
        except ValidationError as exc:
            raise SettingsIncomplete("; ".join(_sentence(error) for error in exc.errors())) from None

    def require_serving(self) -> None:
        """Check the settings that only a serving process needs.

        Raises:
            SettingsIncomplete: with the names of the missing settings.
        """
        missing = [] if self.secret_keys else [NO_KEYS]
        if self.jwt_secret is None and self.jwt_jwks_url is None:
            missing.append("GATEWAY_JWT_SECRET or GATEWAY_JWT_JWKS_URL")
        if missing:
            raise SettingsIncomplete("not set: " + "; ".join(missing))


def environment() -> Mapping[str, str]:
    """The variables of this process, for commands whose users name them."""
    return os.environ


def unknown_names(env_file: Path | None = None) -> list[str]:
    """Names with our prefix that are no settings, sorted. They belong to another program or another version."""
    return sorted(ENV_PREFIX + name for name in _read_environment(env_file) if name not in _known_names())


def _read_environment(env_file: Path | None) -> dict[str, str]:
    """Values by name; names without the prefix, in capitals. The environment overrides the file."""
    from_file = dotenv_values(env_file, interpolate=False) if env_file is not None else {}
    values: dict[str, str] = {}
    for name, value in [*from_file.items(), *os.environ.items()]:
        if name.upper().startswith(ENV_PREFIX) and value is not None:
            values[name.upper().removeprefix(ENV_PREFIX)] = value
    return values


def _known_names() -> frozenset[str]:
    files = {name + FILE_SUFFIX for name in SECRET_SETTINGS}
    return frozenset({name.upper() for name in Settings.model_fields} | files | NAMES_OF_COMMANDS)


def _misspelt(values: Mapping[str, str]) -> list[str]:
    """A sentence for each name that is almost the name of a setting: otherwise the default would silently apply."""
    known = sorted(_known_names())
    faults = []
    for name in sorted(set(values) - set(known)):
        for meant in difflib.get_close_matches(name, known, n=1, cutoff=MISSPELT_FROM):
            faults.append(f"{ENV_PREFIX}{name} is no setting; {ENV_PREFIX}{meant} is")
    return faults


def _put_secrets_from_files(values: dict[str, str]) -> list[str]:
    """Read the files that the `…_FILE` settings name into `values`. Returns a sentence for each unreadable file."""
    faults = []
    for name in sorted(SECRET_SETTINGS):
        path = values.pop(name + FILE_SUFFIX, "")
        if not path:
            continue
        if values.get(name):
            faults.append(f"set {ENV_PREFIX}{name} or {ENV_PREFIX}{name}{FILE_SUFFIX}, not both")
            continue
        try:
            with Path(path).open(encoding="utf-8") as file:
                values[name] = file.read(SECRET_FILE_MAX_OCTETS).strip()
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not text in UTF-8"
            faults.append(f"{ENV_PREFIX}{name}{FILE_SUFFIX}: the file cannot be read: {reason}")
    return faults


def _as_browsers_say(origin: str) -> str:
    """The origin without the usual port of its scheme."""
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")


def _sentence(error: Mapping[str, Any]) -> str:
    setting = ENV_PREFIX + str(error["loc"][0]).upper() if error["loc"] else ENV_PREFIX.rstrip("_")
    return f"{setting}: {str(error['msg']).removeprefix('Value error, ')}"


def _address_and_port(text: str) -> tuple[str, int]:
    """From `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53`."""
    try:
        return str(ipaddress.ip_address(text)), DNS_PORT
    except ValueError:
        address, _, port = text.rpartition(":")
        bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
        try:
            parsed = str(ipaddress.ip_address(bare)), int(port)
        except ValueError:
            parsed = "", 0
        if not 1 <= parsed[1] <= 65535:
            raise ValueError("each must be an address, or an address and a port, as 192.0.2.1:53") from None
        return parsed
