"""Begins a conversation with a mail server: with TLS, or by waiting for its greeting. If that fails, says why.

If a certificate is not accepted, a second connection to the same address reads it, to say for which names it is valid, and until
when. On this connection the gateway sends nothing but the beginning of TLS.
"""

import contextlib
import functools
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cryptography import x509

from app import clock
from app.adapters import speech
from app.adapters.speech import Speech
from app.errors import (
    CertificateExpired,
    CertificateForOtherName,
    CertificateIssuerUnknown,
    CertificateNotYetValid,
    CertificateRefused,
    CertificateSelfSigned,
    ConnectionLost,
    MailServerError,
    NoGreeting,
    NotImap,
    NotSmtp,
    NotTls,
    TlsExpected,
    TlsFailed,
    TlsTooOld,
)

Protocol = Literal["imap", "smtp"]

SMTP_RELAY_PORT = 25
"""A relay begins in plain text, and some relays (postscreen) block a client that speaks before the greeting."""
LOOK_S = 2.0
MAX_NAMES = 5

_TOO_OLD = re.compile(
    r"UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|VERSION_TOO_LOW|SSL_VERSION|DH_KEY_TOO_SMALL|LEGACY"
)
_NOT_TLS = re.compile(
    r"WRONG_VERSION_NUMBER|HTTP_REQUEST|UNKNOWN_PROTOCOL|RECORD_LAYER_FAILURE|PACKET_LENGTH|EOF"
)
_HOST_NAME = re.compile(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.?){1,20}")

_EXPIRED, _NOT_YET_VALID, _SELF_SIGNED = 10, 9, 18
_OTHER_NAME = frozenset({62, 64})
_ISSUER_UNKNOWN = frozenset({2, 19, 20, 21, 27})
# X509_V_ERR_… of OpenSSL's x509_vfy.h

_ASK = {"imap": b"a1 CAPABILITY\r\na2 LOGOUT\r\n", "smtp": b"EHLO [127.0.0.1]\r\nQUIT\r\n"}
_TLS_PORTS = {"imap": 993, "smtp": 465}


