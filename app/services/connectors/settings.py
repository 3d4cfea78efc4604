"""Converts the settings of a connector between the columns of its row and the shapes that callers send."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import ValidationError

from app.errors import InvalidInput
from app.mime.entered_addresses import rebuilt_address
from app.models import Connector, Credential
from app.schemas.connectors import (
    ConnectorSettings,
    FirstFetch,
    FirstFetchSince,
    ImapServer,
    Retention,
    SmtpServer,
)
from app.schemas.faults import faults_in
from app.states import FileSent
from app.states import FirstFetch as FirstFetchRule

_SERVER = ("host", "port", "security", "username")
_NOT_SETTINGS = frozenset({"external_id", "credentials"})


def settings_of(connector: Connector) -> ConnectorSettings:
    """The settings as a caller would send them."""
    # Not validated: settings that were allowed when they were stored can still be read and merged.
    return ConnectorSettings.model_construct(
        name=connector.name,
        email_address=connector.email_address,
        imap=ImapServer.model_construct(**server_of(connector, "imap")),
        smtp=SmtpServer.model_construct(**smtp_of(connector)) if connector.smtp_host else None,
        aliases=connector.aliases,
        from_name=connector.from_name,
        source_folder=connector.source_folder,
        processed_folder=connector.processed_folder,
        poll_interval_s=connector.poll_interval_s,
        retention=Retention(**retention_of(connector)),
        first_fetch=first_fetch_of(connector),
    )


def retention_of(connector: Connector) -> dict[str, int | None]:
    """The settings of retention, by their names in the API; in days."""
    return {name: getattr(connector, name) for name in Retention.model_fields}


def server_of(connector: Connector, protocol: Literal["imap", "smtp"]) -> dict[str, Any]:
    """Host, port, security and user name of one of the servers."""
    return {name: getattr(connector, f"{protocol}_{name}") for name in _SERVER}


def smtp_of(connector: Connector) -> dict[str, Any]:
    """The server for sending, the limits of sending, and whether the gateway files copies."""
    return {
        **server_of(connector, "smtp"),
        "rate_per_minute": connector.smtp_rate_per_minute,
        "rate_per_day": connector.smtp_rate_per_day,
        "file_sent": connector.smtp_file_sent,
    }


def first_fetch_of(connector: Connector) -> Any:
    """`first_fetch` as a caller sees it."""
    if connector.first_fetch == FirstFetchRule.SINCE and connector.first_fetch_since is not None:
        return FirstFetchSince(since=connector.first_fetch_since)
    return connector.first_fetch.value if connector.first_fetch is not None else None


def merged_with(connector: Connector, changes: dict[str, Any]) -> ConnectorSettings:
    """The settings with the changes merged in (RFC 7396 §2).

    Raises:
        InvalidInput: a removed value is required, or the settings do not fit together.
    """
    settings = settings_of(connector).model_dump()
    merged = _merge(settings, {name: value for name, value in changes.items() if name not in _NOT_SETTINGS})
    try:
        return ConnectorSettings.model_validate(merged)
    except ValidationError as exc:
        raise InvalidInput(*faults_in(exc.errors(include_input=False, include_context=False))) from None


def _merge(target: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(target)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and name != "first_fetch":
            merged[name] = _merge(merged.get(name) or {}, value)
        else:
            merged[name] = value
    return merged


def write(connector: Connector, wanted: ConnectorSettings, default_poll_interval_s: int) -> None:
    """Put the settings into the row.

    Raises:
        InvalidInput: the address is new, and no mail can be sent from it. An address that is already stored stays valid.
    """
    if connector.email_address != wanted.email_address:
        rebuilt_address(wanted.email_address, "/email_address")
    for position, alias in enumerate(wanted.aliases):
        if alias not in connector.aliases:
            rebuilt_address(alias, f"/aliases/{position}")
    connector.name = wanted.name
    connector.email_address = wanted.email_address
    connector.imap_host = wanted.imap.host
    connector.imap_port = wanted.imap.port
    connector.imap_security = wanted.imap.security
    connector.imap_username = wanted.imap.username
    smtp = wanted.smtp
    connector.smtp_host = smtp.host if smtp is not None else None
    connector.smtp_port = smtp.port if smtp is not None else None
    connector.smtp_security = smtp.security if smtp is not None else None
    connector.smtp_username = smtp.username if smtp is not None else None
    connector.smtp_rate_per_minute = smtp.rate_per_minute if smtp is not None else None
    connector.smtp_rate_per_day = smtp.rate_per_day if smtp is not None else None
    connector.smtp_file_sent = smtp.file_sent if smtp is not None else FileSent.AUTO
    connector.aliases = list(wanted.aliases)
    connector.source_folder = wanted.source_folder
    connector.processed_folder = wanted.processed_folder
    connector.poll_interval_s = wanted.poll_interval_s or default_poll_interval_s
    for name in Retention.model_fields:
        setattr(connector, name, getattr(wanted.retention, name))
    connector.from_name = wanted.from_name
    set_first_fetch(connector, wanted.first_fetch)


def set_first_fetch(connector: Connector, first_fetch: FirstFetch | None) -> None:
    """Put into the row which mail to take from before the connector."""
    if isinstance(first_fetch, FirstFetchSince):
        connector.first_fetch, connector.first_fetch_since = FirstFetchRule.SINCE, first_fetch.since
    else:
        connector.first_fetch = FirstFetchRule(first_fetch) if first_fetch is not None else None
        connector.first_fetch_since = None


def has_same_servers(connector: Connector, wanted: ConnectorSettings) -> bool:
    """Whether the wanted settings send the stored password only to the servers for which it was entered. So it is true if only the
    SMTP server is removed."""
    same_imap = server_of(connector, "imap") == wanted.imap.model_dump()
    return same_imap and (
        wanted.smtp is None or server_of(connector, "smtp") == wanted.smtp.model_dump(include=set(_SERVER))
    )


def audited_settings(connector: Connector) -> dict[str, Any]:
    """All settings by name, with names such as `imap.host` for nested objects, for the audit trail."""
    values = {
        "external_id": connector.external_id,
        "kind": connector.kind,
        "owner": connector.owner,
        **settings_of(connector).model_dump(mode="json"),
    }
    return dict(_flat(values))


def version_of(connector: Connector, credential: Credential | None) -> str:
    """A text without a meaning for callers. It changes when the settings or the credentials change. Cycles and the rotation
    of keys do not change it."""
    entered = None
    if credential is not None:
        entered = [credential.type, str(credential.entered_at)]
    values = json.dumps([connector.id, audited_settings(connector), entered], sort_keys=True)
    return hashlib.sha256(values.encode()).hexdigest()[:32]


def _flat(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{name}.")
        else:
            yield start + name, value
