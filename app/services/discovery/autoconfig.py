"""Reads the file in which a domain describes its mail servers, `config-v1.1.xml`: the form that Thunderbird reads.

Pure: octets in, servers out. The owner of the domain writes the file, so it cannot be trusted: a file with a DTD (and so
with entities) is refused, and the client that loads it limits its size.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.parsers import expat

from app.services.discovery.candidates import PASSWORD, FoundServer, Protocol, is_usable
from app.states import Security

MAX_SERVERS = 5
MAX_DEPTH = 20
_SECURITY = {"ssl": Security.TLS, "starttls": Security.STARTTLS}
"""By `socketType`. Plain text is left out, because the gateway allows it only in private networks."""
_BY_PASSWORD = frozenset({"password-cleartext", "password-encrypted", "plain", "secure"})
_KINDS: dict[str, Protocol] = {"incomingServer": "imap", "outgoingServer": "smtp"}


@dataclass(frozen=True, slots=True)
class Described:
    """One server of the file."""

    server: FoundServer
    auth: Sequence[str]
    """Empty: it takes no password."""


def read(octets: bytes, address: str) -> dict[Protocol, list[Described]]:
    """The servers for an address, in the order of the file. Servers that cannot be understood are left out."""
    found: dict[Protocol, list[Described]] = {"imap": [], "smtp": []}
    root = _tree(octets)
    if root is None:
        return found
    for provider in root.iter("emailProvider"):
        for element in provider:
            kind = _KINDS.get(element.tag)
            if kind is None or element.get("type", "").lower() != kind or len(found[kind]) >= MAX_SERVERS:
                continue
            described = _described(element, address)
            if described is not None:
                found[kind].append(described)
    return found


def _described(element: ET.Element, address: str) -> Described | None:
    host = _text(element, "hostname", address).lower().rstrip(".")
    port = _text(element, "port", address)
    security = _SECURITY.get(_text(element, "socketType", address).lower())
    username = _text(element, "username", address) or address
    if security is None or not port.isascii() or not port.isdigit():
        return None
    methods = {(method.text or "").strip().lower() for method in element.iter("authentication")}
    auth = [PASSWORD] if not methods or methods & _BY_PASSWORD else []
    server = FoundServer(host, int(port[:6]), security, username)
    return Described(server, auth) if is_usable(server) else None


def _text(element: ET.Element, name: str, address: str) -> str:
    child = element.find(name)
    text = (child.text or "").strip() if child is not None else ""
    local, _, domain = address.rpartition("@")
    for variable, value in (
        ("%EMAILADDRESS%", address),
        ("%EMAILLOCALPART%", local),
        ("%EMAILDOMAIN%", domain),
    ):
        text = text.replace(variable, value)
    return text


class _Refused(Exception):
    """The file is not of a kind that is read."""


def _tree(octets: bytes) -> ET.Element | None:
    """The elements of the file; None if it is not well formed, or has a DTD."""
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(octets, True)
        return builder.close()
    except (expat.ExpatError, _Refused, ValueError, LookupError):  # the last two: an unknown encoding
        return None


class _Builder:
    """Builds the tree of elements, not too deep."""

    def __init__(self) -> None:
        self._tree = ET.TreeBuilder()
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused
        self._tree.start(name, attributes)

    def end(self, name: str) -> None:
        self._depth -= 1
        self._tree.end(name)

    def data(self, text: str) -> None:
        self._tree.data(text)

    def close(self) -> ET.Element:
        return self._tree.close()


def _refuse(*_: object) -> None:
    raise _Refused


def pairs(found: dict[Protocol, list[Described]]) -> Iterator[tuple[Described, Described | None]]:
    """Each IMAP server with the first SMTP server: the file does not say which belong together."""
    smtp = next(iter(found["smtp"]), None)
    for imap in found["imap"]:
        yield imap, smtp
