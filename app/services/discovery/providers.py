"""The mail servers of large providers, from their documentation. The facts are in `providers.json`, each with the page of the
provider.

    domains     addresses of these domains are the provider's
    mx          hosts at or below these names receive mail for it, also for domains of its customers
    auth        the kinds of password that it accepts
    hint, help  what a person should know before, and the provider's own page about it
"""

import functools
from collections.abc import Sequence
from importlib import resources
from typing import Any

import orjson

from app.services.discovery.candidates import Candidate, FoundServer, Source, is_below
from app.states import Security


def of_domain(domain: str, address: str) -> Candidate | None:
    """The servers of an address at a provider's own domain."""
    for provider in _providers():
        if domain in provider["domains"]:
            return _candidate(provider, Source.PRESET, address)
    return None


def of_mail_exchangers(hosts: Sequence[str], address: str) -> Candidate | None:
    """The servers of an address whose mail is received by one of these hosts. The longest name that fits decides: some
    providers are at home below another one's domain."""
    known = [
        (len(name), provider)
        for provider in _providers()
        for name in provider["mx"]
        if any(is_below(host, name) for host in hosts)
    ]
    if not known:
        return None
    return _candidate(max(known, key=lambda each: each[0])[1], Source.MX, address)


@functools.cache
def hosts() -> frozenset[str]:
    """All servers of the providers."""
    return frozenset(provider[protocol]["host"] for provider in _providers() for protocol in ("imap", "smtp"))


@functools.cache
def _providers() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads(
        resources.files(__package__).joinpath("providers.json").read_bytes()
    )
    return found


def _candidate(provider: dict[str, Any], source: Source, address: str) -> Candidate:
    said = provider["hint"]
    hint = f"{said} See {provider['help']}" if said is not None else None
    imap, smtp = (_server(provider[protocol], address) for protocol in ("imap", "smtp"))
    return Candidate(source, imap, smtp, tuple(provider["auth"]), hint, foreign=False)


def _server(values: dict[str, Any], address: str) -> FoundServer:
    return FoundServer(values["host"], values["port"], Security(values["security"]), address)