@functools.cache
def verifying_context(_authorities: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    """The context that verifies servers by the certificate authorities of the machine. All callers share it, because reading the
    authorities takes 25 ms. Nobody may change it."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Secured:
    """How to begin TLS with a server."""

    context: ssl.SSLContext
    server_name: str
    protocol: Protocol
    after_starttls: bool = False


def secure(connection: socket.socket, how: Secured, timeout_s: float) -> ssl.SSLSocket:
    """Begin TLS on a connection. If that fails, the connection is closed.

    Raises:
        CertificateRefused, TlsTooOld, TlsFailed
        NotTls, NotImap, NotSmtp: another kind of service answers at this port.
        NoGreeting, ConnectionLost
    """
    try:
        # The beginning of TLS is written at once. The answer has one deadline, even if it comes octet by octet.
        secured = how.context.wrap_socket(
            connection, server_hostname=how.server_name, do_handshake_on_connect=False
        )
    except ValueError as exc:  # a host name that TLS does not allow
        connection.close()
        raise CertificateRefused(command="TLS") from exc
    try:
        with _translated(secured, how):
            _shake_hands(secured, how, timeout_s)
    except BaseException:
        secured.close()
        raise
    return secured


def _shake_hands(secured: ssl.SSLSocket, how: Secured, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    secured.settimeout(min(speech.QUIET_S, timeout_s))
    try:
        secured.do_handshake()
        return
    except TimeoutError:
        if timeout_s <= speech.QUIET_S:
            raise
    if not how.after_starttls:
        found = _spoken_in_plain(secured, how.protocol)
        if found is not None:
            raise found
    secured.settimeout(max(0.1, deadline - time.monotonic()))
    secured.do_handshake()


@contextlib.contextmanager
def _translated(secured: ssl.SSLSocket, how: Secured) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as exc:
        raise _certificate_error(exc, _certificate_of(secured, how), how.server_name) from exc
    except TimeoutError as exc:
        raise NoGreeting(command="TLS") from exc
    except ssl.SSLError as exc:
        raise _tls_error(exc, secured, how) from exc
    except OSError as exc:
        raise _ended(secured, how, type(exc).__name__) from exc


def _tls_error(exc: ssl.SSLError, secured: ssl.SSLSocket, how: Secured) -> MailServerError:
    reason = exc.reason or type(exc).__name__
    if _TOO_OLD.search(reason):
        return TlsTooOld(command="TLS", server_line=reason)
    if _NOT_TLS.search(reason):
        return _ended(secured, how, reason)
    return TlsFailed(command="TLS", server_line=reason)


def _ended(secured: ssl.SSLSocket, how: Secured, reason: str) -> MailServerError:
    """The error if the server answered the beginning of TLS with something else, or closed the connection."""
    found = None if how.after_starttls else _spoken_in_plain(secured, how.protocol)
    if found is not None:
        found.server_line = reason
        return found
    if "EOF" in reason or "Connection" in reason:
        return ConnectionLost(command="TLS", server_line=reason)
    return TlsFailed(command="TLS", server_line=reason)


def _spoken_in_plain(beside: socket.socket, protocol: Protocol) -> MailServerError | None:
    """The error if the server speaks plain text at this port, but the settings ask for TLS. None: it does not."""
    found, said = speech.answer_in_plain(beside, asking=_ASK[protocol])
    if found in {Speech.TLS, Speech.SILENCE}:
        return None
    if found is not _right(protocol):
        return wrong_service(protocol, found)
    if re.search(rb"\bSTARTTLS\b", said, re.IGNORECASE):
        return NotTls("The mail server does not begin with TLS at this port. Set security to starttls.")
    return NotTls(
        "The mail server does not speak TLS at this port. Use the port that it has for TLS, usually"
        f" {_TLS_PORTS[protocol]}."
    )


def _right(protocol: Protocol) -> Speech:
    return Speech.IMAP if protocol == "imap" else Speech.SMTP


def wrong_service(protocol: Protocol, found: Speech) -> MailServerError:
    """The error if another kind of service answers at the port."""
    if found is Speech.TLS:
        return TlsExpected(command="CONNECT")
    name = "IMAP" if protocol == "imap" else "SMTP"
    usual = (
        "993 with security tls, or 143 with starttls"
        if protocol == "imap"
        else "465 with security tls, or 587 with starttls"
    )
    detail = f"Not {_right(protocol).value} but {found.value} answers at this port. {name} is usually at port {usual}."
    return (NotImap if protocol == "imap" else NotSmtp)(detail, command="CONNECT")


def await_greeting(connection: socket.socket, protocol: Protocol, timeout_s: float) -> None:
    """Wait a while for the first octet of a server in plain text. If none comes, find out on a second connection whether it
    waits for TLS. Silence alone is no error: the caller goes on waiting for the greeting.

    Raises:
        TlsExpected, NotImap, NotSmtp
    """
    if timeout_s <= speech.QUIET_S or connection.getpeername()[1] == SMTP_RELAY_PORT:
        return
    if speech.is_readable(connection, speech.QUIET_S):
        return
    found = speech.answer_to_tls(connection)
    # An answer in plain text to the beginning of TLS says nothing: the greeting may still come.
    if found is Speech.TLS or found is Speech.HTTP:
        raise wrong_service(protocol, found)


# Certificates


def _certificate_error(
    exc: ssl.SSLCertVerificationError, certificate: x509.Certificate | None, host: str
) -> CertificateRefused:
    told = {"command": "TLS", "server_line": exc.verify_message}
    code = exc.verify_code
    if code == _EXPIRED:
        return CertificateExpired(_expired(certificate), **told)
    if code == _NOT_YET_VALID:
        return CertificateNotYetValid(_not_yet_valid(certificate), **told)
    if code in _OTHER_NAME:
        return CertificateForOtherName(_other_name(certificate, host), **told)
    if code == _SELF_SIGNED:
        return CertificateSelfSigned(**told)
    return (CertificateIssuerUnknown if code in _ISSUER_UNKNOWN else CertificateRefused)(**told)


def _expired(certificate: x509.Certificate | None) -> str | None:
    if certificate is None or certificate.not_valid_after_utc > clock.utc_now():
        return None  # the fault is in another certificate of the chain
    return f"The mail server's certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}. It has to be renewed."


def _not_yet_valid(certificate: x509.Certificate | None) -> str | None:
    if certificate is None or certificate.not_valid_before_utc < clock.utc_now():
        return None
    return f"The mail server's certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d} only."


def _other_name(certificate: x509.Certificate | None, host: str) -> str | None:
    names = _names(certificate) if certificate is not None else []
    if not names:
        return None
    shown = ", ".join(names[:MAX_NAMES]) + (" and others" if len(names) > MAX_NAMES else "")
    return f"The mail server's certificate is for {shown}, not for {host}. Enter the name that it is for."


def _names(certificate: x509.Certificate) -> list[str]:
    """The names for which a certificate is valid. Only texts that can be a host name or an address are shown to people."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [*found.get_values_for_type(x509.DNSName)]
        addresses = [str(each) for each in found.get_values_for_type(x509.IPAddress)]
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    return [name for name in names if len(name) <= 253 and _HOST_NAME.fullmatch(name)] + addresses


def _certificate_of(beside: socket.socket, how: Secured) -> x509.Certificate | None:
    """The certificate that the peer shows on a second connection, valid or not. None: it shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with speech.another(beside) as connection:
            connection.settimeout(LOOK_S)
            if how.after_starttls:
                _start_tls(connection, how.protocol)
            with context.wrap_socket(connection, server_hostname=how.server_name) as looked_at:
                octets = looked_at.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(octets) if octets else None
    except (OSError, ValueError):
        return None


def _start_tls(connection: socket.socket, protocol: Protocol) -> None:
    """Bring a new connection to the point where TLS begins.

    Raises:
        OSError
    """
    lines = connection.makefile("rb")
    end = time.monotonic() + LOOK_S
    for command, answer in _STARTTLS[protocol]:
        connection.sendall(command)
        while time.monotonic() < end:
            line = lines.readline(speech.MAX_OCTETS)
            if not line or answer.match(line):
                break


_STARTTLS = {
    "imap": ((b"", re.compile(rb"\* ")), (b"a1 STARTTLS\r\n", re.compile(rb"a1 "))),
    "smtp": (
        (b"", re.compile(rb"\d{3} ")),
        (b"EHLO [127.0.0.1]\r\n", re.compile(rb"\d{3} ")),
        (b"STARTTLS\r\n", re.compile(rb"\d{3} ")),
    ),
}
