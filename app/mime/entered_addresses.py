"""Addresses that callers enter: taken apart and built again, so that no other text reaches a header or a mail server."""

import re
from dataclasses import dataclass

import idna

from app.errors import FieldFault, InvalidInput
from app.mime.control_characters import refuse_controls

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
# RFC 5321 §4.1.2: Dot-string, or Quoted-string. Dots in unusual places need quotes; NTT docomo gave out such addresses.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_ODD_DOTS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
# Without characters that a careless server could mistake for the end of the path: quotes, backslashes, angle brackets.
_QUOTED_LOCAL_PART = re.compile(r'"[ !#-;=?-\[\]-~]+"')
_DOMAIN = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*"
)


@dataclass(frozen=True)
class Mailbox:
    """A rebuilt address: ASCII, the domain as A-labels in lower case; the name is any text without controls."""

    address: str
    name: str | None = None


def parse_mailbox(text: str, pointer: str) -> Mailbox:
    """Read `addr` or `Name <addr>`.

    Raises:
        InvalidInput: with `pointer`.
    """
    refuse_controls(text, pointer)
    text = text.strip()
    if not text.endswith(">"):
        return Mailbox(rebuilt_address(text, pointer))
    name, opened, address = text[:-1].rpartition("<")
    name = name.strip()
    if _QUOTED.fullmatch(name):
        name = re.sub(r"\\(.)", r"\1", name[1:-1]).strip()
    # "a@b.cz, Jan <c@d.cz>" is two addresses, and must not become one address with a strange name.
    elif not opened or re.search(r"[<>]", name) or ("@" in name and re.search(r"[,;]", name)):
        raise InvalidInput(FieldFault(pointer, "must be one address: `addr` or `Name <addr>`"))
    return Mailbox(rebuilt_address(address, pointer), name or None)


def rebuilt_address(address: str, pointer: str) -> str:
    """An address in its form for SMTP and headers, with the domain in A-labels (RFC 5890) and lower case.

    Raises:
        InvalidInput: with `pointer`.
    """
    local, at, domain = address.strip().rpartition("@")
    if not at:
        raise InvalidInput(FieldFault(pointer, "must be an e-mail address"))
    if not local.isascii():
        raise InvalidInput(FieldFault(pointer, "must have only ASCII characters before the @"))
    if not _LOCAL_PART.fullmatch(local) and _ODD_DOTS.fullmatch(local):
        local = f'"{local}"'
    elif not _LOCAL_PART.fullmatch(local) and not _QUOTED_LOCAL_PART.fullmatch(local):
        raise InvalidInput(FieldFault(pointer, "must be an e-mail address"))
    if len(local) > 64:
        raise InvalidInput(FieldFault(pointer, "must be an e-mail address"))
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except UnicodeError as exc:
            raise InvalidInput(FieldFault(pointer, "must have a valid domain")) from exc
    if not _DOMAIN.fullmatch(domain) or len(local) + 1 + len(domain) > 254:
        raise InvalidInput(FieldFault(pointer, "must have a valid domain"))
    return f"{local}@{domain.lower()}"
