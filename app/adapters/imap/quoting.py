"""How octets are written into a command."""

from app.errors import CommandRefused


def quoted(octets: bytes) -> bytes:
    """A quoted string (RFC 9051 §4.3)."""
    if any(octet in b"\r\n\0" for octet in octets):
        raise CommandRefused("A value for the mail server must not contain line ends.")
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
